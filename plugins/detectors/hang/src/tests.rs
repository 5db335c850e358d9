//! The detector as the host calls it.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

use crate::Hang;

fn ready() -> Bench<Hang> {
    let mut bench = Bench::new();
    let spawned = seen("instance.spawned", "shop-1")
        .with("service", "shop")
        .with("generation", 3_u32)
        .with("pid", 77_u32);
    let state = seen("instance.state", "shop-1")
        .with("from", "starting")
        .with("to", "ready");
    assert!(bench.observe(10_000, [spawned, state]).is_empty());
    bench
}

fn process(state: &str, for_ms: u32) -> Observation {
    seen("instance.process", "shop-1")
        .with("state", state)
        .with("for_ms", for_ms)
}

fn probe(ok: bool, status: u32) -> Observation {
    seen("instance.probe", "shop-1")
        .with("ok", ok)
        .with("status", status)
        .with("problem", if ok { "" } else { "no answer in 500 ms" })
        .with("judge_late_ms", 0_u32)
}

fn become_state(state: &str) -> Observation {
    seen("instance.state", "shop-1").with("to", state)
}

#[test]
fn a_stopped_process_hangs_after_300_ms_even_when_nothing_more_is_seen() {
    let mut bench = ready();
    assert!(bench.observe(11_000, [process("stopped", 0)]).is_empty());
    assert!(bench.observe(11_200, []).is_empty());
    let found = bench.observe(11_300, []);
    assert_eq!(found[0].kind, "instance-hang");
    assert_eq!(found[0].cause, "process is stopped");
    assert_eq!(found[0].text("reason"), Some("stopped"));
    assert_eq!(found[0].count("generation"), 3);
    assert_eq!(found[0].count("pid"), 77);
}

#[test]
fn while_it_lasts_it_is_reported_every_two_seconds_and_a_new_hang_at_once() {
    let mut bench = ready();
    assert_eq!(bench.observe(11_500, [process("stopped", 400)]).len(), 1);
    assert!(
        bench
            .observe(12_500, [process("stopped", 1_400)])
            .is_empty()
    );
    assert_eq!(bench.observe(13_500, []).len(), 1);
    assert!(bench.observe(13_600, [process("running", 0)]).is_empty());
    assert_eq!(bench.observe(13_700, [process("stopped", 300)]).len(), 1);
}

#[test]
fn a_process_that_ran_again_in_time_does_not_hang() {
    let mut bench = ready();
    bench.observe(11_000, [process("stopped", 0)]);
    assert!(bench.observe(11_400, [process("running", 0)]).is_empty());
}

#[test]
fn what_grace_paused_or_quarantined_itself_does_not_hang() {
    for state in [
        "paused",
        "quarantined",
        "draining",
        "stopped",
        "failed",
        "starting",
    ] {
        let mut bench = ready();
        let found = bench.observe(11_000, [become_state(state), process("stopped", 5_000)]);
        assert!(found.is_empty(), "{state}");
    }
}

#[test]
fn three_unanswered_probes_of_a_running_process_are_a_hang_and_two_are_none() {
    let mut bench = ready();
    assert!(bench.observe(11_000, [probe(false, 0)]).is_empty());
    assert!(bench.observe(11_500, [probe(false, 0)]).is_empty());
    let found = bench.observe(12_000, [probe(false, 0)]);
    assert_eq!(found[0].text("reason"), Some("probe"));
    assert_eq!(found[0].text("problem"), Some("no answer in 500 ms"));
    let mut bench = ready();
    bench.observe(11_000, [probe(false, 0), probe(false, 0), probe(true, 200)]);
    assert!(bench.observe(12_000, [probe(false, 0)]).is_empty());
}

#[test]
fn probes_of_a_late_judge_and_from_before_a_stall_do_not_count() {
    let mut bench = ready();
    let mut late = probe(false, 0);
    late.fields.retain(|field| field.name != "judge_late_ms");
    let late = late.with("judge_late_ms", 900_u32);
    assert!(bench.observe(11_000, vec![late; 5]).is_empty());

    let stalled = seen("host.stalled", "host").with("late_ms", 2_000_u32);
    let found = bench.observe(
        12_000,
        [probe(false, 0), probe(false, 0), probe(false, 0), stalled],
    );
    assert!(found.is_empty());
    assert!(bench.observe(12_300, vec![probe(false, 0); 3]).is_empty());
    assert_eq!(bench.observe(12_600, vec![probe(false, 0); 3]).len(), 1);
}

#[test]
fn a_stall_starts_the_time_of_a_stopped_process_anew() {
    let mut bench = ready();
    let stalled = seen("host.stalled", "host").with("late_ms", 2_000_u32);
    assert!(
        bench
            .observe(12_000, [process("stopped", 5_000), stalled])
            .is_empty()
    );
    assert!(bench.observe(12_700, []).is_empty());
    assert_eq!(bench.observe(12_800, []).len(), 1);
}

#[test]
fn answers_with_an_error_are_no_hang_until_they_last_and_never_while_the_config_is_broken() {
    let mut bench = ready();
    assert!(bench.observe(11_000, vec![probe(false, 503); 6]).is_empty());
    let found = bench.observe(21_000, [probe(false, 503)]);
    assert_eq!(found[0].cause, "probes get bad answers");

    let mut bench = ready();
    let broken = seen("config.file", "shop-1")
        .with("path", "/a.json")
        .with("valid", false);
    bench.observe(11_000, [broken, probe(false, 503)]);
    assert!(bench.observe(22_000, [probe(false, 503)]).is_empty());
}

#[test]
fn a_late_heartbeat_is_a_hang_and_an_early_one_is_none() {
    let heartbeat = |age: u32| {
        seen("instance.heartbeat", "shop-1")
            .with("age_ms", age)
            .with("limit_ms", 1_000_u32)
    };
    let mut bench = ready();
    assert!(bench.observe(11_000, [heartbeat(900)]).is_empty());
    let found = bench.observe(11_500, [heartbeat(1_400)]);
    assert_eq!(found[0].text("reason"), Some("heartbeat"));
    assert_eq!(found[0].count("for_ms"), 1_400);
}

#[test]
fn a_new_process_begins_without_blame_and_a_dead_one_does_not_hang() {
    let mut bench = ready();
    assert_eq!(bench.observe(11_500, [process("stopped", 400)]).len(), 1);
    let spawned = seen("instance.spawned", "shop-1")
        .with("generation", 4_u32)
        .with("pid", 78_u32);
    assert!(
        bench
            .observe(14_000, [spawned, become_state("ready")])
            .is_empty()
    );
    assert!(
        bench
            .observe(
                14_500,
                [process("stopped", 400), seen("instance.exited", "shop-1")]
            )
            .is_empty()
    );
}

#[test]
fn the_manifest_lists_every_setting_with_its_default() {
    check_manifest::<Hang>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn its_cases_come_out_as_they_say() {
    check_cases::<Hang>(env!("CARGO_MANIFEST_DIR"));
}
