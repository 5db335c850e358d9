//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::ConfigDrift;

fn file(hash: &str, good: &str, valid: bool) -> Observation {
    seen("config.file", "shop-1")
        .with("service", "shop")
        .with("path", "/data/shop-1/shop.json")
        .with("hash", hash)
        .with("good_hash", good)
        .with("valid", valid)
        .with(
            "problem",
            if valid {
                ""
            } else {
                "line 3: expected a comma"
            },
        )
}

fn traffic(requests: u32, errors: u32) -> Observation {
    seen("instance.traffic", "shop-1")
        .with("window_ms", 250_u32)
        .with("requests", requests)
        .with("errors", errors)
        .with("unanswered", 0_u32)
}

#[test]
fn a_file_that_does_not_parse_is_corrupt_at_once_and_names_path_and_hashes() {
    let mut bench = Bench::<ConfigDrift>::new();
    assert!(bench.observe(1_000, [file("a", "a", true)]).is_empty());
    let found = bench.observe(1_250, [file("b", "a", false)]);
    assert_eq!(found[0].kind, "config-corrupt");
    assert_eq!(found[0].severity, Severity::Major);
    assert_eq!(found[0].cause, "shop.json does not parse");
    assert_eq!(found[0].text("path"), Some("/data/shop-1/shop.json"));
    assert_eq!(
        (found[0].text("hash"), found[0].text("good_hash")),
        (Some("b"), Some("a"))
    );
}

#[test]
fn corrupt_is_repeated_while_it_lasts_and_over_when_restored() {
    let mut bench = Bench::<ConfigDrift>::new();
    assert_eq!(bench.observe(1_000, [file("b", "a", false)]).len(), 1);
    assert!(bench.observe(2_000, [file("b", "a", false)]).is_empty());
    assert_eq!(bench.observe(3_000, []).len(), 1);
    assert!(bench.observe(5_000, [file("a", "a", true)]).is_empty());
    assert!(bench.observe(30_000, []).is_empty());
    assert_eq!(bench.observe(31_000, [file("b", "a", false)]).len(), 1);
}

#[test]
fn a_missing_file_is_corrupt_too() {
    let found = Bench::<ConfigDrift>::new().observe(1_000, [file("", "a", false)]);
    assert_eq!(found[0].cause, "shop.json is missing");
}

#[test]
fn corrupt_is_critical_when_requests_fail_already() {
    let mut bench = Bench::<ConfigDrift>::new();
    bench.observe(1_000, [file("a", "a", true), traffic(100, 0)]);
    let found = bench.observe(1_250, [file("b", "a", false), traffic(20, 12)]);
    assert_eq!(found[0].severity, Severity::Critical);
}

#[test]
fn a_change_after_which_requests_fail_is_drift() {
    let mut bench = Bench::<ConfigDrift>::new();
    bench.observe(1_000, [file("a", "a", true), traffic(50, 40)]);
    // Failures from before the change are not held against it.
    assert!(bench.observe(9_000, [file("b", "a", true)]).is_empty());
    assert!(bench.observe(9_250, [traffic(50, 2)]).is_empty());
    let found = bench.observe(9_500, [traffic(50, 10)]);
    assert_eq!(found[0].kind, "config-drift");
    assert_eq!(found[0].cause, "requests fail since shop.json changed");
    assert_eq!(found[0].count("failures"), 12);
}

#[test]
fn failures_without_a_change_are_another_detectors_matter() {
    let mut bench = Bench::<ConfigDrift>::new();
    bench.observe(1_000, [file("a", "a", true)]);
    assert!(bench.observe(2_000, [traffic(100, 100)]).is_empty());
}

#[test]
fn a_change_that_does_well_for_ten_seconds_is_accepted_once() {
    let mut bench = Bench::<ConfigDrift>::new();
    bench.observe(1_000, [file("a", "a", true)]);
    bench.observe(2_000, [file("b", "a", true)]);
    for at in (2_250..12_000).step_by(250) {
        assert!(
            bench
                .observe(at, [file("b", "a", true), traffic(20, 0)])
                .is_empty(),
            "{at}"
        );
    }
    let found = bench.observe(12_000, [traffic(20, 0)]);
    assert_eq!(found[0].kind, "config-accepted");
    assert_eq!(found[0].severity, Severity::Minor);
    assert!(bench.observe(20_000, [file("b", "a", true)]).is_empty());
}

#[test]
fn a_change_after_which_probes_fail_or_the_process_dies_is_not_accepted() {
    for trouble in [
        seen("instance.probe", "shop-1")
            .with("ok", false)
            .with("status", 503_u32),
        seen("instance.exited", "shop-1").with("cause", "code:1"),
    ] {
        let mut bench = Bench::<ConfigDrift>::new();
        bench.observe(2_000, [file("b", "a", true)]);
        assert!(bench.observe(9_000, [trouble]).is_empty());
        assert!(bench.observe(13_000, []).is_empty());
        assert_eq!(bench.observe(20_000, []).len(), 1);
    }
}

#[test]
fn memory_stays_bounded_with_many_files_and_instances() {
    let mut bench = Bench::<ConfigDrift>::new();
    for n in 0..600_u64 {
        let many = (0..40).map(|file| {
            seen("config.file", &format!("shop-{n}"))
                .with("path", format!("/data/shop-{n}/{file}.json"))
                .with("hash", "a".repeat(64))
                .with("good_hash", "a".repeat(64))
                .with("valid", true)
        });
        bench.observe(1_000 + n, many);
    }
    assert!(bench.state().len() < 1 << 20, "{}", bench.state().len());
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<ConfigDrift>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<ConfigDrift>(env!("CARGO_MANIFEST_DIR"));
}
