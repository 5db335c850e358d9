//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::ErrorRate;

/// One that does not wait, so that a test has fewer batches.
fn bench() -> Bench<ErrorRate> {
    Bench::new().setting("sustain", "0ms")
}

fn traffic(target: &str, requests: u32, errors: u32, unanswered: u32) -> Observation {
    seen("instance.traffic", target)
        .with("service", "shop")
        .with("window_ms", 250_u32)
        .with("requests", requests)
        .with("errors", errors)
        .with("unanswered", unanswered)
}

#[test]
fn a_share_over_the_threshold_is_a_finding_and_one_under_it_is_none() {
    let mut bench = bench();
    assert!(
        bench
            .observe(1_000, [traffic("shop-1", 100, 4, 0)])
            .is_empty()
    );
    let found = bench.observe(1_250, [traffic("shop-1", 100, 16, 0)]);
    assert_eq!(found[0].kind, "error-rate");
    assert_eq!(found[0].severity, Severity::Major);
    assert_eq!(found[0].cause, "requests are answered with errors");
    assert_eq!(found[0].count("share_permille"), 100);
    assert_eq!(found[0].text("scope"), Some("instance"));
}

#[test]
fn what_explains_the_failures_may_be_seen_a_little_later_than_they_are() {
    let mut bench = Bench::<ErrorRate>::new();
    assert!(
        bench
            .observe(1_000, [traffic("shop-1", 100, 50, 0)])
            .is_empty()
    );
    let broken = seen("config.file", "shop-1")
        .with("path", "/a.json")
        .with("valid", false);
    assert!(bench.observe(1_250, [broken]).is_empty());
    assert!(
        bench
            .observe(1_600, [traffic("shop-1", 100, 50, 0)])
            .is_empty()
    );
    let mut bench = Bench::<ErrorRate>::new();
    bench.observe(1_000, [traffic("shop-1", 100, 50, 0)]);
    assert_eq!(bench.observe(1_500, []).len(), 1);
}

#[test]
fn a_few_requests_say_nothing() {
    let mut bench = bench();
    assert!(
        bench
            .observe(1_000, [traffic("shop-1", 19, 19, 0)])
            .is_empty()
    );
    assert_eq!(bench.observe(1_250, [traffic("shop-1", 1, 1, 0)]).len(), 1);
}

#[test]
fn out_of_rotation_one_failed_trial_is_enough_and_what_was_in_flight_is_none() {
    let out = || seen("instance.ejected", "shop-1").with("reason", "server errors");
    let mut bench = bench();
    bench.observe(1_000, [traffic("shop-1", 1_000, 3, 0), out()]);
    assert!(
        bench
            .observe(1_250, [traffic("shop-1", 2, 2, 0)])
            .is_empty()
    );
    let found = bench.observe(2_250, [traffic("shop-1", 1, 1, 0)]);
    assert_eq!(found[0].kind, "error-rate");
    assert_eq!(found[0].count("errors"), 1);
    assert_eq!(found[0].severity, Severity::Critical);
    // Back in rotation, or as a new process, it starts anew.
    for over in ["instance.returned", "instance.spawned"] {
        assert!(bench.observe(2_500, [seen(over, "shop-1")]).is_empty());
        assert!(
            bench
                .observe(9_000, [traffic("shop-1", 1, 1, 0)])
                .is_empty()
        );
        bench.observe(9_250, [out()]);
        assert_eq!(bench.observe(11_000, [traffic("shop-1", 1, 1, 0)]).len(), 1);
    }
}

#[test]
fn out_of_rotation_for_a_broken_configuration_is_explained() {
    let mut bench = bench();
    let broken = seen("config.file", "shop-1")
        .with("path", "/a.json")
        .with("valid", false);
    bench.observe(1_000, [seen("instance.ejected", "shop-1"), broken]);
    assert!(
        bench
            .observe(2_250, [traffic("shop-1", 1, 1, 0)])
            .is_empty()
    );
}

#[test]
fn requests_fall_out_of_the_window() {
    let mut bench = bench();
    bench.observe(1_000, [traffic("shop-1", 15, 15, 0)]);
    assert!(
        bench
            .observe(6_500, [traffic("shop-1", 15, 1, 0)])
            .is_empty()
    );
}

