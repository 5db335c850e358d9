//! `.ci/run`: what it installs and runs, and that its controls have to fail.

use crate::checkout::{Checkout, Run, run};

/// A checkout whose cargo answers as a healthy Grace does.
fn healthy() -> Checkout {
    let checkout = Checkout::new();
    checkout.tool(
        "cargo",
        "echo \"cargo $* incremental=$CARGO_INCREMENTAL\" >> $F/calls\n\
         for word in \"$@\"; do [ -e $F/code-$word ] && exit $(cat $F/code-$word); done\nexit 0",
    );
    checkout.write("fake/code---no-heal", "1");
    checkout.write("fake/code---no-retry", "1");
    checkout.tool("apt-get", "echo \"apt-get $*\" >> $F/calls");
    checkout.tool("id", "echo 0");
    for name in ["dirname", "mkdir"] {
        checkout.tool(name, &format!("exec {name} \"$@\""));
    }
    // What makes plugins of Python and JavaScript for tests.
    checkout.tool("npm", "exit 0");
    checkout.tool(
        "python3",
        "mkdir -p \"$3/bin\"\nprintf '#!/bin/sh\\n' > \"$3/bin/pip\"\nchmod 755 \"$3/bin/pip\"",
    );
    checkout
}

fn ci(checkout: &Checkout) -> Run {
    run(checkout.command("/bin/bash").arg(checkout.path(".ci/run")))
}

#[test]
fn ci_installs_peers_and_tools_runs_every_check_and_then_the_demo_with_its_controls() {
    let checkout = healthy();
    let done = ci(&checkout);
    assert_eq!(done.code, 0, "{done:?}");
    let calls = checkout.calls();
    let install = calls
        .iter()
        .find(|call| call.starts_with("apt-get install"))
        .unwrap();
    for package in [
        "haproxy",
        "nginx",
        "wrk",
        "supervisor",
        "python3",
        "util-linux",
        "sqlite3",
        "curl",
        "gcc",
    ] {
        assert!(
            install.split(' ').any(|word| word == package),
            "{package}: {install}"
        );
    }
    let cargo: Vec<&str> = calls
        .iter()
        .filter_map(|call| {
            call.strip_prefix("cargo xtask ")?
                .split(" incremental=")
                .next()
        })
        .collect();
    assert_eq!(
        cargo,
        [
            "test --full",
            "demo --json",
            "demo --json --no-heal",
            "demo --json --no-retry"
        ]
    );
    // A build that was killed leaves incremental state that no longer links.
    assert!(calls.iter().any(|call| call.ends_with("incremental=0")));
    // Not root: what is missing fails its tests, by name.
    checkout.tool("id", "echo 1000");
    assert_eq!(ci(&checkout).code, 0);
    assert!(
        !checkout
            .calls()
            .iter()
            .any(|call| call.starts_with("apt-get"))
    );
}

#[test]
fn ci_fails_when_a_check_fails_and_when_a_control_does_not() {
    for (word, code) in [
        ("test", "1"),
        ("--json", "1"),
        ("--no-heal", "0"),
        ("--no-heal", "2"),
        ("--no-retry", "0"),
    ] {
        let checkout = healthy();
        checkout.write(&format!("fake/code-{word}"), code);
        let done = ci(&checkout);
        assert_ne!(done.code, 0, "{word} ended with {code}: {done:?}");
    }
}
