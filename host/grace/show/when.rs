//! Times for people.

use grace_model::TimestampMs;

/// A length of time: `350ms`, `4.2s`, `3m10s`, `2h05m`, `3d04h`.
pub fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms}ms"),
        1..=59 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The time of day in UTC.
pub fn clock(at: TimestampMs) -> String {
    let second = at / 1_000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        second / 3_600,
        second % 3_600 / 60,
        second % 60
    )
}

/// Day and time in UTC.
pub fn moment(at: TimestampMs) -> String {
    let (year, month, day) = date(at / 86_400_000);
    format!("{year:04}-{month:02}-{day:02} {}Z", clock(at))
}

/// The civil date of a day counted from 1970-01-01, by the usual arithmetic on 400-year cycles.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00Z");
        assert_eq!(moment(1_709_210_096_789), "2024-02-29 12:34:56Z");
        assert_eq!(moment(4_102_444_799_000), "2099-12-31 23:59:59Z");
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (ms, text) in [
            (350, "350ms"),
            (4_250, "4.2s"),
            (190_000, "3m10s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(age(ms), text);
        }
    }
}
