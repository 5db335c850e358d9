//! The plugin's own settings, typed. A setting that is there and wrong is an error that names
//! it: a threshold that silently falls back would be worse than none.

use alloc::string::String;

use crate::{PluginError, Result, duration, host};

/// A text.
#[must_use]
pub fn text(key: &str, default: &str) -> String {
    get(key, default).unwrap_or_else(|| default.into())
}

/// A whole number, 0 or more.
///
/// # Errors
/// The setting is no such number.
pub fn number(key: &str, default: u64) -> Result<u64> {
    match get(key, &alloc::format!("{default}")) {
        None => Ok(default),
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| wrong(key, &text, "a whole number, 0 or more")),
    }
}

/// A duration in milliseconds. The default is written as in the manifest: `5s`.
///
/// # Errors
/// The setting, or the default, is no duration.
pub fn duration_ms(key: &str, default: &str) -> Result<u64> {
    let text = get(key, default).unwrap_or_else(|| default.into());
    duration::parse_ms(&text).ok_or_else(|| wrong(key, &text, "a duration such as 500ms or 5s"))
}

/// True or false.
///
/// # Errors
/// The setting is neither.
pub fn flag(key: &str, default: bool) -> Result<bool> {
    match get(key, &alloc::format!("{default}")).as_deref() {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(text) => Err(wrong(key, text, "true or false")),
    }
}

fn get(key: &str, default: &str) -> Option<String> {
    #[cfg(not(target_family = "wasm"))]
    crate::testkit::fake::note_setting(key, default);
    #[cfg(target_family = "wasm")]
    let _ = default;
    host::setting(key)
}

fn wrong(key: &str, text: &str, wanted: &str) -> PluginError {
    PluginError::InvalidInput(alloc::format!(
        "the setting {key} is {text:?}; it must be {wanted}"
    ))
}
