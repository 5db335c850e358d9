//! Tracing JavaScript: the copy of the traced run gets a call before each statement, and a module
//! that node loads first counts them. The calls are laid into the text by the tree, so that they
//! change no line number and nothing that the program can see but time.

use std::path::PathBuf;
use std::sync::Arc;

use tree_sitter::Node;

use crate::candidate::{Edit, apply};
use crate::lang::{self, Lang, text_of};
use crate::project::{Project, Role};

/// The module. The same lines as the tracer of Python writes.
pub const TRACER: &str = r#"
'use strict';
const out = process.env.GRACE_TRACE;
if (out) {
  const fs = require('fs');
  const path = require('path').join(out, `js-${process.pid}-${Date.now()}.jsonl`);
  const outside = new Set();
  let hits = outside;
  const open = new Map();
  let segment = null;
  let count = 0;
  const seconds = Number(process.env.GRACE_SECONDS || 0);
  const deadline = seconds > 0 ? Date.now() + seconds * 1000 : Infinity;
  const write = (t, ok, set, stood = []) => {
    const list = [...set].map((one) => { const at = one.lastIndexOf(':'); return [one.slice(0, at), Number(one.slice(at + 1))]; });
    try { fs.appendFileSync(path, JSON.stringify({ t, ok, hits: list, stood }) + '\n'); } catch {}
  };
  const close = (ok) => { if (segment) { write(segment.name, ok, segment.set); segment = null; } };
  globalThis.__grace_g = (file, line) => {
    hits.add(file + ':' + line);
    if ((++count & 0xfff) === 0 && Date.now() > deadline) {
      write('stuck', false, hits, [[file, line]]);
      write(null, true, outside);
      process.reallyExit(99);
    }
  };
  globalThis.__grace_s = (file, line) => {
    close(true);
    segment = { name: `line ${line}`, set: new Set() };
    hits = segment.set;
  };
  globalThis.__grace_t = (name) => {
    const set = new Set();
    open.set(name, set);
    hits = set;
  };
  globalThis.__grace_e = (name) => {
    const set = open.get(name);
    if (set) { write(name, true, set); open.delete(name); }
    hits = segment ? segment.set : outside;
  };
  process.on('exit', (code) => {
    for (const [name, set] of open) write(name, false, set);
    close(code === 0 || open.size > 0);
    write(null, true, outside);
  });
}
"#;

/// The texts of all JavaScript files with the calls in them.
#[must_use]
pub fn instrumented(project: &Project) -> Vec<(PathBuf, Arc<str>)> {
    let mut found = Vec::new();
    for file in &project.files {
        let test = match file.role {
            Role::Source(Lang::JavaScript) => false,
            Role::Test(Some(Lang::JavaScript)) => true,
            _ => continue,
        };
        if lang::errors(Lang::JavaScript, &file.text) > 0 {
            continue;
        }
        let name = file.path.display().to_string();
        let edits = if test {
            of_test(&file.text, &name)
        } else {
            of_source(&file.text, &name)
        };
        found.push((file.path.clone(), apply(&file.text, edits.iter()).into()));
    }
    found
}

fn of_source(text: &str, name: &str) -> Vec<Edit> {
    let Some(tree) = Lang::JavaScript.parse(text) else {
        return Vec::new();
    };
    let mut edits = Vec::new();
    for node in lang::all_nodes(&tree) {
        if statement(text, node) {
            let line = node.start_position().row + 1;
            edits.push(before(node, format!("__grace_g({name:?},{line});")));
        }
    }
    edits
}

/// A place where a call can stand: not before imports, which come first, nor before what the
/// text begins with to be strict.
fn statement(text: &str, node: Node<'_>) -> bool {
    let in_block = node
        .parent()
        .is_some_and(|up| matches!(up.kind(), "statement_block" | "program"));
    let directive = node.kind() == "expression_statement"
        && node
            .named_child(0)
            .is_some_and(|one| one.kind() == "string");
    in_block
        && node.is_named()
        && !directive
        && !matches!(
            node.kind(),
            "comment"
                | "import_statement"
                | "export_statement"
                | "hash_bang_line"
                | "function_declaration"
                | "class_declaration"
        )
        && !text_of(text, node).is_empty()
}

fn before(node: Node<'_>, text: String) -> Edit {
    Edit::new(0, node.start_byte()..node.start_byte(), text)
}

fn of_test(text: &str, name: &str) -> Vec<Edit> {
    let Some(tree) = Lang::JavaScript.parse(text) else {
        return Vec::new();
    };
    let mut edits = Vec::new();
    for node in lang::all_nodes(&tree) {
        let top = node.parent().is_some_and(|up| up.kind() == "program");
        if top && statement(text, node) {
            let line = node.start_position().row + 1;
            edits.push(before(node, format!("__grace_s({name:?},{line});")));
        }
        if node.kind() != "call_expression" {
            continue;
        }
        let function = node
            .child_by_field_name("function")
            .map_or("", |function| text_of(text, function));
        if matches!(function, "describe" | "suite") || function.ends_with(".describe") {
            continue;
        }
        let arguments = crate::facts::arguments(node);
        let (Some(title), Some(body)) = (
            arguments.first().filter(|one| one.kind() == "string"),
            arguments
                .last()
                .filter(|one| matches!(one.kind(), "arrow_function" | "function_expression"))
                .and_then(|one| one.child_by_field_name("body"))
                .filter(|body| body.kind() == "statement_block"),
        ) else {
            continue;
        };
        let title = text_of(text, *title).trim_matches(['\'', '"']);
        let title = serde_json::to_string(title).unwrap_or_default();
        let start = body.start_byte() + 1;
        let end = body.end_byte().saturating_sub(1);
        edits.push(Edit::new(0, start..start, format!("__grace_t({title});")));
        edits.push(Edit::new(0, end..end, format!(";__grace_e({title});")));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_counted_and_no_line_moves() {
        let source = "'use strict';\nconst a = 1;\nfunction f(x) {\n  if (x) {\n    return a;\n  }\n  return 2;\n}\n";
        let test = "const { f } = require('./a');\ntest('one', () => {\n  f(1);\n});\n";
        let project = Project::new(
            vec![
                ("a.js".into(), source.into()),
                ("a.test.js".into(), test.into()),
            ],
            "",
        );
        let found = instrumented(&project);
        let text = &found[0].1;
        assert_eq!(text.lines().count(), source.lines().count());
        assert!(
            text.starts_with("'use strict';\n__grace_g(\"a.js\",2);const"),
            "{text}"
        );
        assert!(text.contains("__grace_g(\"a.js\",5);return a"), "{text}");
        assert!(
            found[1].1.contains("{__grace_t(\"one\");"),
            "{}",
            found[1].1
        );
        assert!(
            found
                .iter()
                .all(|(_, text)| lang::errors(Lang::JavaScript, text) == 0)
        );
    }
}
