//! Whether bytes parse as the declared format. Pure.

use grace_model::config::ConfigFormat;
use serde::de::IgnoredAny;

/// Why `bytes` do not parse; none when they do.
pub(super) fn problem(format: ConfigFormat, bytes: &[u8]) -> Option<String> {
    if matches!(format, ConfigFormat::Text | ConfigFormat::Artifact) {
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return Some(format!("not UTF-8: {e}")),
    };
    match format {
        ConfigFormat::Json => serde_json::from_str::<IgnoredAny>(text)
            .err()
            .map(|e| format!("not JSON: {e}")),
        ConfigFormat::Toml => text
            .parse::<toml::Table>()
            .err()
            .map(|e| format!("not TOML: {}", e.message())),
        ConfigFormat::Yaml => serde_saphyr::from_str::<serde_json::Value>(text)
            .err()
            .map(|e| format!("not YAML: {}", e.to_string().lines().next().unwrap_or("?"))),
        ConfigFormat::Text | ConfigFormat::Artifact => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_tells_good_from_bad() {
        for (format, good, bad) in [
            (ConfigFormat::Json, r#"{"a": [1, 2]}"#, r#"{"a": [1, 2}"#),
            (ConfigFormat::Toml, "a = 1\n[b]\nc = 'x'\n", "a = = 1"),
            (ConfigFormat::Yaml, "a:\n  - 1\n  - b: x\n", "a: [1, 2"),
        ] {
            assert_eq!(problem(format, good.as_bytes()), None, "{format:?}");
            assert!(problem(format, bad.as_bytes()).is_some(), "{format:?}");
            assert!(problem(format, &[0xff, 0xfe]).is_some(), "{format:?}");
        }
        assert_eq!(problem(ConfigFormat::Text, &[0xff]), None);
    }
}
