//! `grace agent fix` with the real binary, real interpreters and the real sandbox.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Run, eventually, grace, signal, tool};

const PYTHON: &str = "apt-get install python3";
const CART: &str = "LIMIT = 3\n\n\ndef allowed(count):\n    if count > LIMIT:\n        return True\n    return False\n\n\ndef total(prices):\n    result = 0\n    for price in prices:\n        result += price\n    return result\n";
const TEST: &str = "import unittest\nfrom cart import allowed, total\n\n\nclass T(unittest.TestCase):\n    def test_allowed(self):\n        self.assertTrue(allowed(3))\n        self.assertTrue(allowed(1))\n        self.assertFalse(allowed(4))\n\n    def test_total(self):\n        self.assertEqual(total([1, 2, 3]), 6)\n\n    def test_nothing(self):\n        self.assertEqual(total([]), 0)\n";
const CMD: &str = "python3 -m unittest -q test_cart";

/// A directory with these files, readable by all.
fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("grace-t-fix-")
        .tempdir()
        .expect("tempdir");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    for (path, text) in files {
        let full = dir.path().join(path);
        fs::create_dir_all(full.parent().expect("parent")).expect("mkdir");
        fs::write(full, text).expect("write");
    }
    dir
}

fn cart() -> TempDir {
    project(&[("cart.py", CART), ("test_cart.py", TEST)])
}

fn command(dir: &Path, test: &str, more: &[&str]) -> Command {
    let mut command = Command::new(grace());
    command
        .args(["agent", "fix", "--json"])
        .arg("--dir")
        .arg(dir)
        .args(["--test", test])
        .args(more)
        .stdin(Stdio::null());
    // Long, since the machine may be busy with other tests; each may be told once only.
    for (option, time) in [("--budget", "10m"), ("--test-timeout", "60s")] {
        if !more.contains(&option) {
            command.args([option, time]);
        }
    }
    command
}

fn fix(dir: &Path, test: &str, more: &[&str]) -> Run {
    let output = command(dir, test, more).output().expect("grace");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// All files and their bytes.
fn state(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(state(&path));
        } else {
            found.push((
                path.display().to_string(),
                fs::read(&path).unwrap_or_default(),
            ));
        }
    }
    found.sort();
    found
}

fn patched(dir: &Path, report: &Value) {
    let diff = dir.join("fix.diff");
    fs::write(&diff, report["diff"].as_str().expect("diff")).expect("write");
    let patch = Command::new("patch")
        .args(["-p1", "-s", "-i", "fix.diff"])
        .current_dir(dir)
        .status()
        .expect("patch");
    assert!(patch.success(), "{report}");
    fs::remove_file(diff).expect("remove");
}

fn passes(dir: &Path, test: &str) -> bool {
    let done = Command::new("sh")
        .args(["-c", test])
        .current_dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("sh");
    done.status.success()
}

