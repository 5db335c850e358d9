//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::Latency;

fn traffic(target: &str, p99_ms: u64) -> Observation {
    seen("instance.traffic", target)
        .with("service", "shop")
        .with("window_ms", 250_u32)
        .with("requests", 50_u32)
        .with("p50_us", p99_ms * 500)
        .with("p99_us", p99_ms * 1_000)
}

/// A window with one request.
fn trial(p99_ms: u64) -> Observation {
    seen("instance.traffic", "shop-1")
        .with("service", "shop")
        .with("requests", 1_u32)
        .with("p50_us", p99_ms * 1_000)
        .with("p99_us", p99_ms * 1_000)
}

/// Three instances that were seen for a minute at 30 ms.
fn settled() -> (Bench<Latency>, u64) {
    let mut bench = Bench::new();
    let mut at = 1_000;
    while at < 61_000 {
        let all = ["shop-1", "shop-2", "shop-3"].map(|target| traffic(target, 30));
        assert!(bench.observe(at, all).is_empty());
        at += 250;
    }
    (bench, at)
}

/// Feeds shop-1 with this latency for so long; the findings with their times.
fn feed(bench: &mut Bench<Latency>, from: u64, for_ms: u64, p99_ms: u64) -> Vec<(u64, Finding)> {
    let mut all = Vec::new();
    let mut at = from;
    while at < from + for_ms {
        let found = bench.observe(at, [traffic("shop-1", p99_ms), traffic("shop-2", 30)]);
        all.extend(found.into_iter().map(|found| (at - from, found)));
        at += 250;
    }
    all
}

#[test]
fn an_instance_far_slower_than_its_siblings_is_found_after_three_seconds() {
    let (mut bench, at) = settled();
    let found = feed(&mut bench, at, 9_000, 400);
    let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [3_000, 8_000]);
    let (_, found) = &found[0];
    assert_eq!(found.kind, "latency-high");
    assert_eq!(found.target, "shop-1");
    assert_eq!(found.cause, "answers far slower than usual");
    assert_eq!(found.count("limit_us"), 250_000);
}

#[test]
fn a_short_spike_and_a_mild_slowness_are_none() {
    let (mut bench, at) = settled();
    assert!(feed(&mut bench, at, 2_500, 400).is_empty());
    assert!(feed(&mut bench, at + 2_500, 20_000, 200).is_empty());
}

#[test]
fn it_is_over_when_clearly_faster_and_not_when_just_under_the_limit() {
    let (mut bench, at) = settled();
    assert_eq!(feed(&mut bench, at, 4_000, 400).len(), 1);
    assert_eq!(feed(&mut bench, at + 4_000, 6_000, 240).len(), 1);
    feed(&mut bench, at + 10_000, 4_000, 30);
    assert!(feed(&mut bench, at + 14_000, 10_000, 240).is_empty());
}

#[test]
fn the_absolute_limit_holds_without_anything_learned() {
    let found = feed(&mut Bench::new(), 1_000, 4_000, 2_500);
    assert_eq!(found[0].1.cause, "answers slower than the limit");
    assert_eq!(found[0].1.severity, Severity::Major);
}

#[test]
fn one_that_is_out_of_rotation_is_found_by_a_single_late_trial() {
    let mut bench = Bench::<Latency>::new();
    bench.observe(1_000, [seen("instance.ejected", "shop-1")]);
    // In flight when it was taken out.
    assert!(bench.observe(1_500, [trial(520)]).is_empty());
    let found = bench.observe(2_500, [trial(520)]);
    assert_eq!(found[0].kind, "latency-high");
    assert_eq!(found[0].severity, Severity::Major);
    assert_eq!(
        found[0].cause,
        "answers so late that it is kept out of rotation"
    );
    // It is told again though there is no more traffic, until it is back.
    assert_eq!(bench.observe(8_000, []).len(), 1);
    bench.observe(8_100, [seen("instance.returned", "shop-1")]);
    assert!(bench.observe(20_000, [trial(520)]).is_empty());
}

#[test]
fn one_whose_probe_brings_it_back_is_found_at_its_second_ejection_if_it_answered_late() {
    let round = |bench: &mut Bench<Latency>, at: u64, p99_ms: u64| {
        let mut found = bench.observe(at, [trial(p99_ms), trial(p99_ms)]);
        found.extend(bench.observe(at + 250, [seen("instance.ejected", "shop-1")]));
        found.extend(bench.observe(at + 500, [trial(p99_ms)]));
        found.extend(bench.observe(at + 1_250, [seen("instance.returned", "shop-1")]));
        found
    };
    let mut bench = Bench::<Latency>::new();
    assert!(round(&mut bench, 1_000, 520).is_empty());
    let found = round(&mut bench, 5_000, 520);
    assert_eq!(found[0].kind, "latency-high");
    assert_eq!(found[0].severity, Severity::Major);
    // Ejected for something else, or long ago.
    let mut bench = Bench::<Latency>::new();
    assert!(round(&mut bench, 1_000, 20).is_empty());
    assert!(round(&mut bench, 5_000, 20).is_empty());
    let mut bench = Bench::<Latency>::new();
    assert!(round(&mut bench, 1_000, 520).is_empty());
    assert!(round(&mut bench, 90_000, 520).is_empty());
    // Another process answers for itself.
    let mut bench = Bench::<Latency>::new();
    assert!(round(&mut bench, 1_000, 520).is_empty());
    bench.observe(3_000, [seen("instance.spawned", "shop-1")]);
    assert!(round(&mut bench, 5_000, 520).is_empty());
}

#[test]
fn a_trial_that_fails_or_is_fast_is_not_late() {
    let mut bench = Bench::<Latency>::new();
    bench.observe(1_000, [seen("instance.ejected", "shop-1")]);
    assert!(bench.observe(3_000, [trial(30)]).is_empty());
    let failed = trial(520).with("unanswered", 1_u32);
    assert!(bench.observe(4_000, [failed]).is_empty());
}

#[test]
fn what_is_slow_never_becomes_usual() {
    let (mut bench, at) = settled();
    let found = feed(&mut bench, at, 300_000, 400);
    assert!(found.last().unwrap().0 > 290_000, "{:?}", found.last());
}

#[test]
fn when_all_are_slow_at_once_none_is_slower_than_its_siblings() {
    let (mut bench, at) = settled();
    for step in 0..40 {
        let all = ["shop-1", "shop-2", "shop-3"].map(|target| traffic(target, 400));
        let found = bench.observe(at + step * 250, all);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_new_process_is_not_blamed_for_the_old_one_and_silence_is_not_slow() {
    let (mut bench, at) = settled();
    assert_eq!(feed(&mut bench, at, 4_000, 400).len(), 1);
    bench.observe(at + 4_000, [seen("instance.spawned", "shop-1")]);
    assert!(feed(&mut bench, at + 4_250, 2_500, 400).is_empty());
    let (mut bench, at) = settled();
    assert_eq!(feed(&mut bench, at, 3_250, 400).len(), 1);
    assert!(bench.observe(at + 20_000, []).is_empty());
}

#[test]
fn a_service_of_one_is_held_against_its_own_past() {
    let mut bench = Bench::<Latency>::new();
    let mut at = 1_000;
    while at < 20_000 {
        assert!(bench.observe(at, [traffic("solo-1", 30)]).is_empty());
        at += 250;
    }
    let mut found = Vec::new();
    while at < 25_000 {
        found.extend(bench.observe(at, [traffic("solo-1", 300)]));
        at += 250;
    }
    assert_eq!(found.len(), 1);
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<Latency>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<Latency>(env!("CARGO_MANIFEST_DIR"));
}
