//! An import that is missing: the name is unknown and a module of the language, or another file
//! of the project, has it.

use crate::candidate::{Candidate, Edit, Kind};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::lang::{self, Lang};
use crate::project::Project;

const PYTHON: [&str; 30] = [
    "json",
    "os",
    "sys",
    "re",
    "math",
    "time",
    "random",
    "datetime",
    "collections",
    "itertools",
    "functools",
    "string",
    "copy",
    "logging",
    "threading",
    "hashlib",
    "uuid",
    "base64",
    "csv",
    "io",
    "pathlib",
    "typing",
    "dataclasses",
    "enum",
    "heapq",
    "bisect",
    "operator",
    "decimal",
    "statistics",
    "contextlib",
];
/// Names that are used without their module.
const MEMBERS: [(&str, &str); 22] = [
    ("defaultdict", "collections"),
    ("Counter", "collections"),
    ("OrderedDict", "collections"),
    ("deque", "collections"),
    ("namedtuple", "collections"),
    ("datetime", "datetime"),
    ("timedelta", "datetime"),
    ("date", "datetime"),
    ("timezone", "datetime"),
    ("Path", "pathlib"),
    ("dataclass", "dataclasses"),
    ("field", "dataclasses"),
    ("Enum", "enum"),
    ("lru_cache", "functools"),
    ("wraps", "functools"),
    ("partial", "functools"),
    ("reduce", "functools"),
    ("deepcopy", "copy"),
    ("Decimal", "decimal"),
    ("Optional", "typing"),
    ("List", "typing"),
    ("Dict", "typing"),
];
const NODE: [&str; 12] = [
    "fs",
    "path",
    "os",
    "http",
    "url",
    "util",
    "crypto",
    "events",
    "assert",
    "stream",
    "zlib",
    "querystring",
];

/// Candidates for names that the output calls unknown.
#[must_use]
pub fn imports(project: &Project, failure: &Failure) -> Vec<Candidate> {
    let mut found = Vec::new();
    let missing = failure.says("NameError")
        || failure.says("ReferenceError")
        || failure.says("is not defined");
    if !missing {
        return found;
    }
    for (at, file, lang) in project.sources() {
        let own = Facts::of(lang, &file.text);
        for name in failure
            .unknown
            .iter()
            .filter(|name| own.names.contains_key(*name))
        {
            for line in lines(project, at, lang, name) {
                let place = place(lang, &file.text);
                let text = format!("{line}\n");
                found.push(Candidate::one(
                    Kind::Syntax,
                    60.0,
                    Edit::new(at, place..place, text),
                ));
            }
        }
    }
    found
}

fn lines(project: &Project, at: usize, lang: Lang, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    match lang {
        Lang::Python => {
            if let Some((_, module)) = MEMBERS.iter().find(|(member, _)| *member == name) {
                found.push(format!("from {module} import {name}"));
            }
            if PYTHON.contains(&name) {
                found.push(format!("import {name}"));
            }
        }
        Lang::JavaScript => {
            if NODE.contains(&name) {
                let text = project.files.get(at).map_or("", |file| &*file.text);
                let module = text.contains("\nimport ") || text.starts_with("import ");
                found.push(if module {
                    format!("import {name} from 'node:{name}';")
                } else {
                    format!("const {name} = require('{name}');")
                });
            }
        }
        Lang::Rust => {}
    }
    for (other, file, theirs) in project.sources() {
        if other == at || theirs != lang {
            continue;
        }
        let defined = Facts::of(lang, &file.text).functions.contains_key(name)
            || file.text.contains(&format!("class {name}"))
            || file.text.contains(&format!("\n{name} ="));
        let stem = file.path.file_stem().and_then(|stem| stem.to_str());
        let (true, Some(stem)) = (defined, stem) else {
            continue;
        };
        match lang {
            Lang::Python => {
                found.push(format!("from {stem} import {name}"));
                found.push(format!("from .{stem} import {name}"));
            }
            Lang::JavaScript => found.push(format!("const {{ {name} }} = require('./{stem}');")),
            Lang::Rust => {}
        }
    }
    found
}

/// Before the first import, or where one could be.
fn place(lang: Lang, text: &str) -> usize {
    let Some(tree) = lang.parse(text) else {
        return 0;
    };
    let top = lang::named(tree.root_node());
    let import = top.iter().find(|node| {
        node.kind().contains("import") && node.kind() != "future_import_statement"
            || node.kind() == "lexical_declaration"
                && lang::text_of(text, **node).contains("require(")
    });
    if let Some(import) = import {
        return import.start_byte();
    }
    top.iter()
        .find(|node| {
            let documentation = node.kind() == "expression_statement"
                && node
                    .named_child(0)
                    .is_some_and(|one| one.kind() == "string");
            !documentation
                && !matches!(
                    node.kind(),
                    "comment" | "hash_bang_line" | "future_import_statement"
                )
        })
        .map_or(0, |node| node.start_byte())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_used_and_not_imported_is_imported_before_the_others() {
        let text = "\"\"\"A shop.\"\"\"\nimport os\n\ndef f():\n    return json.dumps({}), os\n";
        let project = Project::new(vec![("a.py".into(), text.into())], "");
        let failure = Failure {
            output: "NameError: name 'json' is not defined".to_owned(),
            unknown: vec!["json".to_owned()],
            ..Failure::default()
        };
        let all = imports(&project, &failure);
        let new = &all[0].changed(&project)[0].1;
        assert!(
            new.starts_with("\"\"\"A shop.\"\"\"\nimport json\nimport os\n"),
            "{new}"
        );
    }
}
