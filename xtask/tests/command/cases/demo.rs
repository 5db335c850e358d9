//! `cargo xtask demo`: what it builds first, and whose answer it gives.

use crate::checkout::Checkout;

#[test]
fn the_demo_adds_the_wasm_target_when_it_is_missing_and_only_then() {
    let checkout = Checkout::new();
    assert_eq!(checkout.xtask(&["demo"]).code, 0);
    assert!(
        !checkout
            .calls()
            .iter()
            .any(|call| call.contains("target add"))
    );
    checkout.write("fake/targets", "x86_64-unknown-linux-gnu\n");
    let run = checkout.xtask(&["demo"]);
    assert_eq!(run.code, 0, "{run:?}");
    let calls = checkout.calls();
    let add = calls
        .iter()
        .position(|call| call == "rustup target add wasm32-wasip2");
    let build = calls
        .iter()
        .position(|call| call.contains("--target wasm32-wasip2"));
    assert!(add.is_some() && add < build, "{calls:#?}");
    checkout.write("fake/targets", "");
    checkout.write("fake/fails-target", "");
    let run = checkout.xtask(&["demo"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("rustup target add"), "{run:?}");
}

#[test]
fn it_builds_plugins_and_host_with_progress_and_hands_over() {
    let checkout = Checkout::new();
    let run = checkout.xtask(&["demo", "--json", "--no-heal"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        checkout
            .calls()
            .into_iter()
            .filter(|call| !call.contains(" metadata "))
            .collect::<Vec<_>>(),
        [
            "rustup target list --installed",
            "cargo plugins [target] build --release --workspace --target wasm32-wasip2 --message-format=json-render-diagnostics --quiet",
            "cargo . [target] build --package grace --bin grace --message-format=json-render-diagnostics --quiet",
            "grace demo --json --no-heal",
        ]
    );
    // How far it is goes to standard error: the report alone is on standard output.
    assert!(run.stderr.contains("plugins: 1/3 packages, 0:0"), "{run:?}");
    assert!(run.stderr.contains("grace: 1/1 packages"), "{run:?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn its_exit_code_is_the_demos_and_2_when_it_could_not_be_built() {
    let checkout = Checkout::new();
    for code in ["1", "2"] {
        checkout.write("fake/demo-code", code);
        assert_eq!(checkout.xtask(&["demo"]).code.to_string(), code);
    }
    checkout.write("fake/fails-build", "");
    let _ = checkout.calls();
    let run = checkout.xtask(&["demo"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        !checkout
            .calls()
            .iter()
            .any(|call| call.starts_with("grace"))
    );
}
