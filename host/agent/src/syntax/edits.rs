//! Edits of one line that make unreadable text readable: a character more, less or another. Knows
//! no language but for the words that its caller gives.

use std::ops::Range;

use crate::facts::distance;
use crate::lang;

/// A replacement in a text, with its share.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is replaced.
    pub range: Range<usize>,
    /// By what.
    pub text: String,
    /// How likely.
    pub weight: f64,
}

impl Change {
    /// A change.
    pub fn new(range: Range<usize>, text: impl Into<String>, weight: f64) -> Self {
        Self {
            range,
            text: text.into(),
            weight,
        }
    }

    /// The text with it.
    #[must_use]
    pub fn of(&self, text: &str) -> String {
        let head = lang::cut(text, 0..self.range.start);
        let tail = lang::cut(text, self.range.end..text.len());
        format!("{head}{}{tail}", self.text)
    }
}

/// What is put in and taken out.
#[derive(Debug, Clone, Copy)]
pub struct Alphabet {
    /// Characters that may be missing or too many.
    pub marks: &'static [&'static str],
    /// Those that end a line.
    pub ends: &'static [(&'static str, f64)],
    /// Words of the language.
    pub words: &'static [&'static str],
    /// Pairs of spellings, wrong and right.
    pub swaps: &'static [(&'static str, &'static str)],
    /// What begins a comment to the end of the line.
    pub comment: &'static str,
}

/// The ranges of words, numbers and single marks in a line.
pub fn tokens(text: &str, line: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let said = lang::cut(text, line.clone());
    let mut start = None;
    for (at, c) in said.char_indices() {
        let at = line.start + at;
        if c.is_alphanumeric() || c == '_' {
            start.get_or_insert(at);
            continue;
        }
        if let Some(start) = start.take() {
            found.push(start..at);
        }
        if !c.is_whitespace() {
            found.push(at..at + c.len_utf8());
        }
    }
    if let Some(start) = start {
        found.push(start..line.end);
    }
    found
}

/// Changes of one line.
#[must_use]
pub fn of_line(text: &str, line: Range<usize>, alphabet: &Alphabet) -> Vec<Change> {
    let mut found = Vec::new();
    let said = lang::cut(text, line.clone());
    let code = match said.find(alphabet.comment) {
        Some(at) if !alphabet.comment.is_empty() => lang::cut(said, 0..at),
        _ => said,
    };
    let end = line.start + code.trim_end().len();
    let tokens = tokens(text, line.start..end);
    for (mark, weight) in alphabet.ends {
        if !code.trim_end().ends_with(mark) || mark.len() == 1 && ")]}\"'".contains(mark) {
            found.push(Change::new(end..end, *mark, *weight));
        }
        // Before what ends the line already.
        if let Some(last) = tokens.last().filter(|last| last.len() == 1) {
            found.push(Change::new(last.start..last.start, *mark, weight * 0.8));
        }
    }
    for token in &tokens {
        let word = lang::cut(text, token.clone());
        for mark in alphabet.marks {
            // What closes or parts stands right behind a word, what opens right before one.
            let (opens, closes) = ("([{".contains(mark), ",:;)]}".contains(mark));
            if !closes {
                found.push(Change::new(token.start..token.start, *mark, 0.12));
            }
            if !opens {
                found.push(Change::new(token.end..token.end, *mark, 0.12));
            }
            if *mark != word && token.len() == 1 && !word.chars().any(char::is_alphanumeric) {
                found.push(Change::new(token.clone(), *mark, 0.2));
            }
        }
        let mark = token.len() == 1 && !word.chars().any(char::is_alphanumeric);
        found.push(Change::new(
            token.clone(),
            "",
            if mark { 0.4 } else { 0.05 },
        ));
        if word.len() > 1 && word.chars().all(|c| c.is_alphabetic()) {
            for right in alphabet.words {
                let far = distance(word, right);
                if far > 0 && far <= 2 && far < right.len() {
                    let weight = if far == 1 { 1.0 } else { 0.6 };
                    found.push(Change::new(token.clone(), *right, weight));
                }
            }
        }
    }
    for (wrong, right) in alphabet.swaps {
        for (at, _) in said.match_indices(wrong) {
            let at = line.start + at;
            found.push(Change::new(at..at + wrong.len(), *right, 0.6));
        }
    }
    // A quote around a word.
    for token in &tokens {
        let word = lang::cut(text, token.clone());
        if word.len() > 1 {
            found.push(Change::new(token.clone(), format!("\"{word}\""), 0.15));
        }
    }
    found
}

/// The line gone, or joined to the one before.
#[must_use]
pub fn whole_line(text: &str, line: Range<usize>) -> Vec<Change> {
    let with_end = line.start..(line.end + 1).min(text.len());
    let mut found = vec![Change::new(with_end, "", 0.03)];
    let said = lang::cut(text, line.clone());
    let mark = matches!(
        said.trim(),
        "}" | ")" | "]" | "};" | "})" | "});" | "]," | "},"
    );
    if mark {
        found.push(Change::new(line.clone(), "", 0.5));
        found.push(Change::new(line.end..line.end, format!("\n{}", said), 0.3));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_marks_are_told_apart() {
        let text = "  if x_1 == (2";
        let found: Vec<&str> = tokens(text, 0..text.len())
            .into_iter()
            .map(|token| &text[token])
            .collect();
        assert_eq!(found, ["if", "x_1", "=", "=", "(", "2"]);
    }
}
