//! Faults drawn from correct programs, as text: an operator, a constant, a name of a method or a
//! condition turned, a statement gone, two arguments swapped. Knows nothing of how repairs work.

/// What is turned into what.
const TURNS: &[(&str, &str)] = &[
    (" < ", " <= "),
    (" <= ", " < "),
    (" > ", " >= "),
    (" >= ", " > "),
    (" < ", " > "),
    (" == ", " != "),
    (" != ", " == "),
    (" === ", " !== "),
    (" + ", " - "),
    (" - ", " + "),
    (" * ", " / "),
    (" += ", " -= "),
    (" += ", " = "),
    (" -= ", " += "),
    (" and ", " or "),
    (" or ", " and "),
    (" && ", " || "),
    (" || ", " && "),
    ("not ", ""),
    ("min(", "max("),
    ("max(", "min("),
    ("True", "False"),
    ("true", "false"),
    (" 0", " 1"),
    (" 1", " 2"),
    ("(0", "(1"),
    ("[0]", "[1]"),
    (".append(", ".extend("),
    (".push(", ".unshift("),
    ("floor", "ceil"),
    ("ceil", "floor"),
    (" in ", " not in "),
    ("..", "..="),
];

/// Lines that are no statements of the program.
const DULL: &[&str] = &[
    "#", "//", "import", "from", "use ", "\"", "module.", "pub fn", "fn ", "def ", "class ",
    "const {", "for ",
];

/// All mutations of a file, each a whole text.
pub fn mutants(file: &str, text: &str) -> Vec<String> {
    let python = file.ends_with(".py");
    let lines: Vec<&str> = text.split('\n').collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let said = line.trim();
        if said.is_empty() || DULL.iter().any(|head| said.starts_with(head)) {
            continue;
        }
        let with = |new: String| {
            let mut all: Vec<&str> = lines.clone();
            all[at] = &new;
            all.join("\n")
        };
        for (old, new) in TURNS {
            for (place, _) in line.match_indices(old) {
                let (head, tail) = line.split_at(place);
                found.push(with(format!("{head}{new}{}", &tail[old.len()..])));
            }
        }
        if is_statement(said) {
            let indent = &line[..line.len() - line.trim_start().len()];
            found.push(with(format!(
                "{indent}{}",
                if python { "pass" } else { "" }
            )));
        }
        if let Some(swapped) = swapped(line) {
            found.push(with(swapped));
        }
    }
    found
}

/// Whether a line is a whole statement that can be left out.
fn is_statement(said: &str) -> bool {
    let ends = said.ends_with([';', ')']) || !said.ends_with(['{', ':', ',', '(', '[', '}', ']']);
    let begins = ["return", "raise", "throw", "del ", "delete "];
    let assigns = [" = ", " += ", " -= "]
        .iter()
        .any(|sign| said.contains(sign));
    let calls = said.ends_with(')') || said.ends_with(");");
    let declares = ["let ", "const ", "if ", "elif ", "while ", "else", "."];
    ends && !declares.iter().any(|head| said.starts_with(head))
        && (begins.iter().any(|head| said.starts_with(head)) || assigns || calls)
}

/// `f(a, b)` to `f(b, a)`.
fn swapped(line: &str) -> Option<String> {
    let open = line.find('(')?;
    let close = open + line[open..].find(')')?;
    let (a, b) = line[open + 1..close].split_once(", ")?;
    let plain =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !plain(a) || !plain(b) || a == b {
        return None;
    }
    Some(format!("{}({b}, {a}{}", &line[..open], &line[close..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutation_changes_one_line() {
        let text = "def f(a, b):\n    if a < b:\n        return g(a, b)\n    a += 1\n";
        let all = mutants("x.py", text);
        assert!(all.len() >= 5, "{all:?}");
        for one in &all {
            let changed = text
                .lines()
                .zip(one.lines())
                .filter(|(old, new)| old != new);
            assert_eq!(changed.count(), 1, "{one}");
        }
        assert!(all.iter().any(|one| one.contains("return g(b, a)")));
        assert!(all.iter().any(|one| one.contains("    pass\n    a += 1")));
    }
}
