//! The pack against the fake host.

use grace_plugin_sdk::host::State;
use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{FakeHost, Manifest};

use crate::Artifact;

const GOOD: &str = "{\"weights\": 1}";
const BAD: &str = "{\"weights\": 2}";

fn shop(bytes: &str, good: Option<&str>) -> FakeHost {
    let host = FakeHost::start();
    host.world(|world| {
        world.instance("shop-1", State::Ready);
        world.file("shop-1", "/data/model.json", bytes, good);
    });
    host
}

fn model() -> [(&'static str, Value); 2] {
    [
        ("target", "shop-1".into()),
        ("path", "/data/model.json".into()),
    ]
}

#[test]
fn an_artifact_that_changed_fails_its_verification_and_a_restored_one_passes() {
    let host = shop(BAD, Some(GOOD));
    let error = host
        .run::<Artifact>("artifact.verify", &model())
        .unwrap_err();
    assert!(matches!(error, PluginError::InvalidInput(_)), "{error:?}");
    let plan = host.plan::<Artifact>("artifact.restore", &model()).unwrap();
    assert!(plan[0].starts_with("put the snapshot"), "{plan:?}");
    let done = host.run::<Artifact>("artifact.restore", &model()).unwrap();
    assert_eq!(done.outputs.flag("changed"), Some(true));
    assert!(host.run::<Artifact>("artifact.verify", &model()).is_ok());
    let again = host.run::<Artifact>("artifact.restore", &model()).unwrap();
    assert!(!again.changed && again.undo.is_empty());
    host.undo::<Artifact>("artifact.restore", &done).unwrap();
    assert!(host.run::<Artifact>("artifact.verify", &model()).is_err());
}

#[test]
fn an_artifact_without_a_snapshot_or_a_declaration_is_refused_with_the_command() {
    let host = shop(BAD, None);
    let error = host
        .run::<Artifact>("artifact.restore", &model())
        .unwrap_err();
    assert!(
        format!("{error:?}").contains("grace artifacts snapshot"),
        "{error:?}"
    );
    let other = [("target", "shop-1".into()), ("path", "/etc/passwd".into())];
    let error = host.run::<Artifact>("artifact.verify", &other).unwrap_err();
    assert!(
        format!("{error:?}").contains("[[service.artifact]]"),
        "{error:?}"
    );
}

#[test]
fn the_manifest_asks_for_what_the_pack_uses() {
    let manifest = Manifest::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml").as_ref());
    assert_eq!(manifest.wants, ["config:read", "config:write"]);
}
