//! Figures as short words: at most six letters, whatever the figure.

/// Bytes, as `12M`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    let mut whole = bytes;
    while whole >= 1_024 && unit + 1 < UNITS.len() {
        tenths = whole.saturating_mul(10) / 1_024;
        whole /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit > 0 && whole < 10 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{whole}{name}")
    }
}

/// Microseconds, as `2.5ms`.
pub fn micros(us: u64) -> String {
    let tenths = |of: u64, name: &str| {
        if of.is_multiple_of(10) {
            format!("{}{name}", of / 10)
        } else {
            format!("{}.{}{name}", of / 10, of % 10)
        }
    };
    match us {
        0..1_000_000 => tenths(us / 100, "ms"),
        _ => tenths(us / 100_000, "s"),
    }
}

/// So many a second, as `1200` or `0.5`.
pub fn rate(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.1}")
    } else if rate < 100_000.0 {
        format!("{rate:.0}")
    } else {
        format!("{:.0}k", rate / 1_000.0)
    }
}

/// Bytes a second, as [`bytes`].
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and above 2^64 it is shown as that"
)]
pub fn byte_rate(rate: f64) -> String {
    bytes(rate as u64)
}

/// Thousandths as percent.
pub fn percent(permille: u64) -> String {
    if permille < 100 {
        format!("{}.{}", permille / 10, permille % 10)
    } else {
        (permille / 10).to_string()
    }
}

/// What there is, or a dash.
pub fn or_dash<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_whatever_they_are() {
        for (figure, word) in [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.0K"),
            (1_536, "1.5K"),
            (10_240, "10K"),
            (9 << 20, "9.0M"),
            (u64::MAX, "15E"),
        ] {
            assert_eq!(bytes(figure), word);
        }
        for (figure, word) in [
            (500, "0.5ms"),
            (1_000, "1ms"),
            (2_500, "2.5ms"),
            (30_000_000, "30s"),
        ] {
            assert_eq!(micros(figure), word);
        }
        for (figure, word) in [(0.0, "0"), (0.5, "0.5"), (99.6, "100"), (123_456.0, "123k")] {
            assert_eq!(rate(figure), word);
        }
        assert_eq!((percent(5), percent(1_234)), ("0.5".into(), "123".into()));
        assert_eq!(or_dash(None::<u64>, bytes), "-");
    }
}
