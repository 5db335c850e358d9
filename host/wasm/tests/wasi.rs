//! WASI's stand-ins: always the same, and no way past the deadline.

use std::time::{Duration, Instant};

use grace_model::plugin::Batch;
use grace_model::port::{CallFailure, PluginHost};
use grace_model::status::PluginState;

use crate::guests::{WASI_SLEEP, detector_with, good_until_seen};
use crate::world::{DETECTOR, Yard, patiently, seen, view};

#[test]
fn a_guest_that_sleeps_in_wasi_is_stopped_at_its_deadline() {
    let yard = Yard::new();
    // An hour.
    let guest = good_until_seen(
        WASI_SLEEP,
        "(call $block (call $after (i64.const 3600000000000)))",
        "",
    );
    yard.put("guest", &guest, DETECTOR);
    let registry = yard.start();
    let begun = Instant::now();
    assert_eq!(
        registry.observe("guest", &[], &seen()),
        Err(CallFailure::Deadline(100))
    );
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(60), "it slept on");
    let empty = Batch {
        now: 0,
        observations: Vec::new(),
    };
    assert!(
        patiently(|| registry.observe("guest", &[], &empty)).is_ok(),
        "and can be called again"
    );
}

#[test]
fn a_guest_that_sleeps_its_time_away_is_disabled() {
    let yard = Yard::new();
    let guest = good_until_seen(
        WASI_SLEEP,
        "(call $block (call $after (i64.const 3600000000000)))",
        "",
    );
    yard.put("guest", &guest, DETECTOR);
    let registry = yard.start();
    for _ in 0..3 {
        assert!(registry.observe("guest", &[], &seen()).is_err());
    }
    assert_eq!(view(&registry, "guest").state, PluginState::Disabled);
}

#[test]
fn a_short_sleep_in_wasi_ends_by_itself() {
    let yard = Yard::new();
    let guest = good_until_seen(
        WASI_SLEEP,
        "(call $block (call $after (i64.const 1000)))",
        "",
    );
    yard.put("guest", &guest, DETECTOR);
    assert!({
        let registry = yard.start();
        patiently(|| registry.observe("guest", &[], &seen())).is_ok()
    });
}

#[test]
fn clocks_and_randomness_are_the_same_in_every_call() {
    // Puts wall clock, monotonic clock and a random number into the state.
    let imports = r#"
  (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now_ns (result i64)))
  (import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))
  (import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))"#;
    let body = "(call $wall (i32.const 2048))
    (i64.store (i32.const 2064) (call $now_ns))
    (i64.store (i32.const 2072) (call $random))
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 32))
    (i32.const 1024)";
    let yard = Yard::new();
    yard.put("guest", &detector_with(imports, body, ""), DETECTOR);
    let registry = yard.start();
    let batch = Batch {
        now: 1_700_000_123_456,
        observations: Vec::new(),
    };
    let first = registry.observe_counted("guest", &[], &batch);
    let again = registry.observe_counted("guest", &[], &batch);
    assert_eq!(first.fuel, again.fuel);
    let state = first.result.expect("an answer").state;
    assert_eq!(state, again.result.expect("an answer").state);
    assert_eq!(
        u64::from_le_bytes(state[..8].try_into().expect("eight")),
        1_700_000_123
    );
    assert_eq!(
        u32::from_le_bytes(state[8..12].try_into().expect("four")),
        456_000_000
    );
    assert_ne!(state[24..32], [0; 8], "the random number is no zero");
}

#[test]
fn exit_ends_the_call_and_not_the_host() {
    let imports = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#;
    let yard = Yard::new();
    yard.put(
        "guest",
        &good_until_seen(imports, "(call $exit (i32.const 1))", ""),
        DETECTOR,
    );
    let failure = yard
        .start()
        .observe("guest", &[], &seen())
        .expect_err("it left");
    assert!(
        matches!(&failure, CallFailure::Trap(why) if why.contains("exit(1)")),
        "{failure}"
    );
}
