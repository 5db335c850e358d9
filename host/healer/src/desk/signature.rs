//! The stable fingerprint of a failure. Pure. The target is no part of it: the same failure of
//! another instance has the same signature.

/// Characters of hex: 64 bits, enough for a host's failures to never meet by chance.
const LENGTH: usize = 16;

/// The signature of a finding of `kind` about `service` with this cause.
#[must_use]
pub fn signature(service: &str, kind: &str, cause: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [service, kind, &normalised(service, cause)] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(0).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(LENGTH);
    hex
}

/// The cause without what differs between two sights of the same fault. Detectors are asked to
/// leave it out; this is for those that do not.
///
/// Short numbers stay (`signal:9` is not `signal:11`) unless the word before says what they
/// are, the text is a time, or a unit follows.
#[must_use]
pub fn normalised(service: &str, cause: &str) -> String {
    let words: Vec<String> = cause
        .split_whitespace()
        .map(|word| normalised_word(service, word))
        .collect();
    let mut text = String::new();
    let mut names_a_number = false;
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        if names_a_number && word.starts_with(|c: char| c.is_ascii_digit()) {
            let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
            text.push('#');
            text.push_str(rest);
        } else {
            text.push_str(&word);
        }
        names_a_number = is_volatile_name(word.trim_end_matches([':', '=']));
    }
    text
}

fn is_volatile_name(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    [
        "pid",
        "port",
        "tid",
        "thread",
        "fd",
        "generation",
        "after",
        "for",
        "at",
        "uptime",
    ]
    .contains(&word.as_str())
}

fn normalised_word(service: &str, word: &str) -> String {
    let chars: Vec<char> = word.chars().collect();
    let mut text = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let starts_word = at == 0
            || chars
                .get(at - 1)
                .is_some_and(|c| !c.is_ascii_alphanumeric());
        if !starts_word || !c.is_ascii_hexdigit() {
            text.push(c);
            at += 1;
            continue;
        }
        let run: String = chars
            .iter()
            .skip(at)
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        let before: String = text.clone();
        text.push_str(&normalised_run(
            service,
            &before,
            &run,
            chars.get(at + run.len()),
        ));
        at += run.len();
    }
    text
}

/// One run of letters and digits, with what stands before it in the word and the character
/// behind it.
fn normalised_run(service: &str, before: &str, run: &str, behind: Option<&char>) -> String {
    let digits = run.chars().take_while(char::is_ascii_digit).count();
    let unit = run.get(digits..).unwrap_or_default();
    let has_digit = run.contains(|c: char| c.is_ascii_digit());
    let all_hex = run.chars().all(|c| c.is_ascii_hexdigit());
    if run.starts_with("0x") || (all_hex && has_digit && run.len() >= 8) {
        return "#".to_owned();
    }
    if digits == 0 {
        return run.to_owned();
    }
    let names_it = before.strip_suffix([':', '=']).is_some_and(|name| {
        is_volatile_name(name.trim_start_matches(|c: char| !c.is_alphabetic()))
    });
    let behind_colon = before
        .strip_suffix(':')
        .is_some_and(|text| text.ends_with(|c: char| c == '#' || c.is_ascii_digit()));
    // `12:34:56` and `127.0.0.1:80`: what follows a colon varies; the address does not.
    let before_colon = behind == Some(&':') && !before.ends_with('.');
    let in_a_time = behind_colon || before_colon;
    let of_an_instance = before.ends_with(&format!("{service}-"));
    let is_measure = matches!(
        unit,
        "ms" | "us" | "s" | "ns" | "m" | "h" | "B" | "kB" | "KiB" | "MiB"
    );
    if unit.is_empty() && (digits >= 4 || names_it || in_a_time || of_an_instance) {
        return "#".to_owned();
    }
    if is_measure {
        return format!("#{unit}");
    }
    run.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_between_two_sights_is_left_out() {
        for (cause, wanted) in [
            ("signal:9", "signal:9"),
            ("code:1 oom", "code:1 oom"),
            ("pid 123 died", "pid # died"),
            ("pid=123 port:80", "pid=# port:#"),
            (
                "connect 127.0.0.1:24001 refused",
                "connect 127.0.0.1:# refused",
            ),
            ("at 12:34:56 status 500", "at #:#:# status 500"),
            ("no answer for 1500ms", "no answer for #ms"),
            ("shop-3 and shop-12 differ", "shop-# and shop-# differ"),
            ("fault at 0x7ffd01 in deadbeef01", "fault at # in #"),
            ("request 1234567", "request #"),
        ] {
            assert_eq!(normalised("shop", cause), wanted, "{cause}");
        }
    }

    #[test]
    fn service_kind_and_cause_each_tell_failures_apart() {
        let one = signature("shop", "crash", "signal:9");
        assert_eq!(one.len(), LENGTH);
        assert_ne!(one, signature("cart", "crash", "signal:9"));
        assert_ne!(one, signature("shop", "hang", "signal:9"));
        assert_ne!(one, signature("shop", "crash", "signal:11"));
        assert_ne!(signature("ab", "c", ""), signature("a", "bc", ""));
    }

    proptest! {
        #[test]
        fn the_signature_is_the_same_across_pids_ports_times_and_instances(
            a in (1u32..4_000_000, 1024u16..65_535, 0u8..24, 0u8..60, 1u32..256),
            b in (1u32..4_000_000, 1024u16..65_535, 0u8..24, 0u8..60, 1u32..256),
        ) {
            let cause = |(pid, port, hour, minute, number): (u32, u16, u8, u8, u32)| format!(
                "shop-{number} pid {pid} on port={port} (127.0.0.1:{port}) at {hour:02}:{minute:02}:07 died of signal:9"
            );
            prop_assert_eq!(
                signature("shop", "crash", &cause(a)),
                signature("shop", "crash", &cause(b))
            );
        }

        #[test]
        fn any_text_is_normalised_without_a_fault_and_only_once(cause in ".{0,80}") {
            let once = normalised("shop", &cause);
            prop_assert_eq!(normalised("shop", &once), once);
        }
    }
}
