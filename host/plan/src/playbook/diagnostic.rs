//! What is wrong with a playbook, where, and what to do about it, for people and for JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The playbook is not used.
    Error,
    /// It is used.
    Warning,
}

/// A stretch of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// From 1; 0 when unknown.
    pub line: u32,
    /// In characters, from 1; 0 when unknown.
    pub column: u32,
    /// First byte.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Level,
    /// A stable name of the kind of fault, such as `unknown-action`.
    pub code: String,
    /// The file.
    pub file: String,
    /// From 1; 0 when it is about the whole file.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1.
    pub length: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Whether the playbook cannot be used.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Level::Error
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Longest part of a source line that is shown.
const SHOWN: usize = 120;

/// The fault in the form of a compiler: message, source line, caret, help.
#[must_use]
pub fn render(diagnostic: &Diagnostic, source: &str, colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    };
    let (word, hue) = match diagnostic.severity {
        Level::Error => ("error", "1;31"),
        Level::Warning => ("warning", "1;33"),
    };
    let mut out = format!(
        "{}{}\n",
        paint(hue, word),
        paint("1", &format!(": {}", visible(&diagnostic.message)))
    );
    let number = diagnostic.line.to_string();
    let margin = " ".repeat(number.len());
    let file = visible(&diagnostic.file);
    let place = if diagnostic.line == 0 {
        file
    } else {
        format!("{file}:{}:{}", diagnostic.line, diagnostic.column)
    };
    let _ = writeln!(out, "{margin}{} {place}", paint("1;34", "-->"));
    let index = usize::try_from(diagnostic.line).unwrap_or(0).checked_sub(1);
    if let Some(line) = index.and_then(|index| source.lines().nth(index)) {
        let (shown, before, length) = excerpt(line, diagnostic);
        let bar = paint("1;34", "|");
        let _ = writeln!(out, "{margin} {bar}");
        let _ = writeln!(out, "{} {bar} {shown}", paint("1;34", &number));
        let caret = paint(hue, &"^".repeat(length));
        let _ = writeln!(out, "{margin} {bar} {}{caret}", " ".repeat(before));
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(
            out,
            "{margin} {} {}",
            paint("1;34", "="),
            visible(&format!("help: {help}"))
        );
    }
    out
}

/// The part of a line around the fault, how many characters stand before it, and its length.
fn excerpt(line: &str, diagnostic: &Diagnostic) -> (String, usize, usize) {
    let characters: Vec<char> = line.chars().collect();
    let column = usize::try_from(diagnostic.column).unwrap_or(1).max(1) - 1;
    let column = column.min(characters.len());
    let start = if characters.len() > SHOWN {
        column.saturating_sub(SHOWN / 2)
    } else {
        0
    };
    let shown: String = characters.iter().skip(start).take(SHOWN).collect();
    let left = shown.chars().count().saturating_sub(column - start);
    let length = usize::try_from(diagnostic.length)
        .unwrap_or(1)
        .clamp(1, left.max(1));
    (visible(&shown), column - start, length)
}

/// Most known words that are listed when none is close.
const LISTED: usize = 16;

/// A file must not be able to steer the terminal.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// `did you mean ...`, when something known is close enough.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    closest(word, known).map(|best| format!("did you mean `{best}`?"))
}

/// As [`did_you_mean`], else the list of what is known.
pub(crate) fn suggest(word: &str, what: &str, known: &[&str]) -> Option<String> {
    did_you_mean(word, known.iter().copied()).or_else(|| {
        if known.is_empty() {
            return Some(format!("there are no {what}"));
        }
        let more = known.len().saturating_sub(LISTED);
        let list = known
            .iter()
            .take(LISTED)
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>();
        let tail = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(format!("{what}: {}{tail}", list.join(", ")))
    })
}

fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&word, &lower);
            // A right verb in the wrong pack, or the other way round, is close too.
            let part = lower
                .split('.')
                .any(|part| part == word && !part.is_empty());
            (if part { 0 } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
