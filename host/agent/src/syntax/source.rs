//! Source code that its language cannot read.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::edits::{Alphabet, Change, of_line, whole_line};
use crate::candidate::{Candidate, Edit, Kind};
use crate::failure::Failure;
use crate::lang::{self, Lang, line_starts};
use crate::project::Project;

/// How many edits one after another.
const DEPTH: usize = 3;
/// How many unfinished texts are kept after each.
const WIDTH: usize = 12;
/// How many readable texts of one file are run.
const MOST: usize = 160;
/// Lines that are tried for one text.
const LINES: usize = 14;

const PYTHON: Alphabet = Alphabet {
    marks: &["(", ")", "[", "]", "{", "}", ":", ",", ".", "=", "\"", "'"],
    ends: &[
        (":", 1.2),
        (")", 1.2),
        ("]", 0.9),
        ("}", 0.9),
        ("\"", 0.9),
        ("'", 0.9),
        (",", 0.6),
        ("))", 0.5),
        ("\")", 0.7),
        ("')", 0.7),
        ("\"\"\"", 0.3),
        (" pass", 0.1),
        ("):", 0.7),
    ],
    words: &[
        "def", "return", "if", "elif", "else", "for", "while", "in", "not", "and", "or", "class",
        "import", "from", "try", "except", "finally", "with", "as", "raise", "yield", "lambda",
        "pass", "break", "continue", "None", "True", "False", "is", "async", "await",
    ],
    swaps: &[
        ("else if", "elif"),
        ("elseif", "elif"),
        ("&&", "and"),
        ("||", "or"),
        ("!", "not "),
        (" = ", " == "),
        ("++", " += 1"),
        ("--", " -= 1"),
        ("function ", "def "),
        ("null", "None"),
        ("catch", "except"),
        ("=>", ">="),
        ("=<", "<="),
        ("<>", "!="),
        ("===", "=="),
        ("!==", "!="),
        ("throw ", "raise "),
        ("print ", "return "),
        ("{", ":"),
        ("+ =", "+="),
        ("= =", "=="),
        ("! =", "!="),
        ("< =", "<="),
        ("> =", ">="),
        (";", ":"),
        (";", ","),
        (".", ","),
    ],
    comment: "#",
};

const JAVASCRIPT: Alphabet = Alphabet {
    marks: &[
        "(", ")", "[", "]", "{", "}", ":", ",", ".", "=", "\"", "'", "`", ";", "=>",
    ],
    ends: &[
        (")", 1.0),
        ("}", 0.9),
        ("]", 0.8),
        (" {", 1.2),
        (");", 0.9),
        ("};", 0.6),
        ("});", 0.6),
        ("]);", 0.4),
        ("'", 0.8),
        ("\"", 0.8),
        ("`", 0.8),
        ("';", 0.8),
        ("\";", 0.7),
        ("`;", 0.7),
        (",", 0.8),
        (";", 0.5),
        (") {", 0.9),
        ("],", 0.4),
        ("},", 0.4),
        ("];", 0.6),
    ],
    words: &[
        "function",
        "return",
        "if",
        "else",
        "for",
        "while",
        "const",
        "let",
        "var",
        "class",
        "new",
        "async",
        "await",
        "throw",
        "try",
        "catch",
        "finally",
        "switch",
        "case",
        "break",
        "continue",
        "default",
        "export",
        "import",
        "from",
        "of",
        "in",
        "typeof",
        "extends",
        "constructor",
        "static",
        "null",
        "undefined",
        "true",
        "false",
        "this",
        "yield",
    ],
    swaps: &[
        ("elif", "else if"),
        ("def ", "function "),
        ("->", "=>"),
        ("=<", "<="),
        (" = ", " => "),
        ("=", "=>"),
        (" and ", " && "),
        (" or ", " || "),
        ("not ", "!"),
        ("None", "null"),
        ("True", "true"),
        ("False", "false"),
        ("except", "catch"),
        ("raise ", "throw "),
        (": ", " = "),
        (" = ", ": "),
        (";", ","),
        (",", ";"),
        ("= =", "=="),
        ("= >", "=>"),
        ("& &", "&&"),
        ("| |", "||"),
        ("+ =", "+="),
    ],
    comment: "//",
};

