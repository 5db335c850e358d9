//! The directory as it was read once: which files there are, what each of them is for, which
//! parts of them are tests. Runs nothing.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::{self, Lang};

/// What a file may be to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Source code that may be changed.
    Source(Lang),
    /// Configuration or data that may be changed.
    Config(Format),
    /// Read by the command as a test; never changed.
    Test(Option<Lang>),
    /// Anything else; copied and never changed.
    Other,
}

/// A format of configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// TOML.
    Toml,
}

/// A file with text.
#[derive(Debug, Clone)]
pub struct File {
    /// Below the directory.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<str>,
    /// What it is for.
    pub role: Role,
    /// Parts that are tests, in a file that may be changed otherwise.
    pub protected: Vec<Range<usize>>,
}

/// All that the search looks at.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// In order of their paths.
    pub files: Vec<File>,
}

impl Project {
    /// Sorts texts into source, configuration and tests, by names and by what the command names.
    #[must_use]
    pub fn new(texts: Vec<(PathBuf, Arc<str>)>, command: &str) -> Self {
        let named = named_by(command, &texts);
        let sources = texts
            .iter()
            .filter(|(path, _)| Lang::of(path).is_some() && !is_test_path(path))
            .count();
        let files = texts
            .into_iter()
            .map(|(path, text)| {
                let lang = Lang::of(&path);
                // A lone file that the command names is what is to be mended, unless it judges.
                let judge = named.contains(&path)
                    && (lang.is_none() || sources > 1 && judges(&text) && !served(&path));
                let role = match (lang, format_of(&path)) {
                    _ if is_test_path(&path) || judge => Role::Test(lang),
                    (Some(lang), _) => Role::Source(lang),
                    (None, Some(format)) => Role::Config(format),
                    (None, None) => Role::Other,
                };
                let protected = match role {
                    Role::Source(lang) => protected(lang, &text),
                    _ => Vec::new(),
                };
                File {
                    path,
                    text,
                    role,
                    protected,
                }
            })
            .collect();
        Self { files }
    }

    /// Files of a role, with their numbers.
    pub fn sources(&self) -> impl Iterator<Item = (usize, &File, Lang)> {
        self.files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| match file.role {
                Role::Source(lang) => Some((at, file, lang)),
                _ => None,
            })
    }

    /// Test files that a grammar can read.
    pub fn tests(&self) -> impl Iterator<Item = (usize, &File, Lang)> {
        self.files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| match file.role {
                Role::Test(Some(lang)) => Some((at, file, lang)),
                _ => None,
            })
    }

    /// The file whose path ends like this one; the longest common end wins.
    #[must_use]
    pub fn find(&self, shown: &str) -> Option<usize> {
        let shown = Path::new(shown.trim_start_matches("file://"));
        let fits = |file: &File| shown == file.path || shown.ends_with(&file.path);
        self.files
            .iter()
            .enumerate()
            .filter(|(_, file)| fits(file))
            .max_by_key(|(_, file)| file.path.components().count())
            .map(|(at, _)| at)
    }
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        "toml" => Some(Format::Toml),
        _ => None,
    }
}

/// Names by which the usual runners know tests.
fn is_test_path(path: &Path) -> bool {
    let folders = ["test", "tests", "__tests__", "spec", "specs", "__mocks__"];
    let in_folder = path.parent().is_some_and(|parent| {
        parent
            .components()
            .any(|part| folders.iter().any(|name| part.as_os_str() == *name))
    });
    if in_folder {
        return true;
    }
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return false;
    };
    if Lang::of(path).is_none() {
        return false;
    }
    let stem = stem.to_ascii_lowercase();
    let begins = ["test_", "test-", "test.", "tests_", "check_", "spec_"];
    let ends = [
        "_test", "-test", ".test", "_tests", "_spec", ".spec", "-spec",
    ];
    let whole = ["test", "tests", "conftest", "spec", "selftest", "run_tests"];
    begins.iter().any(|word| stem.starts_with(word))
        || ends.iter().any(|word| stem.ends_with(word))
        || whole.contains(&stem.as_str())
}

/// Programs that a test command would start rather than read as a test.
fn served(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    matches!(
        stem,
        Some("main" | "app" | "server" | "index" | "lib" | "service" | "cli")
    )
}

