//! The two keys, and what is refused before anything is compiled.

use grace_model::plugin::ActionCall;
use grace_model::port::{HostAnswer, PluginHost};
use grace_model::status::PluginState;

use crate::guests::{
    LOG, RELEASE, SLEEP, action, component, detector_with, finder, quiet, stranger,
};
use crate::world::{ACTION, DETECTOR, Recorder, Yard, refused, view};

fn sleeper() -> Vec<u8> {
    action(
        "nap1",
        SLEEP,
        "(call $sleep (i32.const 1) (i32.const 5000)) (i32.const 1024)",
        "",
    )
}

#[test]
fn an_ask_without_an_answer_waits_and_shows_the_command() {
    let yard = Yard::new();
    yard.put(
        "nap",
        &sleeper(),
        &format!("{ACTION}wants = [\"clock\", \"notify\"]\n"),
    );
    let registry = yard.start();
    refused(
        &registry,
        "nap",
        PluginState::WaitingForGrant,
        &[
            "nap.toml",
            "clock, notify",
            "`grace plugin grant nap clock`",
            "`grace plugin grant nap notify`",
        ],
    );
    let view_before = view(&registry, "nap");
    assert_eq!(
        (view_before.world.as_str(), view_before.wants.len()),
        ("action", 2)
    );
    assert!(registry.actions().is_empty());

    yard.grants("nap = [\"clock\", \"notify\", \"fleet:control\"]\n");
    registry.rescan();
    let view = view(&registry, "nap");
    assert_eq!((view.state, view.error), (PluginState::Live, None));
    assert_eq!(view.granted, ["clock", "notify"], "only what both keys say");
}

#[test]
fn a_grant_that_is_taken_back_unloads_the_plugin() {
    let yard = Yard::new();
    yard.put("nap", &sleeper(), &format!("{ACTION}wants = [\"clock\"]\n"));
    yard.grants("nap = [\"clock\"]\n");
    let registry = yard.start();
    assert_eq!(registry.actions().len(), 1);
    yard.grants("");
    registry.rescan();
    assert_eq!(view(&registry, "nap").state, PluginState::WaitingForGrant);
    assert!(registry.actions().is_empty());
}

#[test]
fn a_broken_grants_file_leaves_the_grants_before_in_force() {
    let yard = Yard::new();
    yard.put("nap", &sleeper(), &format!("{ACTION}wants = [\"clock\"]\n"));
    yard.grants("nap = [\"clock\"]\n");
    let registry = yard.start();
    yard.grants("nap = [\"clo");
    registry.rescan();
    assert_eq!(view(&registry, "nap").state, PluginState::Live);
}

#[test]
fn an_import_that_the_manifest_does_not_ask_for_is_refused() {
    let yard = Yard::new();
    yard.put("nap", &sleeper(), ACTION);
    yard.grants("nap = [\"clock\"]\n");
    let registry = yard.start();
    refused(
        &registry,
        "nap",
        PluginState::Refused,
        &["nap.wasm", "clock", "nap.toml", "wants"],
    );
}

#[test]
fn an_import_that_grace_toml_leaves_out_is_refused() {
    let yard = Yard::new();
    yard.put("nap", &sleeper(), &format!("{ACTION}wants = [\"clock\"]\n"));
    let mut settings = yard.settings();
    settings.grants.insert("nap".into(), Vec::new());
    let registry = grace_wasm::Registry::start(settings).expect("a registry");
    refused(
        &registry,
        "nap",
        PluginState::Refused,
        &["nap.wasm", "clock", "grace.toml"],
    );
}

#[test]
fn a_detector_that_imports_control_is_refused_by_the_name_of_the_import() {
    let yard = Yard::new();
    let guest = detector_with(
        RELEASE,
        "(call $release (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512)) (i32.const 1024)",
        "",
    );
    yard.put("greedy", &guest, DETECTOR);
    let registry = yard.start();
    refused(
        &registry,
        "greedy",
        PluginState::Refused,
        &[
            "greedy.wasm",
            "grace:plugin/fleet-control@0.1.0",
            "world detector",
            "pure",
        ],
    );
}

#[test]
fn an_import_outside_world_and_wasi_is_refused_by_its_name() {
    let yard = Yard::new();
    let guest = detector_with(
        r#"(import "wasi:http/types@0.2.6" "answer" (func $answer (result i32)))"#,
        "(drop (call $answer)) (i32.const 1024)",
        "",
    );
    yard.put("web", &guest, DETECTOR);
    refused(
        &yard.start(),
        "web",
        PluginState::Refused,
        &["web.wasm", "wasi:http/types@0.2.6"],
    );
}

#[test]
fn the_wrong_world_is_refused_with_the_right_one() {
    let yard = Yard::new();
    yard.put("wrong", &finder("whatever", 1), ACTION);
    yard.put("none", &stranger(), DETECTOR);
    let registry = yard.start();
    refused(
        &registry,
        "wrong",
        PluginState::Refused,
        &["wrong.wasm", "grace:plugin/detect", "world = \"detector\""],
    );
    refused(
        &registry,
        "none",
        PluginState::Refused,
        &["none.wasm", "grace:plugin/detect@0.1.0", "test:guest/other"],
    );
}

