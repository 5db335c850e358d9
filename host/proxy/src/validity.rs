//! From when to when a certificate is valid: as much of DER and of RFC 5280 as that takes.

/// Whether a certificate is valid at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    NotYet,
    Now,
    Over,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a certificate in DER at `now`, seconds since 1970. None when it cannot be read.
pub(crate) fn of(certificate: &[u8], now: u64) -> Option<Validity> {
    let (whole, _) = expect(certificate, SEQUENCE)?;
    let (mut signed, _) = expect(whole, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        signed = element(signed)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        signed = element(signed)?.2;
    }
    let (times, _) = expect(signed, SEQUENCE)?;
    let (tag, first, rest) = element(times)?;
    let begin = seconds(tag, first)?;
    let (tag, last, _) = element(rest)?;
    let end = seconds(tag, last)?;
    let now = i64::try_from(now).ok()?;
    Some(if now < begin {
        Validity::NotYet
    } else if now > end {
        Validity::Over
    } else {
        Validity::Now
    })
}

/// Tag and content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        let fold = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        (digits.iter().fold(0, fold), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Seconds since 1970 of a time as RFC 5280, 4.1.2.5 writes it, in UTC to the second.
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME if text.len() == 12 => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (year + if year < 50 { 2_000 } else { 1_900 }, text.get(2..)?)
        }
        GENERALIZED_TIME if text.len() == 14 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970 of a date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rfc_5280_writes_them() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"490101000000Z"), Some(2_493_072_000));
        assert_eq!(seconds(UTC_TIME, b"000229123456Z"), Some(951_827_696));
        let last = seconds(GENERALIZED_TIME, b"99991231235959Z");
        assert_eq!(last, Some(253_402_300_799));
        for bad in [
            &b"7001010000Z"[..],
            b"700101000000",
            b"701301000000Z",
            b"-00101000000Z",
        ] {
            assert_eq!(seconds(UTC_TIME, bad), None);
        }
    }

    #[test]
    fn a_real_certificate_is_valid_from_its_first_second_to_its_last() {
        let mut params = rcgen::CertificateParams::new(vec!["shop".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let (begin, end) = (1_577_836_800, 2_524_608_000);
        for (now, wanted) in [
            (begin - 1, Validity::NotYet),
            (begin, Validity::Now),
            (end, Validity::Now),
            (end + 1, Validity::Over),
        ] {
            assert_eq!(of(cert.der(), now), Some(wanted), "at {now}");
        }
        for length in 0..200 {
            assert_eq!(of(&cert.der()[..length], begin), None);
        }
    }
}
