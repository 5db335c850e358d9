//! Names that are taken for one another: members and functions of the standard libraries that do
//! the opposite, or almost the same.

/// Pairs that are mistaken for each other before all others.
const PAIRS: &[[&str; 2]] = &[
    ["floor", "ceil"],
    ["append", "extend"],
    ["min", "max"],
    ["lower", "upper"],
    ["startswith", "endswith"],
    ["startsWith", "endsWith"],
    ["starts_with", "ends_with"],
    ["any", "all"],
    ["some", "every"],
    ["keys", "values"],
    ["push", "unshift"],
    ["pop", "shift"],
    ["pop", "popleft"],
    ["push_back", "push_front"],
    ["pop_back", "pop_front"],
    ["indexOf", "lastIndexOf"],
    ["find", "rfind"],
    ["slice", "splice"],
    ["toLowerCase", "toUpperCase"],
    ["to_lowercase", "to_uppercase"],
    ["is_some", "is_none"],
    ["is_ok", "is_err"],
    ["first", "last"],
    ["map", "filter"],
    ["lstrip", "rstrip"],
    ["trimStart", "trimEnd"],
    ["add", "discard"],
    ["union", "intersection"],
    ["saturating_sub", "saturating_add"],
    ["sorted", "reversed"],
    ["skip", "take"],
    ["insert", "append"],
    ["isdigit", "isalpha"],
    ["parse", "stringify"],
    ["loads", "dumps"],
];

/// Groups of words that are mistaken for each other.
const GROUPS: &[&[&str]] = &[
    &["append", "extend", "insert"],
    &["min", "max"],
    &["lower", "upper", "title", "capitalize"],
    &["strip", "lstrip", "rstrip"],
    &["startswith", "endswith"],
    &["startsWith", "endsWith", "includes"],
    &["starts_with", "ends_with", "contains"],
    &["split", "rsplit", "partition", "rpartition"],
    &["find", "rfind", "index"],
    &["any", "all"],
    &["some", "every"],
    &["keys", "values", "items"],
    &["keys", "values", "entries"],
    &["push", "unshift"],
    &["pop", "shift"],
    &["pop", "popleft"],
    &["append", "appendleft"],
    &["push_back", "push_front"],
    &["pop_back", "pop_front"],
    &["floor", "ceil", "round", "trunc"],
    &["indexOf", "lastIndexOf"],
    &["slice", "splice", "substring"],
    &["concat", "push"],
    &["map", "filter", "forEach", "flatMap"],
    &["toLowerCase", "toUpperCase"],
    &["to_lowercase", "to_uppercase"],
    &["to_ascii_lowercase", "to_ascii_uppercase"],
    &["trim", "trimStart", "trimEnd"],
    &["trim", "trim_start", "trim_end"],
    &["get", "has", "delete"],
    &["get", "pop"],
    &["add", "delete", "has"],
    &["add", "remove", "discard", "update"],
    &["isdigit", "isalpha", "isalnum", "isnumeric", "isspace"],
    &["is_some", "is_none"],
    &["is_ok", "is_err"],
    &["is_empty", "len"],
    &["first", "last"],
    &["saturating_sub", "wrapping_sub", "saturating_add"],
    &["checked_add", "checked_sub", "checked_mul"],
    &["wrapping_add", "wrapping_mul", "saturating_add"],
    &["unwrap_or_default", "unwrap"],
    &["sum", "len", "max", "min"],
    &["sum", "product", "count"],
    &["parseInt", "parseFloat", "Number"],
    &["int", "float", "str"],
    &["union", "intersection", "difference"],
    &["sort", "reverse"],
    &["sorted", "reversed", "list"],
    &["stringify", "parse"],
    &["dumps", "loads"],
    &["read", "readline", "readlines"],
    &["seconds", "total_seconds"],
    &["replace", "replaceAll"],
    &["padStart", "padEnd"],
    &["ljust", "rjust", "center", "zfill"],
    &["skip", "take"],
    &["find", "position", "rposition"],
    &["chars", "bytes"],
    &["resolve", "reject", "all", "allSettled", "race", "any"],
    &["resolve", "reject"],
    &["insert", "remove"],
    &["acquire", "release"],
    &["lock", "unlock"],
    &["encode", "decode"],
    &["isNaN", "isFinite", "isInteger"],
    &["abs", "round", "int"],
    &["or_insert", "or_insert_with", "or_default"],
    &["floor", "round"],
    &["left", "right"],
    &["start", "end"],
    &["width", "height"],
    &["x", "y"],
    &["prev", "next"],
    &["key", "value"],
    &["src", "dst"],
    &["lo", "hi"],
    &["low", "high"],
    &["rows", "cols"],
    &["head", "tail"],
    &["and_then", "map"],
    &["div_euclid", "rem_euclid"],
    &["ceil_div", "div"],
];

/// The words that this one is mistaken for, and how likely beside each other.
pub(super) fn mistaken(word: &str) -> Vec<(&'static str, f64)> {
    let mut found: Vec<(&'static str, f64)> = Vec::new();
    let pairs = PAIRS.iter().map(|pair| (pair.as_slice(), 1.0));
    let groups = GROUPS.iter().map(|group| (*group, 0.4));
    for (group, share) in pairs.chain(groups) {
        if group.contains(&word) {
            for other in group.iter().filter(|other| **other != word) {
                if !found.iter().any(|(known, _)| known == other) {
                    found.push((other, share));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opposite_is_likelier_than_a_relative() {
        let found = mistaken("floor");
        assert_eq!(found.first(), Some(&("ceil", 1.0)));
        assert!(found.contains(&("round", 0.4)));
        assert!(mistaken("nothing").is_empty());
    }
}
