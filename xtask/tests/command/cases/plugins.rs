//! `cargo xtask plugins`: what is staged for the binary, and that nothing is touched for nothing.

use std::fs;
use std::time::SystemTime;

use crate::checkout::Checkout;

fn changed(checkout: &Checkout, file: &str) -> Option<SystemTime> {
    fs::metadata(checkout.path(file)).ok()?.modified().ok()
}

#[test]
fn what_did_not_change_is_not_written_so_that_the_host_is_not_built_again() {
    let checkout = Checkout::new();
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    let files = [
        "plugins/out/one.wasm",
        "plugins/out/one.toml",
        "plugins/out/fixtures/bad.wasm",
    ];
    let before = files.map(|file| changed(&checkout, file).unwrap());
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    assert_eq!(files.map(|file| changed(&checkout, file).unwrap()), before);
    checkout.plugin("detectors", "one", "2");
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    assert_eq!(checkout.read("plugins/out/one.wasm"), "2");
    // Fixtures are for tests and never in the binary.
    assert!(!checkout.path("plugins/out/bad.wasm").exists());
}

#[test]
fn a_plugin_that_changed_or_went_leaves_no_compiled_form_behind() {
    let checkout = Checkout::new();
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    checkout.write("plugins/out/precompiled/one.cwasm", "of 1");
    checkout.write("plugins/out/precompiled/two.cwasm", "of 1");
    checkout.plugin("detectors", "one", "2");
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    assert!(!checkout.path("plugins/out/precompiled/one.cwasm").exists());
    assert!(checkout.path("plugins/out/precompiled/two.cwasm").exists());
    fs::remove_dir_all(checkout.path("plugins/actions/two")).unwrap();
    assert_eq!(checkout.xtask(&["plugins"]).code, 0);
    for gone in ["two.wasm", "two.toml", "precompiled/two.cwasm"] {
        assert!(!checkout.path("plugins/out").join(gone).exists(), "{gone}");
    }
}

#[test]
fn a_shipped_plugin_that_imports_wasi_is_refused() {
    let checkout = Checkout::new();
    checkout.plugin("detectors", "one", "import wasi:clocks");
    let run = checkout.xtask(&["plugins"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("one.wasm imports WASI"), "{run:?}");
}
