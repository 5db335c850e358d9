//! What is taken as it is written although somebody seems to expect that it is filled in: `~`,
//! `$HOME`, `${NAME}`, misspelt placeholders. Grace fills in no variable anywhere.

use std::path::Path;

use super::closest;

/// Placeholders that are filled in for each instance.
pub const PLACEHOLDERS: [&str; 3] = ["{port}", "{data}", "{instance}"];
/// Variables that Grace sets for every instance.
const OURS: [&str; 8] = [
    "PORT",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "GRACE_DATA",
    "GRACE_INSTANCE",
];

/// Why this cannot be the path that was meant.
pub fn wrong_path(path: &Path, key: &str) -> Option<String> {
    let text = path.to_string_lossy();
    if text.is_empty() {
        return Some(format!("`{key}` is empty; leave it out, or write a path"));
    }
    if text == "~" || text.starts_with("~/") || text.contains("$") {
        return Some(format!(
            "{text:?} is taken as it is written: neither ~ nor a variable is filled in here; write the whole path"
        ));
    }
    None
}

/// Why a word of a command, or a value of `env`, cannot be what was meant.
pub fn wrong_word(word: &str) -> Option<String> {
    if word.starts_with("~/") {
        return Some(format!(
            "{word:?} is taken as it is written: no shell reads it, so ~ is not filled in; write the whole path"
        ));
    }
    let mut rest = word;
    while let Some((_, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}')?;
        let whole = format!("{{{name}}}");
        if !PLACEHOLDERS.contains(&whole.as_str())
            && let Some(near) = closest(&whole, PLACEHOLDERS.into_iter())
        {
            return Some(format!(
                "{whole} is filled in nowhere; did you mean {near}?"
            ));
        }
        rest = after;
    }
    None
}

/// Why a variable of this name cannot be set.
pub fn wrong_variable(name: &str) -> Option<String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some("no environment variable can have this name".to_owned());
    }
    OURS.contains(&name).then(|| {
        format!("{name} is set by Grace for every instance; leave it out, or use another name")
    })
}