#[test]
fn between_the_thresholds_it_goes_on_and_below_the_lower_it_is_over() {
    let mut bench = bench().setting("window", "1s");
    assert_eq!(
        bench.observe(1_000, [traffic("shop-1", 100, 10, 0)]).len(),
        1
    );
    // 3 %: under the upper threshold, over the lower.
    assert_eq!(
        bench.observe(3_100, [traffic("shop-1", 100, 3, 0)]).len(),
        1
    );
    assert!(
        bench
            .observe(5_200, [traffic("shop-1", 100, 0, 0)])
            .is_empty()
    );
    assert!(
        bench
            .observe(7_300, [traffic("shop-1", 100, 3, 0)])
            .is_empty()
    );
}

#[test]
fn a_crash_explains_what_failed_around_it_and_a_new_process_is_judged_again() {
    let mut bench = bench();
    let exited = seen("instance.exited", "shop-1").with("cause", "signal:9");
    bench.observe(1_000, [traffic("shop-1", 10, 0, 10)]);
    assert!(
        bench
            .observe(1_250, [exited, traffic("shop-1", 30, 0, 30)])
            .is_empty()
    );
    assert!(
        bench
            .observe(3_000, [traffic("shop-1", 30, 0, 30)])
            .is_empty()
    );
    let spawned = seen("instance.spawned", "shop-1");
    let found = bench.observe(5_000, [spawned, traffic("shop-1", 30, 0, 30)]);
    assert_eq!(found[0].cause, "requests get no answer");
    assert_eq!(found[0].severity, Severity::Critical);
}

#[test]
fn a_stopped_process_is_another_detectors_matter() {
    let mut bench = bench();
    let process = |state: &str| seen("instance.process", "shop-1").with("state", state);
    let found = bench.observe(1_000, [process("stopped"), traffic("shop-1", 100, 0, 100)]);
    assert!(found.is_empty());
    assert!(
        bench
            .observe(2_000, [process("running"), traffic("shop-1", 100, 0, 100)])
            .is_empty()
    );
    assert_eq!(
        bench.observe(6_000, [traffic("shop-1", 100, 0, 100)]).len(),
        1
    );
}

#[test]
fn while_the_configuration_does_not_parse_it_is_silent_for_that_instance_only() {
    let mut bench = bench();
    let file = |valid: bool| {
        seen("config.file", "shop-1")
            .with("path", "/a.json")
            .with("valid", valid)
    };
    let found = bench.observe(
        1_000,
        [
            file(false),
            traffic("shop-1", 100, 100, 0),
            traffic("shop-2", 100, 100, 0),
        ],
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].target, "shop-2");
    assert!(
        bench
            .observe(1_500, [file(true)])
            .iter()
            .all(|found| found.target != "shop-1")
    );
    let found = bench.observe(2_000, [traffic("shop-1", 100, 100, 0)]);
    assert!(found.iter().all(|found| found.target != "shop-1"));
    let found = bench.observe(4_600, [traffic("shop-1", 100, 100, 0)]);
    assert!(found.iter().any(|found| found.target == "shop-1"));
}

#[test]
fn when_every_instance_fails_the_scope_is_the_service() {
    let found = bench().observe(
        1_000,
        [traffic("shop-1", 100, 50, 0), traffic("shop-2", 100, 50, 0)],
    );
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|found| found.text("scope") == Some("service"))
    );
    assert_eq!(found[0].count("failing_instances"), 2);
}

#[test]
fn it_is_repeated_every_two_seconds_while_it_lasts() {
    let mut bench = bench();
    let mut times = Vec::new();
    for at in (1_000..8_000).step_by(100) {
        if !bench.observe(at, [traffic("shop-1", 30, 30, 0)]).is_empty() {
            times.push(at);
        }
    }
    assert_eq!(times, [1_000, 3_000, 5_000, 7_000]);
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<ErrorRate>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<ErrorRate>(env!("CARGO_MANIFEST_DIR"));
}
