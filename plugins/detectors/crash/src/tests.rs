//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::Crash;

fn exited(target: &str, cause: &str, external: bool) -> Observation {
    seen("instance.exited", target)
        .with("service", "shop")
        .with("generation", 2_u32)
        .with("pid", 4_711_u32)
        .with("cause", cause)
        .with("external", external)
        .with("uptime_ms", 90_000_u32)
        .with("tail", "GET / 200 3ms")
}

#[test]
fn a_kill_from_outside_is_a_moderate_crash_without_the_log_in_its_cause() {
    let found = Bench::<Crash>::new().observe(1_000, [exited("shop-1", "signal:9", true)]);
    let [found] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(found.kind, "instance-crash");
    assert_eq!(found.target, "shop-1");
    assert_eq!(found.severity, Severity::Moderate);
    assert_eq!(found.cause, "killed by SIGKILL");
    assert_eq!(found.text("exit"), Some("signal:9"));
    assert_eq!(found.count("pid"), 4_711);
}

#[test]
fn an_exit_that_grace_wanted_is_no_crash() {
    let wanted = exited("shop-1", "signal:15", true).with("wanted", true);
    assert!(Bench::<Crash>::new().observe(1_000, [wanted]).is_empty());
}

#[test]
fn a_panic_is_major_and_its_line_is_part_of_the_cause() {
    let mut death = exited("shop-1", "code:101", false);
    death.fields.retain(|field| field.name != "tail");
    let death = death.with(
        "tail",
        "thread 'main' panicked at src/main.rs:3:1:\nno stock 17\n",
    );
    let found = Bench::<Crash>::new().observe(1_000, [death]);
    assert_eq!(found[0].severity, Severity::Major);
    assert_eq!(
        found[0].cause,
        "exited with code 101: panicked at src/main.rs:#:#: no stock #"
    );
}

#[test]
fn the_third_death_within_the_window_is_critical_and_an_old_one_does_not_count() {
    let mut bench = Bench::<Crash>::new();
    let severity = |bench: &mut Bench<Crash>, at| {
        bench.observe(at, [exited("shop-1", "signal:11", false)])[0].severity
    };
    assert_eq!(severity(&mut bench, 1_000), Severity::Major);
    assert_eq!(severity(&mut bench, 2_000), Severity::Major);
    assert_eq!(severity(&mut bench, 3_000), Severity::Critical);
    assert_eq!(severity(&mut bench, 200_000), Severity::Major);
}

#[test]
fn a_used_up_budget_is_flapping_and_names_the_last_cause() {
    let mut bench = Bench::<Crash>::new();
    bench.observe(1_000, [exited("shop-1", "code:1", false)]);
    let budget = seen("instance.budget", "shop-1")
        .with("restarts", 5_u32)
        .with("window_ms", 60_000_u32);
    let found = bench.observe(2_000, [budget]);
    assert_eq!(found[0].kind, "instance-flapping");
    assert_eq!(found[0].severity, Severity::Critical);
    assert_eq!(found[0].cause, "keeps dying: exited with code 1");
}

#[test]
fn when_a_whole_fleet_dies_at_once_every_death_is_found() {
    let deaths = (0..100).map(|n| {
        let mut death = exited(&format!("shop-{n}"), "code:1", false);
        death.fields.retain(|field| field.name != "tail");
        death.with("tail", "error: no stock")
    });
    let found = Bench::<Crash>::new().observe(1_000, deaths);
    assert_eq!(found.len(), 100);
    assert_eq!(
        found
            .iter()
            .filter(|found| found.text("line").is_some())
            .count(),
        crate::MAX_TAILS
    );
}

#[test]
fn a_wrong_setting_is_an_error_that_names_it() {
    let mut bench = Bench::<Crash>::new().setting("window", "soon");
    let error = bench.try_observe(1, []).unwrap_err();
    assert!(
        matches!(&error, PluginError::InvalidInput(text) if text.contains("window")),
        "{error:?}"
    );
}

#[test]
fn memory_stays_bounded_whatever_happens() {
    let mut bench = Bench::<Crash>::new();
    for n in 0..700_u64 {
        bench.observe(1_000 + n, [exited(&format!("shop-{n}"), "code:1", false)]);
        bench.observe(1_000 + n, [exited("shop-x", "code:1", false)]);
    }
    assert!(bench.state().len() < 64 << 10, "{}", bench.state().len());
}

#[test]
fn memory_of_another_version_is_forgotten() {
    let mut bench = Bench::<Crash>::new();
    bench.set_state(vec![99, 1, 2, 3]);
    assert_eq!(
        bench.observe(1_000, [exited("shop-1", "oom", false)]).len(),
        1
    );
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<Crash>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<Crash>(env!("CARGO_MANIFEST_DIR"));
}
