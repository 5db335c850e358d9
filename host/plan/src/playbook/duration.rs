//! Durations as people write them: `500ms`, `30s`, `2m`, `1h`.

/// Milliseconds, or why it is no duration.
///
/// # Errors
/// What to write instead.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if !number.is_empty() => return Err(format!("a duration needs a unit: `{number}s`")),
        _ => return Err("a duration is a whole number and `ms`, `s`, `m` or `h`".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a duration starts with a whole number".to_owned())?;
    match number.checked_mul(factor) {
        Some(ms) if ms <= MAX_MS => Ok(ms),
        _ => Err("a duration is at most 1000h".to_owned()),
    }
}

const MAX_MS: u64 = 3_600_000_000;

/// As a person writes it.
#[must_use]
pub fn words(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}
