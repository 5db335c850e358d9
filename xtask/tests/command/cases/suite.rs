//! `cargo xtask test`.

use crate::checkout::{Checkout, Run};

/// That some call has all these words in this order.
fn called(calls: &[String], words: &str) {
    assert!(
        calls.iter().any(|call| call.contains(words)),
        "no call of {words:?} in {calls:#?}"
    );
}

fn passed(run: Run) -> Run {
    assert_eq!(run.code, 0, "{run:?}");
    run
}

#[test]
fn one_command_runs_every_check_of_both_workspaces_in_one_target_directory() {
    let checkout = Checkout::new();
    let run = passed(checkout.xtask(&["test"]));
    assert!(run.stdout.contains("10 passed, 0 failed"), "{run:?}");
    let calls = checkout.calls();
    for words in [
        "cargo . [target] fmt --all --check",
        "cargo plugins [target] fmt --all --check",
        "cargo plugins [target] build --release --workspace --target wasm32-wasip2",
        "cargo plugins [target] test --quiet --workspace",
        "cargo . [target] clippy --quiet --workspace --all-targets -- -D warnings",
        "cargo plugins [target] clippy --quiet --workspace -- -D warnings",
        "cargo . [target] test --quiet --workspace --exclude grace",
        "cargo . [target] test --quiet --package grace --bins",
        "cargo . [target] test --package grace --test end-to-end",
        "cargo . [target] doc --quiet --workspace --no-deps",
        "cargo . [target] test --package grace --test end-to-end -- --ignored cases::dist",
        "dist with /target/dist-dev/grace",
    ] {
        called(&calls, words);
    }
    assert!(
        checkout
            .read("fake/env-doc")
            .contains("RUSTDOCFLAGS=-D warnings")
    );
    // Where a workspace would build by itself is what `tidy` asks.
    let builds = |call: &&String| call.starts_with("cargo") && !call.contains("--no-deps");
    for call in calls.iter().filter(builds) {
        // Demo, tests and packing share the development profile: nothing is built twice for them.
        assert!(call.contains("[target]"), "elsewhere: {call}");
        let of_host = call.starts_with("cargo . ");
        assert!(!(of_host && call.contains("--release")), "{call}");
        // Nobody keeps the tests from running side by side.
        assert!(!call.contains("--test-threads"), "{call}");
    }
    assert!(!checkout.path("plugins/target").exists());
}

