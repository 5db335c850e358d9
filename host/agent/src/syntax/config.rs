//! Configuration that its format cannot read: JSON, YAML and TOML.

use std::collections::HashSet;

use super::edits::{Alphabet, Change, of_line, whole_line};
use super::source::whole;
use crate::candidate::{Candidate, Kind};
use crate::lang::{self, line_starts};
use crate::project::{Format, Project, Role};

const DEPTH: usize = 4;
const WIDTH: usize = 10;
const MOST: usize = 60;

const JSON: Alphabet = Alphabet {
    marks: &["\"", ",", ":", "{", "}", "[", "]"],
    ends: &[
        ("\"", 1.5),
        (",", 1.5),
        ("}", 1.0),
        ("]", 1.0),
        ("\",", 1.2),
        ("},", 0.6),
        ("],", 0.6),
    ],
    words: &["true", "false", "null"],
    swaps: &[
        ("'", "\""),
        ("True", "true"),
        ("False", "false"),
        ("None", "null"),
        ("=", ":"),
        (";", ","),
        ("undefined", "null"),
        ("NaN", "null"),
    ],
    comment: "",
};
const YAML: Alphabet = Alphabet {
    marks: &["\"", "'", ": ", "- ", "[", "]", "{", "}", ", ", " "],
    ends: &[("\"", 1.2), ("'", 1.2), (":", 1.2), ("]", 1.2), ("}", 1.0)],
    words: &["true", "false", "null"],
    swaps: &[
        ("=", ": "),
        (":", ": "),
        ("\t", "  "),
        (";", ""),
        (",", ""),
        (" :", ":"),
        ("-", "- "),
    ],
    comment: "#",
};
const TOML: Alphabet = Alphabet {
    marks: &["\"", "'", "=", "[", "]", "{", "}", ",", "."],
    ends: &[
        ("\"", 1.5),
        ("]", 1.5),
        ("'", 1.0),
        ("}", 1.0),
        (" = \"\"", 0.2),
        ("]]", 0.6),
    ],
    words: &["true", "false"],
    swaps: &[
        (":", " ="),
        ("True", "true"),
        ("False", "false"),
        (";", ""),
        ("None", "\"\""),
        ("yes", "true"),
        ("no", "false"),
        ("'", "\""),
        ("==", "="),
    ],
    comment: "#",
};

/// Whether a format can read a text; if not, the byte where it stopped.
pub fn check(format: Format, text: &str) -> Result<(), usize> {
    let at = |line: usize, column: usize| {
        let starts = line_starts(text);
        let start = starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(text.len());
        (start + column.saturating_sub(1)).min(text.len())
    };
    match format {
        Format::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map(drop)
            .map_err(|error| at(error.line(), error.column())),
        Format::Toml => text.parse::<toml::Table>().map(drop).map_err(|error| {
            error
                .span()
                .map_or(text.len(), |span| span.start.min(text.len()))
        }),
        Format::Yaml => serde_saphyr::from_str::<serde_json::Value>(text)
            .map(drop)
            .map_err(|error| {
                error.location().map_or(text.len(), |place| {
                    at(
                        usize::try_from(place.line()).unwrap_or(1),
                        usize::try_from(place.column()).unwrap_or(1),
                    )
                })
            }),
    }
}

/// Candidates for all configuration files that cannot be read, and their numbers.
#[must_use]
pub fn broken(project: &Project) -> Vec<(usize, Vec<Candidate>)> {
    let mut found = Vec::new();
    for (at, file) in project.files.iter().enumerate() {
        let Role::Config(format) = file.role else {
            continue;
        };
        if file.text.trim().is_empty() || check(format, &file.text).is_ok() {
            continue;
        }
        let mut all = mended(at, format, &file.text);
        all.extend(super::value::last_known_good(project, at, format, 4.0));
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.push((at, all));
    }
    found
}

