//! The pack against the fake host, whose declared files are JSON.

use grace_plugin_sdk::host::State;
use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{FakeHost, Manifest};

use crate::Config;

const GOOD: &str = "{\"stock\": 3}";
const BROKEN: &str = "{\"stock\": ";

fn shop(bytes: &str, good: Option<&str>) -> FakeHost {
    let host = FakeHost::start();
    host.world(|world| {
        world.instance("shop-1", State::Ready);
        world.file("shop-1", "/data/shop.json", bytes, good);
    });
    host
}

fn file() -> [(&'static str, Value); 2] {
    [
        ("target", "shop-1".into()),
        ("path", "/data/shop.json".into()),
    ]
}

#[test]
fn restore_puts_the_good_copy_back_and_undo_puts_the_broken_one_back() {
    let host = shop(BROKEN, Some(GOOD));
    let done = host.run::<Config>("config.restore", &file()).unwrap();
    assert!(done.changed);
    assert_eq!(done.outputs.flag("changed"), Some(true));
    assert!(!done.outputs.text("replaced").unwrap().is_empty());
    let bytes = |host: &FakeHost| {
        host.world(|world| {
            world
                .bytes("shop-1", "/data/shop.json")
                .map(ToOwned::to_owned)
        })
    };
    assert_eq!(bytes(&host).as_deref(), Some(GOOD));
    host.undo::<Config>("config.restore", &done).unwrap();
    assert_eq!(bytes(&host).as_deref(), Some(BROKEN));
}

#[test]
fn restore_of_a_good_file_changes_nothing_and_has_nothing_to_undo() {
    let host = shop(GOOD, Some(GOOD));
    let done = host.run::<Config>("config.restore", &file()).unwrap();
    assert!(!done.changed && done.undo.is_empty());
    assert_eq!(done.outputs.flag("changed"), Some(false));
    host.undo::<Config>("config.restore", &done).unwrap();
}

#[test]
fn restore_without_a_good_copy_says_so_in_plan_and_run() {
    let host = shop(BROKEN, None);
    let error = host.run::<Config>("config.restore", &file()).unwrap_err();
    assert!(matches!(error, PluginError::NotApplicable(_)), "{error:?}");
    assert!(host.plan::<Config>("config.restore", &file()).is_err());
}

#[test]
fn validate_fails_with_the_path_and_the_reason() {
    let host = shop(BROKEN, Some(GOOD));
    let error = host.run::<Config>("config.validate", &file()).unwrap_err();
    let PluginError::InvalidInput(text) = &error else {
        panic!("{error:?}")
    };
    assert!(
        text.starts_with("/data/shop.json of shop-1 does not parse: EOF"),
        "{text}"
    );
    let all = [("target", "shop-1".into())];
    assert!(host.run::<Config>("config.validate", &all).is_err());
}

#[test]
fn validate_passes_a_file_that_parses() {
    let host = shop(GOOD, None);
    let done = host
        .run::<Config>("config.validate", &[("target", "shop-1".into())])
        .unwrap();
    assert!(!done.changed);
    assert_eq!(done.outputs.count("files"), 1);
}

#[test]
fn snapshot_makes_a_new_good_copy_once() {
    let host = shop("{\"stock\": 4}", Some(GOOD));
    let first = host.run::<Config>("config.snapshot", &file()).unwrap();
    assert!(first.changed);
    let again = host.run::<Config>("config.snapshot", &file()).unwrap();
    assert!(!again.changed);
    assert_eq!(first.outputs.text("hash"), again.outputs.text("hash"));
}

#[test]
fn snapshot_of_a_broken_file_is_refused() {
    let host = shop(BROKEN, Some(GOOD));
    let error = host.run::<Config>("config.snapshot", &file()).unwrap_err();
    assert!(matches!(error, PluginError::InvalidInput(_)), "{error:?}");
    assert!(host.effects().is_empty());
}

#[test]
fn an_undeclared_path_is_refused_with_the_declared_ones() {
    let host = shop(GOOD, Some(GOOD));
    let call = [("target", "shop-1".into()), ("path", "/etc/passwd".into())];
    let error = host.run::<Config>("config.snapshot", &call).unwrap_err();
    assert!(matches!(&error, PluginError::NotApplicable(text) if text.contains("/data/shop.json")));
}

#[test]
fn plan_tells_what_would_be_put_back_and_changes_nothing() {
    let host = shop(BROKEN, Some(GOOD));
    let lines = host.plan::<Config>("config.restore", &file()).unwrap();
    assert!(lines[0].starts_with("put the last good copy of /data/shop.json of shop-1 back"));
    let lines = host.plan::<Config>("config.snapshot", &file()).unwrap();
    assert!(lines[0].starts_with("nothing: /data/shop.json does not parse"));
    assert_eq!(
        host.plan::<Config>("config.validate", &file())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_receipt_of_another_pack_is_refused() {
    let host = shop(GOOD, Some(GOOD));
    let strange = Receipt {
        undo: vec![0xff; 3],
        ..receipt(true, "")
    };
    let error = host.undo::<Config>("config.restore", &strange).unwrap_err();
    assert!(matches!(error, PluginError::InvalidInput(_)), "{error:?}");
}

#[test]
fn the_manifest_asks_for_what_the_pack_uses() {
    let manifest = Manifest::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml").as_ref());
    assert_eq!(manifest.wants, ["config:read", "config:write"]);
}
