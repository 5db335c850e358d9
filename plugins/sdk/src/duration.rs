//! Durations as people write them: `250ms`, `5s`, `2m`, `1h`. Whole milliseconds inside.

/// Milliseconds, or none when it is no duration.
#[must_use]
pub fn parse_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 1,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// As a person reads it: `250 ms`, `2.5 s`.
#[must_use]
pub fn words(ms: u64) -> alloc::string::String {
    match ms {
        0..1_000 => alloc::format!("{ms} ms"),
        1_000..100_000 if ms.is_multiple_of(1_000) => alloc::format!("{} s", ms / 1_000),
        1_000..100_000 => alloc::format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => alloc::format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_ms("250ms"), Some(250));
        assert_eq!(parse_ms(" 5 s "), Some(5_000));
        assert_eq!(parse_ms("2m"), Some(120_000));
        assert_eq!(parse_ms("1h"), Some(3_600_000));
        assert_eq!(parse_ms("0"), Some(0));
    }

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        for text in [
            "5",
            "",
            "s",
            "1.5s",
            "-1s",
            "5 sec",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_for_people() {
        assert_eq!(words(250), "250 ms");
        assert_eq!(words(2_500), "2.5 s");
        assert_eq!(words(3_000), "3 s");
        assert_eq!(words(600_000), "10 min");
    }
}
