//! What people and programs see: tables, times, colours, JSON documents. It asks nobody.

mod incident;
mod table;
mod when;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use crate::problem::{Outcome, Problem};

pub use incident::{line as incident_line, story, style as incident_style};
pub use table::Table;
pub use when::{age, clock, moment};

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something is under way.
pub const BUSY: Style = AnsiColor::Yellow.on_default();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Less important.
pub const DIM: Style = Style::new().dimmed();
/// A heading.
pub const BOLD: Style = Style::new().bold();

/// A text in a style; it is stripped where nobody sees it.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether a person looks at standard output.
pub fn person() -> bool {
    std::io::stdout().is_terminal()
}

/// One JSON document, on a line of its own. A reader that has gone away is no error.
pub fn document(value: &impl Serialize) -> Result<(), Problem> {
    let text = serde_json::to_string(value)
        .map_err(|error| Problem::new(format!("cannot write JSON: {error}"), ""))?;
    line(&text);
    Ok(())
}

/// A line of text on standard output, with its styles where they are seen.
pub fn line(text: &str) {
    let mut out = anstream::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line for the person who waits, on standard error.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Tells a problem: to people always, and as the one document when JSON was asked.
pub fn problem(problem: &Problem, json: bool) -> ExitCode {
    if json {
        let _ = document(&json!({ "error": problem.what(), "remedy": problem.remedy() }));
    }
    note(&format!("{}: {}", paint(BAD, "error"), problem.what()));
    if !problem.remedy().is_empty() {
        note(&format!("  {}: {}", paint(BOLD, "help"), problem.remedy()));
    }
    problem.exit()
}

/// A document or a table, as was asked.
pub fn either(as_json: bool, value: &impl Serialize, table: impl FnOnce() -> Table) -> Outcome {
    if as_json {
        document(value)?;
    } else {
        table().print();
    }
    Ok(ExitCode::SUCCESS)
}