fn mended(file: usize, format: Format, text: &str) -> Vec<Candidate> {
    let alphabet = match format {
        Format::Json => &JSON,
        Format::Yaml => &YAML,
        Format::Toml => &TOML,
    };
    let mut found: Vec<(f64, String)> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut open: Vec<(f64, String)> = vec![(1.0, text.to_owned())];
    if format == Format::Json {
        let plain = without_extras(text);
        if plain != text {
            open.push((1.5, plain.clone()));
            if check(format, &plain).is_ok() {
                found.push((3.0, plain));
            }
        }
    }
    for _ in 0..DEPTH {
        let mut next: Vec<(usize, f64, String)> = Vec::new();
        for (weight, text) in &open {
            let Err(stopped) = check(format, text) else {
                continue;
            };
            for change in changes(text, stopped, alphabet) {
                let new = change.of(text);
                if !known.insert(new.clone()) {
                    continue;
                }
                let weight = weight * change.weight;
                match check(format, &new) {
                    Ok(()) => found.push((weight, new)),
                    // The text was read further than before.
                    Err(further) => {
                        let gone = new.len() as i64 - text.len() as i64;
                        if further as i64 > stopped as i64 + gone.max(0) + 1 {
                            next.push((further, weight, new));
                        }
                    }
                }
            }
        }
        if !found.is_empty() {
            break;
        }
        next.sort_by(|a, b| {
            b.0.cmp(&a.0)
                .then_with(|| b.1.total_cmp(&a.1))
                .then_with(|| a.2.cmp(&b.2))
        });
        // Not ten variants of the same place.
        open = next
            .into_iter()
            .take(WIDTH)
            .map(|(_, weight, text)| (weight, text))
            .collect();
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found
        .into_iter()
        .take(MOST)
        .map(|(weight, new)| whole(file, text, &new, 100.0 * weight, Kind::Config))
        .collect()
}

/// Changes of the line where the reader stopped and of those before it, which are often to blame.
fn changes(text: &str, stopped: usize, alphabet: &Alphabet) -> Vec<Change> {
    let starts = line_starts(text);
    let line = lang::line_of(text, stopped);
    let mut found = Vec::new();
    let mut near = 1.0;
    let mut looked = 0;
    for line in (1..=line + 1).rev() {
        let Some(start) = starts.get(line - 1).copied() else {
            continue;
        };
        let end = starts.get(line).map_or(text.len(), |next| next - 1);
        if start > end {
            continue;
        }
        let range = start..end;
        if lang::cut(text, range.clone()).trim().is_empty() {
            continue;
        }
        for mut change in of_line(text, range.clone(), alphabet)
            .into_iter()
            .chain(whole_line(text, range.clone()))
            .chain(indents(text, range))
        {
            change.weight *= near;
            found.push(change);
        }
        near *= 0.8;
        looked += 1;
        if looked > 4 {
            break;
        }
    }
    for close in ["}", "]", "}}", "]}", "\"}"] {
        let end = text.trim_end().len();
        found.push(Change::new(end..end, format!("\n{close}"), 1.2));
        found.push(Change::new(end..end, close, 0.8));
    }
    if text.contains('\t') {
        found.push(Change::new(0..text.len(), text.replace('\t', "  "), 1.2));
    }
    found
}

/// The line one step further in or out, or as its neighbours.
fn indents(text: &str, line: std::ops::Range<usize>) -> Vec<Change> {
    let mine = lang::indent_at(text, line.start);
    let range = line.start..line.start + mine.len();
    let before = line
        .start
        .checked_sub(1)
        .map_or("", |end| lang::indent_at(text, end));
    let after = text
        .get(line.end + 1..)
        .map_or("", |_| lang::indent_at(text, line.end + 1));
    let mut found = Vec::new();
    for wanted in [
        before.to_owned(),
        after.to_owned(),
        format!("{before}  "),
        format!("{mine}  "),
        format!("{mine} "),
        mine.get(1..).unwrap_or_default().to_owned(),
        mine.get(2..).unwrap_or_default().to_owned(),
    ] {
        if wanted != mine {
            found.push(Change::new(range.clone(), wanted, 0.9));
        }
    }
    found
}

/// JSON without comments and commas before closing brackets, and with double quotes.
fn without_extras(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    let mut quoted = false;
    while let Some((at, c)) = chars.next() {
        let rest = text.get(at..).unwrap_or_default();
        if quoted {
            out.push(c);
            if c == '\\' {
                if let Some((_, next)) = chars.next() {
                    out.push(next);
                }
            } else if c == '"' {
                quoted = false;
            }
        } else if rest.starts_with("//") || rest.starts_with('#') {
            while chars.peek().is_some_and(|(_, c)| *c != '\n') {
                chars.next();
            }
            while out.ends_with(' ') {
                out.pop();
            }
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(text.len(), |end| at + end + 2);
            while chars.peek().is_some_and(|(at, _)| *at < end) {
                chars.next();
            }
        } else if c == ','
            && rest
                .get(1..)
                .is_some_and(|rest| rest.trim_start().starts_with(['}', ']']))
        {
            // A comma too many.
        } else {
            quoted = c == '"';
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mends(path: &str, bad: &str, good: &str) -> bool {
        let project = Project::new(vec![(path.into(), bad.into())], "");
        let all = broken(&project);
        let Some((_, all)) = all.first() else {
            panic!("{bad} can be read");
        };
        all.iter()
            .take(40)
            .any(|one| *one.changed(&project)[0].1 == *good)
    }

    #[test]
    fn json_that_cannot_be_read_becomes_readable() {
        let good = "{\n  \"name\": \"shop\",\n  \"ports\": [1, 2],\n  \"on\": true\n}\n";
        for bad in [
            good.replacen("\"shop\",", "\"shop\"", 1),
            good.replacen("true", "true,", 1),
            good.replacen("2],", "2,", 1),
            good.replacen("\"shop\"", "\"shop", 1),
            good.replacen("\"ports\"", "ports", 1),
            good.replacen("true", "True", 1),
            good.replacen("\n}", "", 1),
            good.replacen("\"name\":", "\"name\"", 1),
        ] {
            assert!(mends("c.json", &bad, good), "{bad}");
        }
    }

    #[test]
    fn toml_and_yaml_that_cannot_be_read_become_readable() {
        let toml = "[server]\nhost = \"a\"\nports = [1, 2]\n\n[log]\nlevel = \"info\"\n";
        for bad in [
            toml.replacen("\"a\"", "\"a", 1),
            toml.replacen("[server]", "[server", 1),
            toml.replacen("level =", "level :", 1),
            toml.replacen("2]", "2", 1),
        ] {
            assert!(mends("c.toml", &bad, toml), "{bad}");
        }
        let yaml = "server:\n  host: \"a\"\n  ports: [1, 2]\nlog:\n  level: info\n";
        for bad in [
            yaml.replacen("\"a\"", "\"a", 1),
            yaml.replacen("2]", "2", 1),
            yaml.replacen("  ports:", "   ports:", 1),
            yaml.replacen("  level", "\tlevel", 1),
        ] {
            assert!(mends("c.yaml", &bad, yaml), "{bad}");
        }
    }
}
