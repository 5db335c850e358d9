//! `grace prove`: every claim of the README, its control, and what a machine that gives less makes
//! of it. The proofs have the machine for themselves, as the demo has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Place, Run, alone, eventually, grace, pids_with_marker};

/// A directory for what `grace prove` makes.
struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("grace-p-")
            .tempdir()
            .expect("tempdir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(dir)
    }

    fn prove(&self, args: &[&str]) -> Run {
        let output = Command::new(grace())
            .arg("prove")
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TMPDIR", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("grace prove");
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// That no process and no fleet of it is left.
    fn nothing_is_left(&self) {
        let marker = self.0.path().display().to_string();
        eventually("nothing of the proofs runs", || {
            pids_with_marker(&marker).is_empty()
        });
        let left: Vec<_> = fs::read_dir(self.0.path())
            .expect("dir")
            .flatten()
            .map(|one| one.file_name())
            .filter(|name| name != "report.html")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn rows(document: &Value) -> Vec<Value> {
    document["claims"].as_array().expect("claims").clone()
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Id, claim and result of the README's table.
fn of_the_readme() -> BTreeMap<String, (String, String)> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(file).expect("README.md");
    let table = text
        .split("<!-- claims: made by `cargo xtask claims` -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- end of claims -->").next())
        .expect("the README has a table of claims");
    let mut found = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let id = cells[1].trim_matches('`').to_owned();
        found.insert(id, (cells[2].to_owned(), cells[3].to_owned()));
    }
    found
}

#[test]
fn every_claim_of_the_readme_is_proven_with_a_control_that_fails() {
    let _alone = alone();
    let stage = Stage::new();
    let run = stage.prove(&["--quick", "--json", "--html", "report.html"]);
    let all = rows(&run.json());
    let mut readme = of_the_readme();
    for row in &all {
        let id = word(row, "id");
        let (claim, result) = readme.remove(id).unwrap_or_else(|| {
            panic!("the README does not name {id}; `cargo xtask claims` writes its table")
        });
        assert_eq!(claim, word(row, "claim"), "{id}");
        if word(row, "result") == "not-possible-here" {
            // Root's run has to prove it; an ordinary user may have less.
            let why = format!("{id} needs {}", word(row, "missing"));
            if std::env::var_os("GRACE_AS_USER").is_none() {
                grace_needs::not_run(
                    "every_claim_of_the_readme_is_proven_with_a_control_that_fails",
                    &why,
                );
            }
            continue;
        }
        assert_eq!(word(row, "result"), result, "{row:#}");
        assert_eq!(word(row, "control"), "failed-as-it-must", "{row:#}");
    }
    assert!(readme.is_empty(), "claims without a proof: {readme:?}");
    let possible = all
        .iter()
        .all(|row| word(row, "result") != "not-possible-here");
    assert_eq!(run.code, if possible { 0 } else { 3 }, "{}", run.stderr);
    let page = fs::read_to_string(stage.0.path().join("report.html")).expect("a report");
    for row in &all {
        assert!(page.contains(word(row, "id")), "{}", word(row, "id"));
    }
    stage.nothing_is_left();
}

#[test]
fn claims_are_listed_chosen_and_an_unknown_one_is_refused() {
    let _place = Place::take();
    let stage = Stage::new();
    let listed = rows(&stage.prove(&["--list", "--json"]).good().json());
    let readme = of_the_readme();
    let ids: Vec<&str> = listed.iter().map(|row| word(row, "id")).collect();
    assert_eq!(ids.len(), readme.len(), "{ids:?}");
    for row in &listed {
        let (claim, _) = &readme[word(row, "id")];
        assert_eq!(claim, word(row, "claim"));
        assert!(!word(row, "control").is_empty(), "{row}");
    }
    let run = stage.prove(&["seed.scale", "--quick", "--json"]).good();
    let chosen = rows(&run.json());
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    assert_eq!(word(&chosen[0], "result"), "proven", "{chosen:#?}");
    let run = stage.prove(&["seed.magic"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("seed.magic"), "{run:?}");
    stage.nothing_is_left();
}

#[test]
fn proofs_that_are_interrupted_leave_nothing_behind() {
    let _place = Place::take();
    let stage = Stage::new();
    let mut child = Command::new(grace())
        .args(["prove", "--json"])
        .env("TMPDIR", stage.0.path())
        .current_dir(stage.0.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("grace prove");
    let marker = stage.0.path().display().to_string();
    eventually("a fleet of a proof runs", || {
        pids_with_marker(&marker).iter().any(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.windows(14).any(|part| part == b"GRACE_INSTANCE"))
        })
    });
    crate::harness::signal("TERM", child.id());
    assert_eq!(child.wait().expect("wait").code(), Some(2));
    stage.nothing_is_left();
}
