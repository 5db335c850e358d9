//! Plugins inside the program: their grants, their compiled form, and files that replace them.

use grace_model::port::PluginHost;
use grace_model::status::PluginState;
use grace_wasm::{Builtin, Registry, Settings};

use crate::guests::{SLEEP, action, finder, quiet};
use crate::world::{DETECTOR, Yard, patiently, refused, seen, view};

fn leak(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

fn builtin(name: &'static str, wasm: Vec<u8>, manifest: &'static str) -> Builtin {
    Builtin {
        name,
        wasm: leak(wasm),
        manifest,
        precompiled: None,
    }
}

fn start(
    yard: &Yard,
    builtin: Builtin,
    change: impl FnOnce(&mut Settings),
) -> std::sync::Arc<Registry> {
    let mut settings = yard.settings();
    settings.builtin = vec![builtin];
    change(&mut settings);
    Registry::start(settings).expect("a registry")
}

#[test]
fn a_shipped_plugin_holds_what_it_asks_unless_grace_toml_lists_its_grants() {
    let guest = || {
        action(
            "nap1",
            SLEEP,
            "(call $sleep (i32.const 1) (i32.const 5000)) (i32.const 1024)",
            "",
        )
    };
    const MANIFEST: &str = "api = \"0.1\"\nworld = \"action\"\nwants = [\"clock\"]\n";
    let yard = Yard::new();
    let registry = start(&yard, builtin("nap", guest(), MANIFEST), |_| {});
    let live = view(&registry, "nap");
    assert_eq!(
        (live.state, live.origin.as_str()),
        (PluginState::Live, "builtin")
    );
    assert_eq!(live.granted, ["clock"]);
    let registry = start(&yard, builtin("nap", guest(), MANIFEST), |settings| {
        settings
            .grants
            .insert("nap".into(), vec!["notify".to_owned()]);
    });
    refused(
        &registry,
        "nap",
        PluginState::Refused,
        &["builtin nap.wasm", "clock", "grace.toml"],
    );
}

#[test]
fn a_file_of_the_same_name_replaces_it_and_its_removal_brings_it_back() {
    let yard = Yard::new();
    yard.put("one", &finder("dropped1", 1), DETECTOR);
    let registry = start(
        &yard,
        builtin("one", finder("shipped1", 1), DETECTOR),
        |_| {},
    );
    let kind = || {
        patiently(|| registry.observe("one", &[], &seen()))
            .expect("an answer")
            .findings[0]
            .kind
            .clone()
    };
    assert_eq!(kind(), "dropped1");
    std::fs::remove_file(yard.file("one.wasm")).expect("removed");
    std::fs::remove_file(yard.file("one.toml")).expect("removed");
    registry.rescan();
    assert_eq!(kind(), "shipped1");
    yard.put("one", b"junk", DETECTOR);
    registry.rescan();
    assert_eq!(kind(), "shipped1");
    refused(
        &registry,
        "one",
        PluginState::Live,
        &["one.wasm", "no WebAssembly"],
    );
}

#[test]
fn a_bad_file_at_the_start_leaves_the_shipped_one_live() {
    let yard = Yard::new();
    yard.put("one", b"junk", DETECTOR);
    let registry = start(&yard, builtin("one", quiet(1), DETECTOR), |_| {});
    refused(
        &registry,
        "one",
        PluginState::Live,
        &["one.wasm", "no WebAssembly"],
    );
    assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
}

#[test]
fn a_file_does_not_inherit_the_grants_of_the_shipped_plugin() {
    let yard = Yard::new();
    const MANIFEST: &str = "api = \"0.1\"\nworld = \"detector\"\nwants = [\"events:read\"]\n";
    yard.put("one", &finder("dropped1", 1), MANIFEST);
    let registry = start(
        &yard,
        builtin("one", finder("shipped1", 1), MANIFEST),
        |_| {},
    );
    assert_eq!(
        patiently(|| registry.observe("one", &[], &seen()))
            .expect("an answer")
            .findings[0]
            .kind,
        "shipped1"
    );
    refused(
        &registry,
        "one",
        PluginState::Live,
        &["grace plugin grant one events:read"],
    );
}

#[test]
fn precompiled_code_is_used_without_compiling() {
    let yard = Yard::new();
    let wasm = quiet(7);
    let precompiled = leak(grace_wasm::precompile(&wasm).expect("it compiles"));
    let shipped = Builtin {
        precompiled: Some(precompiled),
        ..builtin("one", wasm, DETECTOR)
    };
    let registry = start(&yard, shipped, |_| {});
    assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
    assert_eq!(registry.figures().compiled, 0);
}

#[test]
fn precompiled_code_of_an_older_version_never_runs() {
    let yard = Yard::new();
    let old = grace_wasm::precompile(&finder("version1", 1)).expect("it compiles");
    let shipped = Builtin {
        precompiled: Some(leak(old)),
        ..builtin("one", finder("version2", 1), DETECTOR)
    };
    let registry = start(&yard, shipped, |_| {});
    let seen = patiently(|| registry.observe("one", &[], &seen())).expect("an answer");
    assert_eq!(seen.findings[0].kind, "version2");
    assert_eq!(registry.figures().compiled, 1);
}

/// Compiled code of an engine with other settings, with the right hash and digest before it.
fn of_another_engine(wasm: &[u8]) -> Vec<u8> {
    let code = wasmtime::Engine::default()
        .precompile_component(wasm)
        .expect("it compiles");
    let rest = [blake3::hash(wasm).as_bytes().as_slice(), &code].concat();
    [blake3::hash(&rest).as_bytes().as_slice(), &rest].concat()
}

#[test]
fn precompiled_code_that_does_not_fit_or_is_damaged_is_compiled_again() {
    let wasm = quiet(8);
    let good = grace_wasm::precompile(&wasm).expect("it compiles");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let short = good[..good.len() / 2].to_vec();
    for bytes in [of_another_engine(&wasm), flipped, short, Vec::new()] {
        let yard = Yard::new();
        let shipped = Builtin {
            precompiled: Some(leak(bytes)),
            ..builtin("one", wasm.clone(), DETECTOR)
        };
        let registry = start(&yard, shipped, |_| {});
        assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
        assert_eq!(registry.figures().compiled, 1);
    }
}

#[test]
fn without_any_plugin_there_is_an_empty_list_and_no_error() {
    let yard = Yard::new();
    let mut settings = yard.settings();
    settings.dir = None;
    let registry = Registry::start(settings).expect("a registry");
    assert!(
        registry.list().is_empty()
            && registry.detectors().is_empty()
            && registry.actions().is_empty()
    );
}
