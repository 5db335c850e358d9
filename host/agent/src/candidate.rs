//! A change that may be the repair: its edits, how likely it is before anything is run, and what
//! it says about itself. Runs nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::lang;
use crate::project::Project;

/// One replacement in one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edit {
    /// The file's number in the project.
    pub file: usize,
    /// Where the old text begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What stands there instead.
    pub text: String,
}

impl Edit {
    /// An edit of a range.
    pub fn new(file: usize, range: Range<usize>, text: impl Into<String>) -> Self {
        Self {
            file,
            start: range.start,
            end: range.end,
            text: text.into(),
        }
    }

    /// Where the old text is.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// What sort of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A comparison, also its boundary.
    Comparison,
    /// And, or, not, a part of a condition.
    Condition,
    /// An arithmetic operator or an operand more or less.
    Arithmetic,
    /// A number, text or truth value.
    Constant,
    /// Another name or member.
    Name,
    /// Arguments of a call.
    Argument,
    /// A call more or less around a value.
    Call,
    /// An assignment's operator or initial value.
    Assignment,
    /// A check before something that can fail.
    Guard,
    /// A return.
    Return,
    /// A statement copied from elsewhere.
    Insert,
    /// A statement somewhere else.
    Move,
    /// A jump out of a loop.
    Jump,
    /// A statement gone.
    Delete,
    /// An error raised or caught.
    Raise,
    /// Text that could not be read.
    Syntax,
    /// Configuration or data.
    Config,
    /// What the compiler proposes.
    Compiler,
}

impl Kind {
    /// As part of a sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Kind::Comparison => "a comparison is wrong",
            Kind::Condition => "a condition is wrong",
            Kind::Arithmetic => "the arithmetic is wrong",
            Kind::Constant => "a constant is wrong",
            Kind::Name => "the wrong name is used",
            Kind::Argument => "an argument is wrong",
            Kind::Call => "a call is missing, wrong or too much",
            Kind::Assignment => "an assignment is wrong",
            Kind::Guard => "a check is missing",
            Kind::Return => "a return is missing or wrong",
            Kind::Insert => "a statement is missing",
            Kind::Move => "a statement stands in the wrong place",
            Kind::Jump => "a jump is wrong",
            Kind::Delete => "a statement is too much",
            Kind::Raise => "the error handling is wrong",
            Kind::Syntax => "the source cannot be read",
            Kind::Config => "the configuration is wrong",
            Kind::Compiler => "the compiler refuses it",
        }
    }
}

/// A change that may be the repair.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its edits; they do not overlap.
    pub edits: Vec<Edit>,
    /// What sort it is.
    pub kind: Kind,
    /// How likely it is, before anything is run: the operator's share times the place's.
    pub score: f64,
}

impl Candidate {
    /// With one edit.
    #[must_use]
    pub fn one(kind: Kind, score: f64, edit: Edit) -> Self {
        Self {
            edits: vec![edit],
            kind,
            score,
        }
    }

    /// The changed files, by number.
    #[must_use]
    pub fn changed(&self, project: &Project) -> Vec<(usize, Arc<str>)> {
        let mut files: Vec<usize> = self.edits.iter().map(|edit| edit.file).collect();
        files.sort_unstable();
        files.dedup();
        let changed = files.into_iter().filter_map(|at| {
            let old = &project.files.get(at)?.text;
            let edits = self.edits.iter().filter(|edit| edit.file == at);
            Some((at, apply(old, edits).into()))
        });
        changed.collect()
    }

    /// Whether both can be made together.
    #[must_use]
    pub fn apart_from(&self, other: &Self) -> bool {
        self.edits.iter().all(|mine| {
            other.edits.iter().all(|theirs| {
                mine.file != theirs.file || mine.end < theirs.start || theirs.end < mine.start
            })
        })
    }

    /// `file:line`, of the first edit.
    #[must_use]
    pub fn place(&self, project: &Project) -> String {
        let Some(edit) = self.edits.first() else {
            return String::new();
        };
        let Some(file) = project.files.get(edit.file) else {
            return String::new();
        };
        // The first character that differs says more than where the node began.
        let old = lang::cut(&file.text, edit.range());
        let same = old
            .bytes()
            .zip(edit.text.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let line = lang::line_of(&file.text, edit.start + same);
        format!("{}:{line}", file.path.display())
    }
}

/// The text with the edits in it; edits out of range or overlapping are left out.
pub fn apply<'a>(text: &str, edits: impl Iterator<Item = &'a Edit>) -> String {
    let mut edits: Vec<&Edit> = edits.collect();
    edits.sort_by_key(|edit| (edit.start, edit.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for edit in edits {
        if edit.start < at || text.get(edit.start..edit.end).is_none() {
            continue;
        }
        out.push_str(lang::cut(text, at..edit.start));
        out.push_str(&edit.text);
        at = edit.end;
    }
    out.push_str(lang::cut(text, at..text.len()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_in_order_of_their_place_and_overlapping_ones_are_left_out() {
        let edits = [
            Edit::new(0, 4..5, "<="),
            Edit::new(0, 0..1, "b"),
            Edit::new(0, 4..5, ">"),
        ];
        assert_eq!(apply("a = 1 < 2", edits.iter()), "b = <= < 2");
    }
}