#[test]
fn a_part_that_fails_fails_the_run_is_named_and_keeps_no_other_from_running() {
    for (word, part) in [
        ("fmt", "format"),
        ("clippy", "lints"),
        ("--exclude", "unit"),
        ("doc", "docs"),
        ("--ignored", "dist"),
    ] {
        let checkout = Checkout::new();
        checkout.write(&format!("fake/fails-{word}"), "");
        let run = checkout.xtask(&["test"]);
        assert_eq!(run.code, 1, "{word}: {run:?}");
        assert!(run.stdout.contains(&format!("FAILED: {part}:")), "{run:?}");
        assert!(run.stdout.contains("9 passed, 1 failed"), "{run:?}");
    }
    // A rule of the house is no call of cargo.
    let checkout = Checkout::new();
    checkout.write("SPEC.md", "| x | `no_such_test` |\n");
    let run = checkout.xtask(&["test", "tidy"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("no_such_test"), "{run:?}");
}

#[test]
fn a_test_without_its_tool_is_listed_with_how_to_get_it_and_fails_when_everything_has_to_run() {
    let line = "NOT RUN: a_test: curl is missing; get it by: apt-get install curl";
    for part in ["unit", "end-to-end", "plugin-tests"] {
        let checkout = Checkout::new();
        checkout.write("fake/misses-a-tool", "");
        let run = passed(checkout.xtask(&["test", part]));
        assert_eq!(run.stdout.matches(line).count(), 1, "{part}: {run:?}");
        let run = checkout.xtask(&["test", part, "--full"]);
        assert_eq!(run.code, 1, "{part}: {run:?}");
        // What was missing in an earlier run says nothing about this one.
        std::fs::remove_file(checkout.path("fake/misses-a-tool")).unwrap();
        let run = passed(checkout.xtask(&["test", part, "--full"]));
        assert!(!run.stdout.contains("NOT RUN"), "{run:?}");
    }
}

#[test]
fn a_test_that_did_not_run_and_did_not_fail_either_fails_a_full_run() {
    let checkout = Checkout::new();
    // As a test would that knows nothing of `--full`.
    let cargo = checkout.read("bin/cargo");
    let line = "case \"$1\" in test) echo \"x: no gcc; get it by: apt-get install gcc\" >> \"$GRACE_NOT_RUN\" ;; esac";
    checkout.write(
        "bin/cargo",
        &format!("{}\n{line}\n", cargo.replace("\nexit 0", "")),
    );
    let run = checkout.xtask(&["test", "unit", "--full"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("NOT RUN: x: no gcc"), "{run:?}");
    assert!(
        run.stdout.contains("FAILED: full: 1 tests did not run"),
        "{run:?}"
    );
}

#[test]
fn it_needs_rustup_and_no_peer() {
    let checkout = Checkout::new();
    // The PATH of this checkout has no setpriv, HAProxy or Python; now the last tool goes too.
    checkout.without("unshare");
    let run = passed(checkout.xtask(&["test"]));
    assert!(
        run.stdout
            .contains("NOT RUN: dist: unshare is missing; get it by:"),
        "{run:?}"
    );
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let line = "NOT RUN: as-user: setpriv is missing; get it by: apt-get install util-linux";
    assert_eq!(run.stdout.contains(line), root, "{run:?}");
    let run = checkout.xtask(&["test", "dist", "--full"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("unshare is missing"), "{run:?}");
}

#[test]
fn as_root_the_tests_run_again_as_an_ordinary_user_who_reads_a_copy() {
    let checkout = Checkout::new();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    checkout.tool(
        "setpriv",
        "echo \"setpriv $* as $GRACE_AS_USER with $(basename $GRACE_BIN)\" >> $F/calls\n\
         [ -x \"$GRACE_BIN\" ] && echo 'b: no python3; get it by: x' >> \"$GRACE_NOT_RUN\"",
    );
    let run = passed(checkout.xtask(&["test", "as-user"]));
    assert_eq!(
        run.stdout.contains("NOT RUN: b: no python3"),
        root,
        "{run:?}"
    );
    let calls = checkout.calls();
    if root {
        called(&calls, "setpriv --reuid=65534 --regid=65534 --clear-groups");
        called(&calls, "as 1 with grace");
    }
}

#[test]
fn the_end_to_end_tests_see_nothing_of_the_shell_but_what_building_needs() {
    let checkout = Checkout::new();
    passed(checkout.xtask(&["test", "unit"])).stdout.clear();
    assert!(checkout.read("fake/env-test").contains("SOMETHING_ELSE"));
    let _ = passed(checkout.xtask(&["test", "end-to-end"]));
    let seen = checkout.read("fake/env-test");
    assert!(!seen.contains("SOMETHING_ELSE"), "{seen}");
    for name in ["HOME=", "PATH=", "CARGO_TARGET_DIR=", "GRACE_NOT_RUN="] {
        assert!(seen.contains(name), "{name}: {seen}");
    }
}

#[test]
fn the_list_tells_the_time_of_each_part_as_it_was_here() {
    let checkout = Checkout::new();
    let names = |run: &Run| -> Vec<String> {
        let lines = run.stdout.lines();
        lines
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect()
    };
    let before = passed(checkout.xtask(&["test", "--list"]));
    assert_eq!(
        names(&before),
        [
            "format",
            "tidy",
            "plugins",
            "plugin-tests",
            "lints",
            "unit",
            "end-to-end",
            "as-user",
            "docs",
            "dist"
        ]
    );
    for line in before.stdout.lines() {
        assert!(
            line.contains(':') && line.contains("(usual, warm)"),
            "{line}"
        );
    }
    assert!(checkout.calls().is_empty(), "it runs nothing");
    let _ = passed(checkout.xtask(&["test", "unit"]));
    let after = passed(checkout.xtask(&["test", "--list"]));
    for line in after.stdout.lines() {
        assert_eq!(
            line.contains("(last run here)"),
            line.starts_with("unit "),
            "{line}"
        );
    }
    let run = checkout.xtask(&["test", "untidy"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("untidy") && run.stderr.contains("--list"),
        "{run:?}"
    );
}

#[test]
fn cargo_component_is_installed_in_its_pinned_version_and_its_test_never_skips() {
    let install = "install cargo-component --version 0.21.1 --locked --force --root /target/tools";
    let checkout = Checkout::new();
    checkout.write("fake/targets", "wasm32-wasip2\n");
    let _ = passed(checkout.xtask(&["test", "end-to-end"]));
    let calls = checkout.calls();
    called(&calls, "rustup target add wasm32-wasip1");
    called(&calls, install);
    let first = format!("PATH={}:", checkout.path("target/tools/bin").display());
    assert!(checkout.read("fake/env-test").contains(&first));
    // It is there now.
    let _ = passed(checkout.xtask(&["test", "end-to-end"]));
    assert!(
        !checkout
            .calls()
            .iter()
            .any(|call| call.contains(" install "))
    );
    // Another version on the PATH is not the one that the test is about.
    let checkout = Checkout::new();
    checkout.tool("cargo-component", "echo cargo-component 0.9.0");
    let _ = passed(checkout.xtask(&["test", "end-to-end"]));
    called(&checkout.calls(), install);
    checkout.tool("cargo-component", "echo cargo-component 0.21.1");
    std::fs::remove_dir_all(checkout.path("target/tools")).unwrap();
    let _ = passed(checkout.xtask(&["test", "end-to-end"]));
    assert!(
        !checkout
            .calls()
            .iter()
            .any(|call| call.contains(" install "))
    );
    // Not to be had: the part fails, and nothing is skipped.
    for way in ["fails-install", "bad-install"] {
        let checkout = Checkout::new();
        checkout.write(&format!("fake/{way}"), "");
        let run = checkout.xtask(&["test", "end-to-end"]);
        assert_eq!(run.code, 1, "{way}: {run:?}");
        assert!(run.stdout.contains("FAILED: end-to-end"), "{run:?}");
        assert!(!run.stdout.contains("NOT RUN"), "{run:?}");
    }
}
