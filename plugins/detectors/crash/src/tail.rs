//! Finds in the last lines of a dead process the one that says why, and makes it stable: no
//! number, address, quoted id or directory that differs from one death to the next.

use grace_plugin_sdk::prelude::*;

/// Characters kept of a line.
const MAX_LINE: usize = 160;

/// How surely a line says why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Likely,
    Sure,
    /// The exception comes after it.
    Traceback,
}

/// Marks by their first two letters, in lower case. A tail is gone over once, and few of its
/// bytes are looked at twice: a whole fleet may die in one batch, and the fuel is for all.
fn marks(first: u8, second: u8) -> &'static [(&'static [u8], Mark)] {
    use Mark::{Likely, Sure, Traceback};
    match (first, second) {
        (b'a', b'b') => &[(b"abort", Likely)],
        (b'a', b'd') => &[(b"addresssanitizer", Sure)],
        (b'a', b's') => &[(b"assertion", Sure)],
        (b'c', b'a') => &[(b"cannot", Likely)],
        (b'c', b'o') => &[(b"could not", Likely)],
        (b'd', b'e') => &[(b"denied", Likely)],
        (b'e', b'r') => &[(b"error", Likely)],
        (b'e', b'x') => &[(b"exception in thread", Sure), (b"exception", Likely)],
        (b'f', b'a') => &[
            (b"fatal error", Sure),
            (b"fatal", Likely),
            (b"failed", Likely),
        ],
        (b'i', b'n') => &[(b"in use", Likely)],
        (b'n', b'o') => &[(b"not found", Likely)],
        (b'p', b'a') => &[(b"panicked at", Sure), (b"panic:", Sure)],
        (b'r', b'e') => &[(b"refused", Likely)],
        (b's', b'e') => &[(b"segmentation fault", Sure)],
        (b't', b'e') => &[(b"terminate called", Sure)],
        (b't', b'r') => &[(b"traceback (most recent call last)", Traceback)],
        (b'u', b'n') => &[(b"unable", Likely)],
        _ => &[],
    }
}

fn mark(line: &str) -> Option<Mark> {
    let bytes = line.as_bytes();
    let mut best = None;
    let mut inside = false;
    for (place, letter) in bytes.iter().enumerate() {
        // Only where a word begins, also the second one of `TypeError`.
        let begins = !(inside && letter.is_ascii_lowercase());
        inside = letter.is_ascii_lowercase();
        if !begins || !letter.is_ascii_alphabetic() {
            continue;
        }
        let rest = bytes.get(place..).unwrap_or_default();
        let &[first, second, ..] = rest else { break };
        for (word, mark) in marks(first.to_ascii_lowercase(), second.to_ascii_lowercase()) {
            if rest
                .get(..word.len())
                .is_some_and(|there| there.eq_ignore_ascii_case(word))
            {
                best = best.max(Some(*mark));
            }
        }
    }
    best
}

/// The line that says why, made stable; none when no line does. The surest one wins, of equals
/// the last.
pub fn reason(tail: &str) -> Option<String> {
    let lines: Vec<&str> = tail
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let (at, mark) = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| mark(line).map(|mark| (at, mark)))
        .max_by_key(|(_, mark)| *mark)?;
    let line = *lines.get(at)?;
    let line = match mark {
        Mark::Traceback => exception(&lines, at).unwrap_or(line).to_owned(),
        Mark::Sure => panic(&lines, at).unwrap_or_else(|| line.to_owned()),
        Mark::Likely => line.to_owned(),
    };
    Some(stable(&line)).filter(|line| !line.is_empty())
}

/// After a Python traceback the first line that is not indented names the exception.
fn exception<'a>(lines: &[&'a str], at: usize) -> Option<&'a str> {
    lines
        .iter()
        .skip(at + 1)
        .find(|line| !line.starts_with([' ', '\t']))
        .copied()
}

/// Rust writes the thread's name and number first, and the message on the next line.
fn panic(lines: &[&str], at: usize) -> Option<String> {
    let line = lines.get(at)?;
    let place = line.get(line.find("panicked at")?..)?;
    match lines.get(at + 1).filter(|_| place.ends_with(':')) {
        Some(message) => Some(format!("{place} {}", message.trim())),
        None => Some(place.to_owned()),
    }
}