/// Whether a text looks like one that judges others.
fn judges(text: &str) -> bool {
    [
        "assert",
        "expect(",
        "unittest",
        "sys.exit(1",
        "process.exit(1",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// Files that the words of the command name, also as a module; and of a script that it names, the
/// files that the script names.
fn named_by(command: &str, texts: &[(PathBuf, Arc<str>)]) -> Vec<PathBuf> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| c.is_whitespace() || "'\"();&|<>=`".contains(c))
            .filter(|word| !word.is_empty())
            .map(|word| word.trim_start_matches("./").to_owned())
            .collect()
    };
    let mut found: Vec<PathBuf> = Vec::new();
    let look = |text: &str, found: &mut Vec<PathBuf>| {
        for word in words(text) {
            let module = format!("{}.py", word.replace('.', "/"));
            for (path, _) in texts {
                let shown = path.to_string_lossy();
                if (shown == word || shown == module) && !found.contains(path) {
                    found.push(path.clone());
                }
            }
        }
    };
    look(command, &mut found);
    for (path, text) in texts {
        if found.contains(path) && Lang::of(path).is_none() && format_of(path).is_none() {
            look(text, &mut found);
        }
    }
    found.retain(|path| format_of(path).is_none());
    found
}

/// The parts of a source file that are tests.
fn protected(lang: Lang, text: &str) -> Vec<Range<usize>> {
    let Some(tree) = lang.parse(text) else {
        return Vec::new();
    };
    let mut found: Vec<Range<usize>> = Vec::new();
    for node in lang::all_nodes(&tree) {
        let is_test = match (lang, node.kind()) {
            (Lang::Python, "function_definition") => node
                .child_by_field_name("name")
                .is_some_and(|name| lang::text_of(text, name).starts_with("test_")),
            (Lang::Python, "class_definition") => node
                .child_by_field_name("superclasses")
                .is_some_and(|list| lang::text_of(text, list).contains("TestCase")),
            (Lang::Rust, "mod_item" | "function_item") => {
                attributes(text, node).any(|one| one.contains("cfg(test)") || one.contains("test]"))
            }
            _ => false,
        };
        if is_test && !found.iter().any(|out| out.contains(&node.start_byte())) {
            found.push(node.byte_range());
        }
    }
    found
}

/// The attributes right before a Rust item.
pub fn attributes<'a>(text: &'a str, node: tree_sitter::Node<'a>) -> impl Iterator<Item = &'a str> {
    std::iter::successors(node.prev_sibling(), |node| node.prev_sibling())
        .take_while(|node| matches!(node.kind(), "attribute_item" | "line_comment"))
        .map(|node| lang::text_of(text, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(command: &str, files: &[(&str, &str)]) -> Vec<Role> {
        let texts = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), Arc::from(*text)))
            .collect();
        let project = Project::new(texts, command);
        project.files.iter().map(|file| file.role).collect()
    }

    #[test]
    fn tests_are_known_by_their_names_and_by_the_command_that_reads_them() {
        let found = roles(
            "python3 verify.py && sh run.sh",
            &[
                ("cart.py", "def total(): pass"),
                ("tests/data.json", "{}"),
                ("test_cart.py", ""),
                ("verify.py", "assert 1"),
                ("run.sh", "python3 -m more.checks"),
                ("more/checks.py", "assert 2"),
                ("settings.json", "{}"),
                ("cart.test.js", ""),
            ],
        );
        let python = Some(Lang::Python);
        assert_eq!(
            found,
            [
                Role::Source(Lang::Python),
                Role::Test(None),
                Role::Test(python),
                Role::Test(python),
                Role::Test(None),
                Role::Test(python),
                Role::Config(Format::Json),
                Role::Test(Some(Lang::JavaScript)),
            ]
        );
        // The only source there is, though the command names it, is what is to be mended.
        let alone = roles("python3 tool.py", &[("tool.py", "assert f() == 1")]);
        assert_eq!(alone, [Role::Source(Lang::Python)]);
    }

    #[test]
    fn tests_inside_a_source_file_are_protected_and_the_rest_is_not() {
        let text: Arc<str> =
            "fn add() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n".into();
        let project = Project::new(vec![("src/lib.rs".into(), Arc::clone(&text))], "cargo test");
        let file = &project.files[0];
        assert_eq!(file.role, Role::Source(Lang::Rust));
        assert_eq!(file.protected.len(), 1);
        assert!(!file.protected[0].contains(&3));
        assert!(file.protected[0].contains(&text.find("fn t").unwrap()));
    }
}