const RUST: Alphabet = Alphabet {
    marks: &[
        "(", ")", "[", "]", "{", "}", ":", ",", ".", "=", "\"", ";", "&", "|", ">", "<", "!", "->",
        "=>",
    ],
    ends: &[
        (";", 1.5),
        (")", 1.0),
        ("}", 0.9),
        (" {", 1.0),
        (",", 0.9),
        ("]", 0.8),
        (");", 0.9),
        ("\"", 0.7),
        ("\";", 0.6),
        ("\")", 0.5),
        ("\");", 0.6),
        ("};", 0.4),
        ("})", 0.5),
        (") {", 0.8),
    ],
    words: &[
        "fn", "return", "if", "else", "for", "while", "let", "mut", "pub", "struct", "enum",
        "impl", "match", "use", "mod", "const", "static", "loop", "break", "continue", "self",
        "Self", "in", "as", "where", "trait", "true", "false", "ref", "move", "crate", "super",
    ],
    swaps: &[
        ("->", "=>"),
        ("=>", "->"),
        (" = ", " == "),
        ("elif", "else if"),
        (" and ", " && "),
        (" or ", " || "),
        ("function ", "fn "),
        ("def ", "fn "),
        (":", "::"),
        ("::", ":"),
        (";", ","),
        (",", ";"),
        ("not ", "!"),
        ("var ", "let "),
        ("const ", "let "),
        ("= =", "=="),
        ("- >", "->"),
        ("& &", "&&"),
        ("'", "\""),
    ],
    comment: "//",
};

/// The files that cannot be read, by number: those with errors in their trees, and those that the
/// output names in an error of syntax.
#[must_use]
pub fn unreadable(project: &Project, failure: &Failure) -> BTreeSet<usize> {
    let said = [
        "SyntaxError",
        "IndentationError",
        "TabError",
        "unclosed delimiter",
        "error: expected",
        "error: unexpected",
        "error: unterminated",
        "error: mismatched",
        "error: unknown start",
        "error: missing",
        "error: this file contains",
        "error: prefix",
        "error: `",
        "error: comparison operators",
        "error[E0765]",
        "error[E0766]",
    ]
    .iter()
    .any(|word| failure.says(word));
    project
        .sources()
        .filter(|(at, file, lang)| {
            let named = said && failure.frames.iter().any(|frame| frame.file == *at);
            named || lang::errors(*lang, &file.text) > 0
        })
        .map(|(at, _, _)| at)
        .collect()
}