/// The same text for the same failure: numbers and hex runs become `#`, paths lose their
/// directories, blanks are one.
fn stable(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let word = base_name(word);
        words.push(numbers(&word));
    }
    // A time stamp in front is no word any more.
    let stamp = |word: &String| word.chars().all(|letter| "#-:.,/TZ[]+".contains(letter));
    let line = words
        .into_iter()
        .skip_while(stamp)
        .collect::<Vec<_>>()
        .join(" ");
    line.chars().take(MAX_LINE).collect()
}

/// `/srv/a/main.rs:10` becomes `main.rs:10`; also inside quotes and brackets.
fn base_name(word: &str) -> String {
    let Some(start) = word.find('/') else {
        return word.to_owned();
    };
    let (before, path) = word.split_at(start);
    // Only absolute paths: `a/b` may be a ratio or a content type, and `http://` an address.
    let absolute = before.chars().all(|letter| "'\"([{<=`".contains(letter));
    match path.rsplit_once('/') {
        Some((_, name)) if absolute && !name.is_empty() => format!("{before}{name}"),
        _ => word.to_owned(),
    }
}

/// Every number becomes `#`: decimal runs, `0x` addresses, hex runs of eight and more that
/// have a digit in them (hashes, ids).
fn numbers(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(letter) = rest.chars().next() {
        let hex = rest
            .find(|letter: char| !letter.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        let run = rest.get(..hex).unwrap_or("");
        let taken = if let Some(address) = rest.strip_prefix("0x") {
            let len = address.find(|letter: char| !letter.is_ascii_hexdigit());
            2 + len.unwrap_or(address.len())
        } else if run.len() >= 8 && run.contains(|letter: char| letter.is_ascii_digit()) {
            hex
        } else if letter.is_ascii_digit() {
            rest.find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(rest.len())
        } else {
            out.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or("");
            continue;
        };
        if !out.ends_with('#') {
            out.push('#');
        }
        rest = rest.get(taken..).unwrap_or("");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rust_panic_gives_place_and_message_on_one_line() {
        let tail = "request 17 done\nthread 'worker-3' (4711) panicked at src/main.rs:10:5:\n\
                    index out of bounds: the len is 3 but the index is 7\nnote: run with RUST_BACKTRACE=1";
        let line = reason(tail).unwrap();
        assert_eq!(
            line,
            "panicked at src/main.rs:#:#: index out of bounds: the len is # but the index is #"
        );
    }

    #[test]
    fn a_python_traceback_gives_its_exception() {
        let tail = "Traceback (most recent call last):\n  File \"/srv/a.py\", line 3, in <module>\n    \
                    x()\nValueError: bad id 42\n";
        assert_eq!(reason(tail).unwrap(), "ValueError: bad id #");
    }

    #[test]
    fn the_same_failure_gives_the_same_line_from_another_directory_port_and_time() {
        let one = reason(
            "2026-11-02T10:00:01Z cannot bind 127.0.0.1:8081: Address in use (/srv/shop-1/sock)",
        );
        let two = reason(
            "2026-11-03T23:59:59Z cannot bind 127.0.0.1:9122: Address in use (/var/shop-2/sock)",
        );
        assert_eq!(one, two);
        assert!(one.unwrap().starts_with("cannot bind"));
    }

    #[test]
    fn addresses_and_ids_are_no_part_of_the_line() {
        let line = reason("fatal error at 0x7ffee4 in session 8f14e45fceea167a").unwrap();
        assert_eq!(line, "fatal error at # in session #");
    }

    #[test]
    fn words_that_begin_inside_a_word_are_found_only_at_a_capital() {
        assert_eq!(
            reason("TypeError: x is not a function").unwrap(),
            "TypeError: x is not a function"
        );
        assert_eq!(reason("ERROR no stock").unwrap(), "ERROR no stock");
        assert_eq!(reason("terrorist mirrored"), None);
    }

    #[test]
    fn ordinary_output_is_no_reason() {
        assert_eq!(reason("GET / 200 3ms\nGET /a 200 4ms\n"), None);
        assert_eq!(reason(""), None);
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let line = reason(&format!("error: {}", "é".repeat(1_000))).unwrap();
        assert_eq!(line.chars().count(), MAX_LINE);
    }
}