#[test]
fn a_fault_in_python_is_fixed_the_diff_applies_and_the_directory_is_as_it_was() {
    let name = "a_fault_in_python_is_fixed_the_diff_applies_and_the_directory_is_as_it_was";
    if tool(name, "python3", PYTHON).is_none()
        || tool(name, "patch", "apt-get install patch").is_none()
    {
        return;
    }
    let dir = cart();
    let before = state(dir.path());
    let run = fix(dir.path(), CMD, &["--seed", "7"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(state(dir.path()), before);
    let report = run.json();
    let keys: Vec<&String> = report.as_object().expect("object").keys().collect();
    assert_eq!(
        keys,
        ["cause", "court", "diff", "result", "seconds", "tries"]
    );
    assert_eq!(report["result"], "fixed");
    assert!(
        report["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("cart.py:5")),
        "{report}"
    );
    let court = &report["court"];
    assert_eq!(court["deletion_beaten"], true);
    assert_eq!(court["held_out"]["failed"], 0);
    assert!(
        court["held_out"]["run"].as_u64().is_some_and(|run| run > 0),
        "{report}"
    );
    assert!(
        court["neighbours"]["run"]
            .as_u64()
            .is_some_and(|run| run > 0),
        "{report}"
    );
    assert!(court["neighbours"]["diverged"].is_u64());
    assert!(report["tries"].as_u64().is_some_and(|tries| tries > 0));
    patched(dir.path(), &report);
    assert!(passes(dir.path(), CMD));
    let mended = fs::read_to_string(dir.path().join("cart.py")).expect("read");
    assert_eq!(mended, CART.replace("count > LIMIT", "count <= LIMIT"));
}

#[test]
fn the_same_seed_gives_the_same_diff() {
    let name = "the_same_seed_gives_the_same_diff";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let dir = cart();
    let diff = || fix(dir.path(), CMD, &["--seed", "3"]).good().json()["diff"].clone();
    assert_eq!(diff(), diff());
}

#[test]
fn with_apply_the_directory_is_changed_and_only_the_source() {
    let name = "with_apply_the_directory_is_changed_and_only_the_source";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let dir = cart();
    let report = fix(dir.path(), CMD, &["--apply"]).good().json();
    assert_eq!(report["result"], "fixed");
    assert!(passes(dir.path(), CMD));
    let test = fs::read_to_string(dir.path().join("test_cart.py")).expect("read");
    assert_eq!(test, TEST);
}

#[test]
fn a_fault_in_javascript_is_fixed() {
    let name = "a_fault_in_javascript_is_fixed";
    if tool(name, "node", "apt-get install nodejs").is_none() {
        return;
    }
    let source = "'use strict';\nfunction group(items) {\n  const groups = {};\n  for (const item of items) {\n    groups[item.kind].push(item.name);\n  }\n  return groups;\n}\n\nfunction first(user) {\n  return user ? user.name[0] : '?';\n}\n\nmodule.exports = { group, first };\n";
    let dir = project(&[
        ("group.js", &source.replace("user ?", "!user ?")),
        (
            "test.js",
            "const assert = require('assert');\nconst { first } = require('./group');\nassert.strictEqual(first({ name: 'ada' }), 'a');\nassert.strictEqual(first(null), '?');\n",
        ),
    ]);
    let report = fix(dir.path(), "node test.js", &[]).good().json();
    patched(dir.path(), &report);
    assert_eq!(
        fs::read_to_string(dir.path().join("group.js")).expect("read"),
        source
    );
}

#[test]
fn a_fault_in_rust_is_fixed() {
    let manifest =
        "[package]\nname = \"sum\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n";
    let source = "//! Sums.\n\n/// Up to and with the last.\npub fn sum(last: u32) -> u32 {\n    let mut all = 0;\n    for one in 1..last {\n        all += one;\n    }\n    all\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn sums() {\n        assert_eq!(super::sum(4), 10);\n        assert_eq!(super::sum(0), 0);\n    }\n}\n";
    let dir = project(&[("Cargo.toml", manifest), ("src/lib.rs", source)]);
    let run = fix(dir.path(), "cargo test --offline -q --lib", &[]).good();
    let diff = run.json()["diff"].as_str().expect("diff").to_owned();
    assert!(diff.contains("+    for one in 1..=last"), "{diff}");
    assert!(!dir.path().join("target").exists());
}

#[test]
fn broken_configuration_and_broken_source_are_made_readable() {
    let name = "broken_configuration_and_broken_source_are_made_readable";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let app = "import json\n\nwith open(\"app.json\") as file:\n    SETTINGS = json.load(file)\n\n\ndef port():\n    return SETTINGS[\"port\"]\n";
    let test = "from app import SETTINGS, port\nassert port() == 8080\nassert SETTINGS[\"hosts\"] == [\"a\", \"b\"]\n";
    let good = "{\n  \"port\": 8080,\n  \"hosts\": [\"a\", \"b\"]\n}\n";
    for (file, bad) in [
        ("app.json", good.replace("8080,", "8080")),
        ("app.py", app.replace("def port():", "def port()")),
    ] {
        let dir = project(&[("app.py", app), ("app.json", good), ("test_app.py", test)]);
        fs::write(dir.path().join(file), bad).expect("write");
        let report = fix(dir.path(), "python3 test_app.py", &["--apply"])
            .good()
            .json();
        let mended = fs::read_to_string(dir.path().join(file)).expect("read");
        assert_eq!(
            mended,
            if file == "app.py" { app } else { good },
            "{report}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let name = "what_makes_no_sense_is_refused_by_its_name";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let dir = cart();
    let refused = |dir: &Path, test: &str, word: &str| {
        let run = fix(dir, test, &[]);
        assert_eq!(run.code, 2, "{test}: {run:?}");
        let report = run.json();
        assert_eq!(report["result"], "refused");
        assert_eq!(report["diff"], "");
        assert_eq!(report["tries"], 0);
        let cause = report["cause"].as_str().expect("cause");
        assert!(cause.contains(word), "{word}: {cause}");
    };
    refused(dir.path(), "true", "passes already");
    refused(
        dir.path(),
        "no-such-interpreter test.py",
        "no-such-interpreter",
    );
    refused(dir.path(), "python3 -m no_such_runner", "no_such_runner");
    refused(dir.path(), "python3 no_such_test.py", "no_such_test.py");
    refused(&dir.path().join("none"), "false", "none");
    refused(&dir.path().join("cart.py"), "false", "no directory");
    let empty = project(&[("notes.txt", "nothing")]);
    refused(empty.path(), "false", "no source");
}

#[test]
fn a_directory_that_cannot_be_read_is_refused() {
    let dir = cart();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    // Root reads it all the same.
    let readable = fs::read_dir(&closed).is_ok();
    let run = fix(dir.path(), "false", &["--budget", "5s"]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("chmod");
    if !readable {
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stdout.contains("closed"), "{run:?}");
    }
}

#[test]
fn a_command_that_never_ends_has_failed_and_the_search_ends_with_its_budget() {
    let dir = cart();
    let before = state(dir.path());
    let run = fix(
        dir.path(),
        "sleep 600",
        &["--budget", "6s", "--test-timeout", "1s"],
    );
    assert_eq!(run.code, 1, "{run:?}");
    let report = run.json();
    assert_eq!(report["result"], "not-fixed");
    assert!(
        report["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("did not end in time")),
        "{report}"
    );
    assert_eq!(report["diff"], "");
    assert_eq!(state(dir.path()), before);
}

#[test]
fn an_interrupted_search_leaves_the_directory_and_no_copies() {
    let dir = cart();
    let scratch = project(&[]);
    let before = state(dir.path());
    let mut child = command(dir.path(), "sleep 600", &["--apply"])
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("grace");
    eventually("a copy is made", || {
        fs::read_dir(scratch.path()).is_ok_and(|mut all| all.next().is_some())
    });
    signal("INT", child.id());
    let code = child.wait().expect("wait").code();
    assert_eq!(code, Some(2));
    assert_eq!(state(dir.path()), before);
    assert_eq!(state(scratch.path()), Vec::new());
    assert_eq!(fs::read_dir(scratch.path()).expect("read").count(), 0);
}

#[test]
fn files_that_cannot_be_worked_on_are_named_and_the_rest_is_fixed() {
    let name = "files_that_cannot_be_worked_on_are_named_and_the_rest_is_fixed";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let dir = cart();
    fs::write(dir.path().join("large.py"), vec![b'#'; 10 << 20]).expect("write");
    fs::write(dir.path().join("binary.py"), b"x = '\0'").expect("write");
    symlink("/etc/hostname", dir.path().join("out.py")).expect("symlink");
    let run = fix(dir.path(), CMD, &[]).good();
    for file in ["large.py", "binary.py", "out.py"] {
        assert!(run.stderr.contains(file), "{file}: {}", run.stderr);
    }
    assert!(
        run.json()["diff"]
            .as_str()
            .is_some_and(|diff| diff.starts_with("--- a/cart.py"))
    );
}

#[test]
fn the_command_runs_without_network_and_without_the_callers_secrets() {
    let name = "the_command_runs_without_network_and_without_the_callers_secrets";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let dir = cart();
    let reach =
        format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'");
    assert!(passes(dir.path(), &reach));
    let run = fix(dir.path(), &reach, &["--budget", "3s"]);
    if run.stderr.contains("network namespaces") {
        grace_needs::not_run(name, "no network namespaces; get them by: run as root");
        return;
    }
    assert_eq!(run.code, 1, "with a network it would pass already: {run:?}");
    let output = command(dir.path(), "test -n \"$API_TOKEN\"", &["--budget", "3s"])
        .env("API_TOKEN", "secret")
        .output()
        .expect("grace");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_change_that_only_deletes_the_failing_code_is_no_fix() {
    let name = "a_change_that_only_deletes_the_failing_code_is_no_fix";
    if tool(name, "python3", PYTHON).is_none() {
        return;
    }
    // Nothing but leaving the audit out makes the command pass.
    let source = "import audit\n\n\ndef pay(amount):\n    audit.write(amount)\n    return amount\n";
    let audit =
        "import os\n\n\ndef write(amount):\n    os.unlink(\"/no/such/file/\" + str(amount))\n";
    let test = "from pay import pay\nassert pay(3) == 3\n";
    let dir = project(&[
        ("pay.py", source),
        ("audit.py", audit),
        ("test_pay.py", test),
    ]);
    let run = fix(dir.path(), "python3 test_pay.py", &["--budget", "90s"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.json()["diff"], "");
}

#[test]
fn times_on_the_command_line_need_a_unit() {
    let dir = cart();
    let run = fix(dir.path(), "false", &["--budget", "soon"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("2m"), "{run:?}");
}
