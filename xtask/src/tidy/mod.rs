//! The house rules that a program can check: which crate may name which, which crate alone may
//! name a library, where `unsafe` may stand, file heads and sizes, what `deny.toml` allows, one
//! target directory, who reads the time of day, and that SPEC.md and the lists of the playbook
//! reference name only what exists.

mod deny;
mod licence;
mod lists;
mod place;
mod wall;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, output, root};

/// Which of our crates a crate may name. ARCHITECTURE.md shows the same table.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("grace-model", &[]),
    ("grace-plan", &["grace-model"]),
    ("grace-journal", &["grace-model"]),
    ("grace-os", &["grace-model"]),
    ("grace-sandbox", &["grace-model", "grace-os"]),
    ("grace-capsule", &["grace-model"]),
    ("grace-ledger", &["grace-model"]),
    ("grace-wasm", &["grace-model"]),
    (
        "grace-supervisor",
        &[
            "grace-model",
            "grace-plan",
            "grace-journal",
            "grace-os",
            "grace-sandbox",
        ],
    ),
    (
        "grace-proxy",
        &["grace-model", "grace-journal", "grace-os", "grace-capsule"],
    ),
    (
        "grace-trial",
        &["grace-model", "grace-capsule", "grace-os", "grace-sandbox"],
    ),
    (
        "grace-healer",
        &[
            "grace-model",
            "grace-plan",
            "grace-journal",
            "grace-ledger",
            "grace-sandbox",
            "grace-capsule",
        ],
    ),
    ("grace-api", &["grace-model", "grace-ledger"]),
    ("grace-agent", &["grace-model", "grace-os", "grace-sandbox"]),
    ("grace-demo", &["grace-os"]),
    ("grace-prove", &["grace-os", "grace-demo"]),
    ("grace-chaos", &["grace-model", "grace-os", "grace-demo"]),
    ("grace-workers", &["grace-os"]),
    ("grace-needs", &[]),
    ("xtask", &[]),
];

/// Libraries that only these crates may name.
const ONLY: &[(&str, &[&str])] = &[
    ("wasmtime", &["grace-wasm"]),
    ("wasmtime-wasi", &["grace-wasm"]),
    ("hyper", &["grace-proxy", "grace-api", "grace-workers"]),
    ("axum", &["grace-api"]),
    ("rusqlite", &["grace-ledger"]),
    ("tree-sitter", &["grace-agent"]),
    // The healer asks for free space and ends the process group of a notify command.
    ("rustix", &["grace-os", "grace-healer"]),
    ("nix", &["grace-os"]),
    ("libc", &["grace-os"]),
    (
        "anyhow",
        &[
            "grace",
            "xtask",
            "grace-demo",
            "grace-prove",
            "grace-chaos",
            "grace-workers",
        ],
    ),
    ("clap", &["grace"]),
    ("ruzstd", &["grace-capsule"]),
];

/// Files that may hold `unsafe`, each block with its proof.
const UNSAFE: &[&str] = &["host/os/", "host/wasm/src/aot.rs", "plugins/"];

const MAX_LINES: usize = 800;

pub fn run() -> Result<ExitCode> {
    match check() {
        Ok(()) => {
            println!("tidy");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error:#}");
            Ok(ExitCode::from(1))
        }
    }
}

pub fn check() -> Result<()> {
    let mut faults = Vec::new();
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    directions(&serde_json::from_str(&metadata)?, &mut faults);
    let mut files = Vec::new();
    for top in ["host", "xtask", "tests", "plugins"] {
        sources(&root().join(top), &mut files)?;
    }
    for file in &files {
        source(file, &mut faults)?;
    }
    spec(&files, &mut faults)?;
    deny::check(&mut faults)?;
    place::one_target(&mut faults)?;
    faults.extend(missing(&root()));
    faults.extend(unpinned(&fs::read_to_string(root().join("Cargo.lock"))?));
    let manifest =
        fs::read_to_string(root().join("Cargo.toml")).context("cannot read Cargo.toml")?;
    faults.extend(untrimmed(&manifest)?);
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{}", faults.join("\n"))
}

