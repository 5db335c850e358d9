//! Finds in the last lines of a dead process the one that says why, and makes it stable: no
//! number, address, quoted id or directory that differs from one death to the next.

use grace_plugin_sdk::prelude::*;

/// Characters kept of a line.
const MAX_LINE: usize = 160;

/// Words that mark a line as the reason, the surest first.
const SURE: [&str; 8] = [
    "panicked at",
    "panic:",
    "fatal error",
    "Exception in thread",
    "AddressSanitizer",
    "assertion",
    "Segmentation fault",
    "terminate called",
];

/// Words that mark a line as a likely reason.
const LIKELY: [&str; 12] = [
    "error",
    "exception",
    "fatal",
    "abort",
    "cannot",
    "could not",
    "failed",
    "refused",
    "denied",
    "in use",
    "not found",
    "unable",
];

/// The line that says why, made stable; none when no line does.
pub fn reason(tail: &str) -> Option<String> {
    let lines: Vec<&str> = tail
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    python(&lines)
        .or_else(|| sure(&lines))
        .or_else(|| likely(&lines))
        .map(|line| stable(&line))
        .filter(|line| !line.is_empty())
}

/// After a Python traceback the first line that is not indented names the exception.
fn python(lines: &[&str]) -> Option<String> {
    let start = lines
        .iter()
        .rposition(|line| line.contains("Traceback (most recent call last)"))?;
    let line = lines
        .iter()
        .skip(start + 1)
        .find(|line| !line.starts_with([' ', '\t']))?;
    Some((*line).to_owned())
}

fn sure(lines: &[&str]) -> Option<String> {
    let at = lines
        .iter()
        .rposition(|line| SURE.iter().any(|mark| line.contains(mark)))?;
    let line = *lines.get(at)?;
    // Rust writes the thread's name and number first and the message on the next line.
    if let Some(place) = line.find("panicked at") {
        let place = line.get(place..)?;
        let message = lines.get(at + 1).filter(|_| place.ends_with(':'));
        return Some(match message {
            Some(message) => format!("{place} {}", message.trim()),
            None => place.to_owned(),
        });
    }
    Some(line.to_owned())
}

fn likely(lines: &[&str]) -> Option<String> {
    lines
        .iter()
        .rfind(|line| {
            let line = line.to_ascii_lowercase();
            LIKELY.iter().any(|mark| line.contains(mark))
        })
        .map(|line| (*line).to_owned())
}

/// The same text for the same failure: numbers and hex runs become `#`, paths lose their
/// directories, blanks are one.
fn stable(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let word = base_name(word);
        words.push(numbers(&word));
    }
    let line = words.join(" ");
    // A time stamp in front is only `#`, `-`, `:` and the like by now.
    let line = line.trim_start_matches(|letter: char| "#-:.,/TZ[]+ ".contains(letter));
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