/// Candidates for one unreadable file, the likeliest first.
#[must_use]
pub fn source(project: &Project, failure: &Failure, at: usize, lang: Lang) -> Vec<Candidate> {
    let Some(file) = project.files.get(at) else {
        return Vec::new();
    };
    let alphabet = match lang {
        Lang::Python => &PYTHON,
        Lang::JavaScript => &JAVASCRIPT,
        Lang::Rust => &RUST,
    };
    let hints: Vec<usize> = failure
        .frames
        .iter()
        .filter(|frame| frame.file == at)
        .map(|frame| frame.line)
        .collect();
    let mut found: Vec<(f64, String)> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut open: Vec<(f64, String)> = vec![(1.0, file.text.to_string())];
    for depth in 0..DEPTH {
        let mut next: Vec<(f64, f64, String)> = Vec::new();
        for (weight, text) in &open {
            let before = cost(lang, text);
            for change in changes(lang, text, alphabet, &hints) {
                let new = change.of(text);
                let after = cost(lang, &new);
                // A text that the grammar can read and the interpreter cannot: any other that the
                // grammar can read may do.
                let readable = after == 0.0;
                if !(readable || after < before) || !known.insert(new.clone()) {
                    continue;
                }
                let weight = weight * change.weight;
                if readable {
                    found.push((weight, new));
                } else {
                    next.push((after, weight, new));
                }
            }
        }
        if !found.is_empty() && depth > 0 || open.is_empty() {
            break;
        }
        next.sort_by(|a, b| {
            a.0.total_cmp(&b.0)
                .then_with(|| b.1.total_cmp(&a.1))
                .then_with(|| a.2.cmp(&b.2))
        });
        open = next
            .into_iter()
            .take(WIDTH)
            .map(|(_, weight, text)| (weight, text))
            .collect();
        if !found.is_empty() {
            break;
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found
        .into_iter()
        .take(MOST)
        .map(|(weight, new)| whole(at, &file.text, &new, 100.0 * weight, Kind::Syntax))
        .collect()
}

/// One edit from the first difference to the last.
#[must_use]
pub fn whole(file: usize, old: &str, new: &str, score: f64, kind: Kind) -> Candidate {
    let mut head = old
        .bytes()
        .zip(new.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    while !old.is_char_boundary(head) || !new.is_char_boundary(head) {
        head -= 1;
    }
    let rest = old.len().min(new.len()) - head;
    let mut tail = old
        .bytes()
        .rev()
        .zip(new.bytes().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    while !old.is_char_boundary(old.len() - tail) || !new.is_char_boundary(new.len() - tail) {
        tail -= 1;
    }
    let text = lang::cut(new, head..new.len() - tail);
    Candidate::one(kind, score, Edit::new(file, head..old.len() - tail, text))
}

/// How much of a text cannot be read: places, and the share of bytes in them.
fn cost(lang: Lang, text: &str) -> f64 {
    let Some(tree) = lang.parse(text) else {
        return f64::MAX;
    };
    if !tree.root_node().has_error() {
        return 0.0;
    }
    let mut places = 0.0;
    let mut bytes = 0;
    for node in lang::all_nodes(&tree) {
        if node.is_error() || node.is_missing() {
            places += 1.0;
            bytes += node.byte_range().len();
        }
    }
    places + bytes as f64 / text.len().max(1) as f64
}

fn changes(lang: Lang, text: &str, alphabet: &Alphabet, hints: &[usize]) -> Vec<Change> {
    let starts = line_starts(text);
    let range = |line: usize| -> Option<Range<usize>> {
        let start = *starts.get(line.checked_sub(1)?)?;
        let end = starts.get(line).map_or(text.len(), |next| next - 1);
        (start <= end).then_some(start..end)
    };
    let mut lines: Vec<usize> = Vec::new();
    let mut add = |line: usize| {
        if line > 0 && !lines.contains(&line) {
            lines.push(line);
        }
    };
    for hint in hints {
        add(*hint);
        add(hint - 1);
    }
    let mut spans = Vec::new();
    if let Some(tree) = lang.parse(text) {
        for node in lang::all_nodes(&tree) {
            if node.is_error() || node.is_missing() {
                spans.push((node.start_position().row + 1, node.end_position().row + 1));
            }
        }
    }
    for (first, last) in &spans {
        for line in [*first, first - 1, *last, first + 1, last + 1] {
            add(line);
        }
    }
    for hint in hints {
        add(hint + 1);
        add(hint.saturating_sub(2));
    }
    lines.truncate(LINES);
    let mut found = Vec::new();
    for (nearness, line) in lines.iter().enumerate() {
        let Some(range) = range(*line) else { continue };
        let near = 1.0 / (1.0 + nearness as f64 * 0.25);
        let mut all = of_line(text, range.clone(), alphabet);
        all.extend(whole_line(text, range.clone()));
        if lang == Lang::Python {
            all.extend(python(text, range.clone()));
        }
        for mut change in all {
            change.weight *= near;
            found.push(change);
        }
    }
    found.extend(brackets(text, alphabet.comment));
    if lang == Lang::Python {
        found.extend(indentation(text, &lines, &starts));
    }
    found
}

/// A colon after the head of a block, and only there.
fn python(text: &str, line: Range<usize>) -> Vec<Change> {
    let said = lang::cut(text, line.clone());
    let word = said
        .trim()
        .split([' ', '(', ':'])
        .next()
        .unwrap_or_default();
    let head = matches!(
        word,
        "def"
            | "if"
            | "elif"
            | "else"
            | "for"
            | "while"
            | "class"
            | "try"
            | "except"
            | "finally"
            | "with"
            | "async"
    );
    let code = said.split('#').next().unwrap_or_default().trim_end();
    let end = line.start + code.len();
    if head && !code.ends_with(':') {
        vec![Change::new(end..end, ":", 6.0)]
    } else {
        Vec::new()
    }
}

/// Brackets that do not fit: each opening one without its other half gets it at the end of one of
/// the lines that follow, most likely where the indentation comes back; each closing one without
/// goes.
fn brackets(text: &str, comment: &str) -> Vec<Change> {
    let mut found = Vec::new();
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut quote: Option<char> = None;
    let mut skip_to = 0;
    for (at, c) in text.char_indices() {
        if at < skip_to {
            continue;
        }
        if let Some(q) = quote {
            if c == '\\' {
                skip_to = at + 2;
            } else if c == q || c == '\n' && q != '`' {
                quote = None;
            }
            continue;
        }
        if text.get(at..).is_some_and(|rest| rest.starts_with(comment)) {
            skip_to = text
                .get(at..)
                .and_then(|rest| rest.find('\n'))
                .map_or(text.len(), |end| at + end);
            continue;
        }
        match c {
            '"' | '`' => quote = Some(c),
            '\'' if comment == "#" || !is_lifetime(text, at) => quote = Some(c),
            '(' | '[' | '{' => open.push((c, at)),
            ')' | ']' | '}' => {
                let wanted = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if let Some((_, from)) = open.pop_if(|(top, _)| *top == wanted) {
                    // A block that ends at another indentation than it began lost its own end.
                    let first = lang::indent_at(text, at);
                    let alone = text.get(..at).is_some_and(|head| head.ends_with(first));
                    if c == '}' && alone && first != lang::indent_at(text, from) {
                        found.extend(closers(text, '{', from));
                    }
                } else {
                    found.push(Change::new(at..at + 1, "", 1.5));
                    if let Some((top, _)) = open.last() {
                        found.push(Change::new(at..at + 1, closing(*top), 1.5));
                        found.push(Change::new(at..at, closing(*top), 1.5));
                    }
                }
            }
            _ => {}
        }
    }
    for (top, at) in open.iter().rev().take(3) {
        found.extend(closers(text, *top, *at));
        found.push(Change::new(*at..*at + 1, "", 0.3));
    }
    found
}

fn is_lifetime(text: &str, at: usize) -> bool {
    let rest = text.get(at + 1..).unwrap_or_default();
    let mut chars = rest.chars();
    let first = chars.next();
    let second = chars.next();
    first.is_some_and(char::is_alphabetic) && second != Some('\'')
}

fn closing(open: char) -> &'static str {
    match open {
        '(' => ")",
        '[' => "]",
        _ => "}",
    }
}

fn closers(text: &str, open: char, at: usize) -> Vec<Change> {
    let close = closing(open);
    let mut found = Vec::new();
    let mut line_start = text
        .get(..at)
        .and_then(|head| head.rfind('\n'))
        .map_or(0, |n| n + 1);
    let indent = lang::indent_at(text, at).to_owned();
    for number in 0..40 {
        let Some(rest) = text.get(line_start..) else {
            break;
        };
        if rest.is_empty() {
            break;
        }
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = lang::cut(rest, 0..length);
        let end = line_start + line.trim_end().len();
        let back = number > 0
            && !line.trim().is_empty()
            && lang::indent_at(text, line_start).len() <= indent.len();
        if open == '{' {
            if back {
                let text = format!("{indent}{close}\n");
                found.push(Change::new(
                    line_start..line_start,
                    text,
                    2.5 / (1.0 + f64::from(number) * 0.02),
                ));
            }
        } else {
            let weight = 2.0 / (1.0 + f64::from(number));
            found.push(Change::new(end..end, close, weight));
            let last = line.trim_end().chars().last();
            if let Some(last) = last.filter(|c| ":;,{)]}".contains(*c)) {
                let before = end - last.len_utf8();
                found.push(Change::new(before..before, close, weight));
                let space = lang::cut(text, line_start..before).trim_end().len() + line_start;
                if space != before {
                    found.push(Change::new(space..space, close, weight * 1.2));
                }
            }
        }
        line_start += length + 1;
    }
    if open == '{' {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        found.push(Change::new(
            text.len()..text.len(),
            format!("{newline}{close}\n"),
            1.5,
        ));
    }
    found
}

/// A line at the indentation of its neighbours, with or without those that follow it.
fn indentation(text: &str, lines: &[usize], starts: &[usize]) -> Vec<Change> {
    let mut found = Vec::new();
    let line_at = |line: usize| -> Option<(usize, &str)> {
        let start = *starts.get(line.checked_sub(1)?)?;
        let end = starts.get(line).map_or(text.len(), |next| next - 1);
        Some((start, lang::cut(text, start..end)))
    };
    for (nearness, line) in lines.iter().enumerate() {
        let Some((start, said)) = line_at(*line) else {
            continue;
        };
        if said.trim().is_empty() {
            continue;
        }
        let mine = lang::indent_at(text, start).to_owned();
        let mut wanted: Vec<String> = Vec::new();
        for near in [line.saturating_sub(1), line + 1, line.saturating_sub(2)] {
            if let Some((start, said)) = line_at(near)
                && !said.trim().is_empty()
            {
                let theirs = lang::indent_at(text, start).replace('\t', "    ");
                wanted.push(format!("{theirs}    "));
                wanted.push(theirs.get(4..).unwrap_or_default().to_owned());
                wanted.push(theirs);
            }
        }
        wanted.sort();
        wanted.dedup();
        let near = 1.0 / (1.0 + nearness as f64 * 0.3);
        for indent in wanted.into_iter().filter(|one| *one != mine) {
            found.push(Change::new(start..start + mine.len(), indent.clone(), near));
            // With all that follow at least as far in.
            let mut end = start;
            let mut block = String::new();
            let mut at = *line;
            while let Some((start, said)) = line_at(at) {
                let theirs = lang::indent_at(text, start);
                let blank = said.trim().is_empty();
                if !blank && theirs.len() < mine.len() || mine.is_empty() && at > *line {
                    break;
                }
                end = start + said.len();
                if at > *line {
                    block.push('\n');
                }
                if blank {
                    block.push_str(said);
                } else {
                    block.push_str(&indent);
                    block.push_str(said.get(mine.len()..).unwrap_or_default());
                }
                at += 1;
            }
            if at > line + 1 && end > start {
                found.push(Change::new(start..end, block, near * 0.8));
            }
        }
        if said.contains('\t') {
            found.push(Change::new(
                start..start + said.len(),
                said.replace('\t', "    "),
                near,
            ));
        }
    }
    if text.contains('\t') {
        found.push(Change::new(0..text.len(), text.replace('\t', "    "), 0.8));
    }
    // A head without a body.
    for line in lines {
        if let Some((start, said)) = line_at(*line)
            && said.trim_end().ends_with(':')
        {
            let indent = lang::indent_at(text, start);
            let end = start + said.trim_end().len();
            found.push(Change::new(end..end, format!("\n{indent}    pass"), 0.15));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(path: &str, text: &str, wanted: &str, line: usize) -> bool {
        let project = Project::new(vec![(path.into(), text.into())], "");
        let failure = Failure {
            output: "SyntaxError".to_owned(),
            frames: vec![crate::failure::Frame { file: 0, line }],
            ..Failure::default()
        };
        assert!(unreadable(&project, &failure).contains(&0));
        let lang = Lang::of(std::path::Path::new(path)).unwrap();
        let all = source(&project, &failure, 0, lang);
        let texts: Vec<String> = all
            .iter()
            .map(|one| one.changed(&project)[0].1.to_string())
            .collect();
        texts.iter().any(|text| text == wanted)
    }

    #[test]
    fn python_that_cannot_be_read_becomes_readable() {
        let good = "def f(a, b):\n    if a > b:\n        return (a + b) * 2\n    return [a, b]\n";
        for (bad, line) in [
            (good.replacen("b):", "b)", 1), 1),
            (good.replacen("a > b:", "a > b", 1), 2),
            (good.replacen("b) * 2", "b * 2", 1), 3),
            (good.replacen("b]", "b", 1), 4),
            (good.replacen("    return [", "      return [", 1), 4),
            (good.replacen("return (", "retrun (", 1), 3),
            (good.replacen("    return [", "     return [", 1), 4),
        ] {
            assert!(mended("a.py", &bad, good, line), "{bad}");
        }
    }

    #[test]
    fn javascript_that_cannot_be_read_becomes_readable() {
        let good = "function f(a, b) {\n  if (a > b) {\n    return [a, 'x'];\n  }\n  return g(a, { b: 1 });\n}\n\nmodule.exports = { f };\n";
        for (bad, line) in [
            (good.replacen("  }\n", "", 1), 8),
            (good.replacen("if (a > b)", "if (a > b", 1), 2),
            (good.replacen("'x'", "'x", 1), 3),
            (good.replacen(" });", " };", 1), 5),
            (good.replacen("function", "fucntion", 1), 1),
            (good.replacen("b: 1 }", "b: 1 ", 1), 5),
        ] {
            assert!(mended("a.js", &bad, good, line), "{bad}");
        }
    }

    #[test]
    fn rust_that_cannot_be_read_becomes_readable() {
        let good = "pub fn f(a: u32) -> u32 {\n    let b = a + 1;\n    if b > 2 {\n        return g(b, 3);\n    }\n    b\n}\n";
        for (bad, line) in [
            (good.replacen("+ 1;", "+ 1", 1), 2),
            (good.replacen("3);", "3;", 1), 4),
            (good.replacen("    }\n", "", 1), 6),
        ] {
            assert!(mended("a.rs", &bad, good, line), "{bad}");
        }
    }
}
