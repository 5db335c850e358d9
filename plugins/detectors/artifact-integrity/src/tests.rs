//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::ArtifactIntegrity;

fn artifact(hash: &str, good: &str) -> Observation {
    seen("artifact.file", "shop")
        .with("service", "shop")
        .with("path", "/srv/shop/model.bin")
        .with("hash", hash)
        .with("good_hash", good)
        .with("problem", "")
}

#[test]
fn bytes_that_are_not_those_of_the_snapshot_are_found_at_once_and_again_while_it_lasts() {
    let mut bench = Bench::<ArtifactIntegrity>::new();
    assert!(bench.observe(1_000, [artifact("a", "a")]).is_empty());
    let found = bench.observe(1_250, [artifact("b", "a")]);
    assert_eq!(found[0].kind, "artifact-corrupt");
    assert_eq!(found[0].cause, "model.bin is not what was snapshotted");
    assert_eq!(found[0].text("path"), Some("/srv/shop/model.bin"));
    assert!(bench.observe(2_000, [artifact("b", "a")]).is_empty());
    assert_eq!(bench.observe(3_300, []).len(), 1);
    assert!(bench.observe(4_000, [artifact("a", "a")]).is_empty());
    assert!(bench.observe(9_000, []).is_empty());
}

#[test]
fn a_missing_artifact_is_found_and_one_without_a_snapshot_is_nobodys_claim() {
    let mut bench = Bench::<ArtifactIntegrity>::new();
    assert!(bench.observe(1_000, [artifact("b", "")]).is_empty());
    let found = bench.observe(1_250, [artifact("", "a")]);
    assert_eq!(found[0].cause, "model.bin is missing or cannot be read");
}

#[test]
fn a_new_snapshot_makes_the_new_bytes_right() {
    let mut bench = Bench::<ArtifactIntegrity>::new();
    assert_eq!(bench.observe(1_000, [artifact("b", "a")]).len(), 1);
    assert!(bench.observe(9_000, [artifact("b", "b")]).is_empty());
}

#[test]
fn memory_stays_bounded_with_many_artifacts_and_targets() {
    let mut bench = Bench::<ArtifactIntegrity>::new();
    let artifact = |n: u32| {
        seen("artifact.file", &format!("shop-{}", n % 250))
            .with("service", "shop")
            .with("path", format!("/srv/{n}"))
            .with("hash", "b".repeat(64))
            .with("good_hash", "a".repeat(64))
    };
    bench.observe(1_000, (0..4_000).map(artifact).collect::<Vec<_>>());
    assert!(bench.state().len() < 1 << 20, "{}", bench.state().len());
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<ArtifactIntegrity>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<ArtifactIntegrity>(env!("CARGO_MANIFEST_DIR"));
}
