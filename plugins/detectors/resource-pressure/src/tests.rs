//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::ResourcePressure;

const MIB: u64 = 1 << 20;

fn memory(used_mib: u64, limit_mib: u64) -> Observation {
    seen("instance.resources", "shop-1")
        .with("service", "shop")
        // What its processes share counts for each here, and is no nearness to the limit.
        .with("rss_bytes", used_mib * 9 * MIB)
        .with("memory_bytes", used_mib * MIB)
        .with("memory_limit_bytes", limit_mib * MIB)
}

fn counts(files: u64, files_limit: u64, threads: u64, threads_limit: u64) -> Observation {
    seen("instance.resources", "shop-1")
        .with("service", "shop")
        .with("fullest_open_files", files)
        .with("fullest_open_files_limit", files_limit)
        .with("threads", threads)
        .with("threads_limit", threads_limit)
}

fn host(cpu: u32, memory: u32, disk: u32) -> Observation {
    seen("host.resources", "host")
        .with("cpu_permille", cpu)
        .with("memory_permille", memory)
        .with("disk_permille", disk)
}

/// One observation every 500 ms; the findings with their times.
fn feed(
    bench: &mut Bench<ResourcePressure>,
    times: std::ops::Range<u64>,
    mut what: impl FnMut(u64) -> Observation,
) -> Vec<(u64, Finding)> {
    times
        .step_by(500)
        .flat_map(|at| {
            bench
                .observe(at, [what(at)])
                .into_iter()
                .map(move |found| (at, found))
        })
        .collect()
}

#[test]
fn memory_near_its_limit_is_found_when_it_lasts_and_a_peak_is_not() {
    let mut bench = Bench::new();
    assert!(feed(&mut bench, 1_000..3_500, |_| memory(95, 100)).is_empty());
    assert!(feed(&mut bench, 3_500..6_000, |_| memory(60, 100)).is_empty());
    let found = feed(&mut bench, 6_000..20_000, |_| memory(95, 100));
    let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [9_000, 19_000]);
    let (_, found) = &found[0];
    assert_eq!(found.kind, "resource-pressure");
    assert_eq!(found.severity, Severity::Major);
    assert_eq!(
        (found.count("permille"), found.text("resource")),
        (950, Some("memory"))
    );
}

#[test]
fn open_files_and_threads_near_their_limits_are_found_each_with_its_own_words() {
    let found = feed(&mut Bench::new(), 1_000..6_000, |_| {
        counts(1_000, 1_024, 31, 32)
    });
    let told: Vec<_> = found
        .iter()
        .map(|(at, found)| (*at, found.cause.as_str(), found.summary.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                4_000,
                "open files are near their limit",
                "shop-1 uses 1000 open files, 97 % of its limit of 1024 open files"
            ),
            (
                4_000,
                "threads are near their limit",
                "shop-1 uses 31 threads, 96 % of its limit of 32 threads"
            ),
        ]
    );
    assert_eq!(found[0].1.text("resource"), Some("files"));
    assert_eq!(found[1].1.count("threads_limit"), 32);
    assert!(
        feed(&mut Bench::new(), 1_000..60_000, |_| counts(
            800, 1_024, 20, 32
        ))
        .is_empty()
    );
    assert!(
        feed(&mut Bench::new(), 1_000..60_000, |_| counts(
            9_000, 0, 900, 0
        ))
        .is_empty()
    );
}

#[test]
fn the_thresholds_are_the_components_own_and_can_be_set() {
    let mut bench = Bench::new()
        .setting("files_permille", "500")
        .setting("files_for", "1s");
    let found = feed(&mut bench, 1_000..3_000, |_| counts(600, 1_024, 31, 32));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 2_000);
}

#[test]
fn without_a_limit_there_is_no_nearness() {
    assert!(feed(&mut Bench::new(), 1_000..20_000, |_| memory(9_000, 0)).is_empty());
}

#[test]
fn memory_that_grows_without_end_is_found() {
    let found = feed(&mut Bench::new(), 1_000..80_000, |at| {
        memory(100 + at / 500, 0)
    });
    assert_eq!(found[0].1.cause, "memory grows without end");
    assert!(found[0].0 >= 55_000, "{}", found[0].0);
}

#[test]
fn memory_that_grew_and_is_content_or_goes_up_and_down_is_none() {
    let warm = |at: u64| memory(if at < 20_000 { 50 + at / 100 } else { 250 }, 0);
    assert!(feed(&mut Bench::new(), 1_000..200_000, warm).is_empty());
    let saw = |at: u64| memory(100 + (at / 500) % 30 * 10, 0);
    assert!(feed(&mut Bench::new(), 1_000..200_000, saw).is_empty());
}

#[test]
fn a_new_process_starts_with_a_clean_slate() {
    let mut bench = Bench::new();
    feed(&mut bench, 1_000..3_500, |_| memory(95, 100));
    bench.observe(3_600, [seen("instance.spawned", "shop-1")]);
    assert!(feed(&mut bench, 4_000..6_500, |_| memory(95, 100)).is_empty());
}

#[test]
fn a_host_short_of_memory_or_disk_is_found_soon_and_a_busy_one_after_a_minute() {
    let found = feed(&mut Bench::new(), 1_000..8_000, |_| host(500, 960, 970));
    let causes: Vec<_> = found
        .iter()
        .map(|(_, found)| found.cause.as_str())
        .collect();
    assert_eq!(
        causes,
        [
            "the disk of the state directory is nearly full",
            "the host is short of memory"
        ]
    );
    assert!(found.iter().all(|(_, found)| found.target == "host"));
    let found = feed(&mut Bench::new(), 1_000..65_000, |_| host(1_000, 100, 100));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.severity), (61_000, Severity::Minor));
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<ResourcePressure>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<ResourcePressure>(env!("CARGO_MANIFEST_DIR"));
}