fn directions(metadata: &Value, faults: &mut Vec<String>) {
    let allowed: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for dep in package["dependencies"].as_array().into_iter().flatten() {
            let to = dep["name"].as_str().unwrap_or_default();
            let dev = dep["kind"] == "dev";
            if dev {
                continue;
            }
            if to.starts_with("grace-") && name != "grace" {
                match allowed.get(name) {
                    Some(list) if list.contains(&to) => {}
                    Some(_) => faults.push(format!(
                        "{name} names {to}: not in the table of ARCHITECTURE.md"
                    )),
                    None => faults.push(format!("{name} is not in the table of xtask/src/tidy.rs")),
                }
            }
            if let Some((_, owners)) = ONLY.iter().find(|(library, _)| *library == to)
                && !owners.contains(&name)
            {
                faults.push(format!("{name} names {to}: only {} may", owners.join(", ")));
            }
        }
    }
}

fn sources(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() {
            if !matches!(
                name.as_str(),
                "target" | "out" | "template" | "node_modules"
            ) {
                sources(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn source(file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let short = file
        .strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string();
    if !text.starts_with("//!") && !text.starts_with("#!") {
        faults.push(format!("{short}: begin with //! and what the file is"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        faults.push(format!(
            "{short}: {lines} lines; more than {MAX_LINES} hold more than one idea"
        ));
    }
    if short.starts_with("host/") && short.contains("/src/") || short.starts_with("host/grace/") {
        let allowed = UNSAFE.iter().any(|place| short.starts_with(place));
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !allowed
                && (code.contains("unsafe {")
                    || code.contains("unsafe fn")
                    || code.contains("unsafe impl"))
            {
                faults.push(format!(
                    "{short}:{}: unsafe stands only in {}",
                    number + 1,
                    UNSAFE.join(", ")
                ));
            }
        }
    }
    faults.extend(wall::readers(&short, &text));
    if short.starts_with("tests/") {
        faults.extend(place::fixed_ports(Path::new(&short), &text));
    }
    for (number, line) in text.lines().enumerate() {
        if line.ends_with(' ') || line.contains('\t') && !line.contains("\"") {
            faults.push(format!("{short}:{}: trailing space or tab", number + 1));
        }
    }
    Ok(())
}

/// What a newcomer looks for at the top.
const TOP: &[&str] = &[
    "host",
    "plugins",
    "wit",
    "playbooks",
    "tests",
    "xtask",
    "README.md",
    "ARCHITECTURE.md",
    "SPEC.md",
    "LICENSE",
    "deny.toml",
    ".ci/run",
    "Cargo.lock",
    "plugins/Cargo.lock",
    "plugins/README.md",
    "playbooks/README.md",
    "wit/README.md",
];

fn missing(root: &Path) -> Vec<String> {
    let absent = TOP.iter().filter(|name| !root.join(name).exists());
    absent
        .map(|name| format!("{name} is missing at the top of the checkout"))
        .collect()
}

/// The long-term line of wasmtime; both crates on one version of it.
const WASMTIME: &str = "48.0.";

fn unpinned(lock: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ["wasmtime", "wasmtime-wasi"] {
        let head = format!("name = \"{name}\"\nversion = \"");
        let versions: Vec<&str> = lock
            .split(&head)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        if versions.len() != 1
            || versions
                .iter()
                .any(|version| !version.starts_with(WASMTIME))
        {
            faults.push(format!(
                "Cargo.lock: {name} is {versions:?} and must be one {WASMTIME}x"
            ));
        }
    }
    faults
}

/// Crates whose features are chosen one by one, because the rest of them costs minutes of building.
const TRIMMED: &[&str] = &["wasmtime", "wasmtime-wasi", "axum", "tokio-rustls"];

/// They are taken without their default features, in `Cargo.toml` of the workspace.
fn untrimmed(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Value = toml::from_str(manifest).context("Cargo.toml")?;
    let of = |name: &&&str| {
        let entry = manifest
            .get("workspace")
            .and_then(|it| it.get("dependencies")?.get(**name));
        let off = entry.and_then(|it| it.get("default-features")?.as_bool()) == Some(false);
        !off
    };
    let faults = TRIMMED.iter().filter(of).map(|name| {
        format!("Cargo.toml: {name} must have `default-features = false`, with what is used named")
    });
    Ok(faults.collect())
}

/// Every test named in SPEC.md, as `` `name` `` in the last column, exists.
fn spec(files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    let path = root().join("SPEC.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut tests = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file)?;
        for line in source.lines() {
            let line = line.trim_start();
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let line = line.strip_prefix("async ").unwrap_or(line);
            if let Some(rest) = line.strip_prefix("fn ")
                && let Some((name, _)) = rest.split_once('(')
            {
                tests.insert(name.trim().to_owned());
            }
        }
    }
    faults.extend(unknown_tests(&text, &tests));
    lists::check(&root(), &tests, faults)?;
    let text = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    faults.extend(unknown_table_tests(&text, &tests));
    Ok(())
}

/// The same for the table of what dies with what, the only one whose last column is `test`.
fn unknown_table_tests(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.trim_end().ends_with("| test |"))
        .take_while(|line| line.starts_with('|'))
        .collect();
    let faults = unknown_tests(&table.join("\n"), tests);
    faults
        .into_iter()
        .map(|fault| fault.replace("SPEC.md:", "ARCHITECTURE.md, table of deaths, line "))
        .collect()
}

fn unknown_tests(spec: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows = 0;
    for (number, line) in spec.lines().enumerate() {
        if !line.starts_with("| ") || line.starts_with("| ---") {
            continue;
        }
        let Some(last) = line.trim_end_matches('|').rsplit('|').next() else {
            continue;
        };
        if last.trim() == "test" {
            continue;
        }
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !last.contains("not built") {
            faults.push(format!(
                "SPEC.md:{}: a promise without a test; name one or say `not built`",
                number + 1
            ));
        }
        for name in names {
            rows += 1;
            let name = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(name) {
                faults.push(format!("SPEC.md:{}: there is no test {name:?}", number + 1));
            }
        }
    }
    if rows == 0 {
        faults.push("SPEC.md names no test at all".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["a_test".to_owned()].into()
    }

    #[test]
    fn a_spec_row_may_name_a_test_that_exists() {
        assert!(
            unknown_tests(
                "| promise | test |\n| --- | --- |\n| it works | `x::a_test` |\n",
                &known()
            )
            .is_empty()
        );
    }

    #[test]
    fn a_spec_row_with_an_unknown_test_is_a_fault() {
        assert_eq!(
            unknown_tests("| it works | `b_test` |\n", &known()).len(),
            1
        );
    }

    #[test]
    fn a_spec_row_without_a_test_is_a_fault() {
        assert!(!unknown_tests("| it works | soon |\n", &known()).is_empty());
    }

    #[test]
    fn a_checkout_without_its_top_files_is_a_fault() {
        assert_eq!(missing(&root()), Vec::<String>::new());
        assert_eq!(missing(&root().join("no-such-folder")).len(), TOP.len());
    }

    #[test]
    fn another_or_a_second_wasmtime_is_a_fault() {
        let lock = |version: &str| {
            format!(
                "name = \"wasmtime\"\nversion = \"{version}\"\nname = \"wasmtime-wasi\"\nversion = \"48.0.8\"\n"
            )
        };
        assert!(unpinned(&lock("48.0.8")).is_empty());
        assert_eq!(unpinned(&lock("50.0.1")).len(), 1);
        assert_eq!(unpinned(&(lock("48.0.8") + &lock("48.0.7"))).len(), 2);
        assert_eq!(unpinned("").len(), 2);
    }

    #[test]
    fn a_large_crate_with_all_its_features_is_a_fault() {
        let own = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert_eq!(untrimmed(&own).unwrap(), Vec::<String>::new());
        for name in TRIMMED {
            let all = own.replace(
                &format!("\n{name} = {{ version"),
                &format!("\n{name} = \"1\"\nother-{name} = {{ version"),
            );
            let faults = untrimmed(&all).unwrap();
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
        }
    }

    #[test]
    fn the_table_of_deaths_names_only_tests_that_exist() {
        let table = "| killed | test |\n| --- | --- |\n| x | `a_test` |\n| y | `b_test` |\n\n| other | `c_test` |\n";
        assert_eq!(unknown_table_tests(table, &known()).len(), 1);
    }

    #[test]
    fn a_crate_outside_the_table_and_a_wrong_direction_are_faults() {
        let metadata = serde_json::json!({"packages": [
            {"name": "grace-model", "dependencies": [{"name": "grace-plan", "kind": null}]},
            {"name": "grace-plan", "dependencies": [{"name": "wasmtime", "kind": null}]},
            {"name": "grace-new", "dependencies": [{"name": "grace-model", "kind": null}]},
        ]});
        let mut faults = Vec::new();
        directions(&metadata, &mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
