//! A fault in a text file and how it is shown: file, line, column, the line, a caret, what helps.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What, with the remedy.
    pub what: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            span,
            what: what.into(),
        }
    }

    /// What the TOML reader found, in our words where it has a suggestion.
    pub fn from_toml(error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        Self::new(span, in_our_words(error.message().trim_end()))
    }
}

/// All that is wrong with one file.
#[derive(Debug)]
pub struct Faults {
    /// The file.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let place = Place::of(&self.text, &fault.span);
            let (line, column) = (place.line, place.column);
            writeln!(f, "{}:{line}:{column}: {}", self.file.display(), fault.what)?;
            let gutter = line.to_string().len();
            writeln!(f, "  {line} | {}", visible(place.content))?;
            write!(
                f,
                "  {:gutter$} | {}{}",
                "",
                " ".repeat(column - 1),
                "^".repeat(place.width)
            )?;
        }
        Ok(())
    }
}

/// A place as people count it.
struct Place<'a> {
    line: usize,
    column: usize,
    width: usize,
    content: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let content = text
            .get(line_start..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let lead = before.get(line_start..).unwrap_or_default().chars().count();
        let end = span
            .end
            .clamp(start, (line_start + content.len()).max(start));
        let width = text
            .get(start..floor(text, end))
            .unwrap_or_default()
            .chars()
            .count();
        Self {
            line: before.matches('\n').count() + 1,
            column: lead + 1,
            width: width.max(1),
            content,
        }
    }
}

/// A file must not steer the terminal, and a tab must not move the caret.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The nearest start of a character at or before a byte.
fn floor(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// `unknown field X, expected one of Y, Z` with what was probably meant.
fn in_our_words(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.to_owned();
    };
    let Some((key, rest)) = rest.split_once('`') else {
        return message.to_owned();
    };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    match closest(key, known.iter().copied()) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None if known.is_empty() => format!("unknown key `{key}`"),
        None => format!("unknown key `{key}`; known here: {}", known.join(", ")),
    }
}

/// The candidate that was probably meant, if any is near.
pub fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| {
            let prefix =
                text.len() >= 3 && (candidate.starts_with(text) || text.starts_with(candidate));
            let distance = strsim::damerau_levenshtein(text, candidate);
            (if prefix { distance.min(1) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        let faults = vec![Fault::new(span, "wrong")];
        Faults {
            file: "f".into(),
            text: text.to_owned(),
            faults,
        }
        .to_string()
    }

    #[test]
    fn a_fault_shows_its_line_with_a_caret() {
        assert_eq!(
            shown("a\nbcd = 1\n", 2..5),
            "f:2:1: wrong\n  2 | bcd = 1\n    | ^^^"
        );
        assert_eq!(
            shown("ä = ü", 5..7),
            "f:1:5: wrong\n  1 | ä = ü\n    |     ^"
        );
        assert_eq!(shown("", 0..0), "f:1:1: wrong\n  1 | \n    | ^");
        assert_eq!(shown("a\n", 99..120), "f:2:1: wrong\n  2 | \n    | ^");
        assert!(
            shown("ab\ncd\n", 0..5).ends_with("| ^^"),
            "a span over lines ends at the first"
        );
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["listen", "instances", "command"];
        assert_eq!(closest("lisen", known.into_iter()), Some("listen"));
        assert_eq!(closest("instance", known.into_iter()), Some("instances"));
        assert_eq!(closest("cmd", known.into_iter()), None);
        assert_eq!(closest("zebra", known.into_iter()), None);
    }
}