#[test]
fn what_is_no_component_is_refused_with_file_cause_and_remedy() {
    let yard = Yard::new();
    let whole = quiet(1);
    yard.put("short", &whole[..whole.len() / 2], DETECTOR);
    yard.put(
        "module",
        &wat::parse_str("(module)").expect("a module"),
        DETECTOR,
    );
    yard.put("junk", b"\x7fELF and so on", DETECTOR);
    yard.put("empty", b"", DETECTOR);
    let mut flipped = whole.clone();
    let at = flipped.len() - 40;
    for byte in &mut flipped[at - 200..at] {
        *byte ^= 0xff;
    }
    yard.put("flipped", &flipped, DETECTOR);
    std::fs::write(yard.file("alone.wasm"), &whole).expect("written");
    std::fs::write(yard.file("orphan.toml"), DETECTOR).expect("written");
    yard.put("typo", &whole, "api = \"0.1\"\nwordl = \"detector\"\n");
    yard.put("two words", &whole, DETECTOR);
    yard.put("fine", &whole, DETECTOR);
    let registry = yard.start();
    let is = |name: &str, words: &[&str]| refused(&registry, name, PluginState::Refused, words);
    is("short", &["short.wasm", "truncated", "copy it again"]);
    is("module", &["module.wasm", "core module", "wasm32-wasip2"]);
    is("junk", &["junk.wasm", "no WebAssembly"]);
    is("empty", &["empty.wasm", "empty", "copy it again"]);
    is("flipped", &["flipped.wasm"]);
    is("alone", &["alone.toml", "missing", "api = \"0.1\""]);
    is("orphan", &["orphan.wasm", "missing"]);
    is("typo", &["typo.toml:2", "`wordl`", "`world`"]);
    is("two words", &["two words.wasm", "plugin name"]);
    assert_eq!(view(&registry, "fine").state, PluginState::Live);
    assert_eq!(registry.detectors().len(), 1);
}

#[test]
fn a_memory_larger_than_its_limit_at_the_start_is_refused() {
    let yard = Yard::new();
    yard.put(
        "big",
        &quiet(1),
        &format!("{DETECTOR}[limits]\nmemory = \"64KiB\"\n"),
    );
    refused(
        &yard.start(),
        "big",
        PluginState::Refused,
        &["big.wasm", "65536 bytes of memory"],
    );
}

#[test]
fn events_and_metrics_are_shown_as_granted() {
    let yard = Yard::new();
    yard.put(
        "half",
        &quiet(1),
        &format!("{DETECTOR}wants = [\"events:read\", \"metrics:read\"]\n"),
    );
    let mut settings = yard.settings();
    settings
        .grants
        .insert("half".into(), vec!["metrics:read".to_owned()]);
    let registry = grace_wasm::Registry::start(settings).expect("a registry");
    let detectors = registry.detectors();
    assert_eq!(detectors.len(), 1);
    assert!(!detectors[0].events && detectors[0].metrics);
}

#[test]
fn a_plugin_named_in_disable_is_listed_and_not_loaded() {
    let yard = Yard::new();
    yard.put("off", &quiet(1), DETECTOR);
    let mut settings = yard.settings();
    settings.disable.push("off".into());
    let registry = grace_wasm::Registry::start(settings).expect("a registry");
    refused(
        &registry,
        "off",
        PluginState::Disabled,
        &["disable", "grace.toml"],
    );
    assert!(registry.detectors().is_empty());
}

#[test]
fn an_action_that_two_packs_offer_stays_with_the_first() {
    let yard = Yard::new();
    let pack = |mark: &str| action("same", "", &format!("(drop {mark}) (i32.const 1024)"), "");
    yard.put("a", &pack("(i32.const 1)"), ACTION);
    yard.put("b", &pack("(i32.const 2)"), ACTION);
    let registry = yard.start();
    assert_eq!(view(&registry, "a").state, PluginState::Live);
    refused(
        &registry,
        "b",
        PluginState::Refused,
        &["b.wasm", "same.do", "plugin a"],
    );
    let call = ActionCall {
        action: "same.do".to_owned(),
        params: Vec::new(),
        incident: String::new(),
    };
    let port = Recorder::answering(Ok(HostAnswer::Done));
    assert!(registry.plan(&call, Box::new(port)).is_ok());
}

#[test]
fn a_plugin_without_any_import_is_accepted() {
    let yard = Yard::new();
    yard.put(
        "pure",
        &component(
            "detector",
            "",
            r#"(func (export "grace:plugin/detect@0.1.0#observe")
        (param i32 i32 i64 i32 i32) (result i32) (i32.const 1024))"#,
        ),
        DETECTOR,
    );
    yard.put(
        "talks",
        &detector_with(
            LOG,
            "(call $emit (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 1024)",
            "",
        ),
        DETECTOR,
    );
    let registry = yard.start();
    assert_eq!(registry.detectors().len(), 2);
}
