//! Guests that trap, loop, grow, flood and overdo: each is stopped with its own verdict, and
//! the plugin beside it does not notice.

use grace_model::port::{CallFailure, PluginHost};
use grace_model::status::PluginState;

use crate::guests::{LOG, detector, finder, good_until_seen, quiet};
use crate::world::{DETECTOR, Yard, patiently, refused, seen, until, view};

/// Loads `guest` beside a good plugin and gives the verdict on its first real call.
fn verdict_on(guest: &[u8], manifest: &str) -> CallFailure {
    let yard = Yard::new();
    yard.put("guest", guest, manifest);
    yard.put("good", &finder("all-well", 1), DETECTOR);
    let registry = yard.start();
    assert_eq!(
        view(&registry, "guest").state,
        PluginState::Live,
        "{:?}",
        view(&registry, "guest")
    );
    let failure =
        patiently(|| registry.observe("guest", &[], &seen())).expect_err("a hostile guest");
    let other =
        patiently(|| registry.observe("good", &[], &seen())).expect("the other plugin goes on");
    assert_eq!(other.findings.len(), 1);
    failure
}

#[test]
fn a_trap_is_told_with_the_function_it_happened_in() {
    let guest = good_until_seen("", "(call $burst)", "(func $burst unreachable)");
    let CallFailure::Trap(why) = verdict_on(&guest, DETECTOR) else {
        panic!("not a trap")
    };
    assert!(
        why.contains("unreachable") && why.contains("burst"),
        "{why}"
    );
}

#[test]
fn an_endless_loop_ends_with_its_fuel() {
    let guest = good_until_seen("", "(loop $for_ever (br $for_ever))", "");
    let manifest = format!("{DETECTOR}[limits]\nfuel = 1_000_000\n");
    assert_eq!(verdict_on(&guest, &manifest), CallFailure::Fuel(1_000_000));
}

#[test]
fn memory_that_grows_for_ever_ends_at_its_limit() {
    let guest = good_until_seen(
        "",
        "(loop $more
          (if (i32.eq (i32.const -1) (memory.grow (i32.const 16))) (then unreachable))
          (br $more))",
        "",
    );
    let manifest = format!("{DETECTOR}[limits]\nmemory = \"4MiB\"\n");
    assert_eq!(verdict_on(&guest, &manifest), CallFailure::Memory(4 << 20));
}

#[test]
fn endless_recursion_is_a_trap_and_not_a_crash() {
    let guest = good_until_seen(
        "",
        "(call $deep)",
        "(func $deep (call $deep) (drop (i32.const 1)))",
    );
    let CallFailure::Trap(why) = verdict_on(&guest, DETECTOR) else {
        panic!("not a trap")
    };
    assert!(why.contains("call stack exhausted"), "{why}");
}

#[test]
fn an_output_beyond_the_limit_is_over_quota() {
    // A state of 3 MiB: more than comes back of any call.
    let guest = good_until_seen(
        "",
        "(drop (memory.grow (i32.const 64)))
         (i32.store (i32.const 1028) (i32.const 65536))
         (i32.store (i32.const 1032) (i32.const 3145728))",
        "",
    );
    let CallFailure::Quota(why) = verdict_on(&guest, DETECTOR) else {
        panic!("not over quota")
    };
    assert!(why.contains("2097152 bytes"), "{why}");
}

#[test]
fn a_state_of_more_than_a_mebibyte_is_over_quota() {
    let guest = good_until_seen(
        "",
        "(drop (memory.grow (i32.const 64)))
         (i32.store (i32.const 1028) (i32.const 65536))
         (i32.store (i32.const 1032) (i32.const 1048577))",
        "",
    );
    let CallFailure::Quota(why) = verdict_on(&guest, DETECTOR) else {
        panic!("not over quota")
    };
    assert!(why.contains("state of 1048577 bytes"), "{why}");
}

#[test]
fn more_than_256_findings_are_over_quota() {
    let CallFailure::Quota(why) = verdict_on(&finder("too-many", 257), DETECTOR) else {
        panic!("not over quota")
    };
    assert!(why.contains("257 findings"), "{why}");
}

#[test]
fn an_answer_that_points_outside_its_memory_is_a_trap() {
    let guest = good_until_seen("", "(return (i32.const -16))", "");
    assert!(matches!(verdict_on(&guest, DETECTOR), CallFailure::Trap(_)));
}

#[test]
fn text_that_is_no_utf_8_is_a_trap() {
    let guest = good_until_seen(
        LOG,
        "(call $emit (i32.const 1) (i32.const 2048) (i32.const 2))",
        r#"(data (i32.const 2048) "\ff\fe")"#,
    );
    assert!(matches!(verdict_on(&guest, DETECTOR), CallFailure::Trap(_)));
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted_and_does_not_fail_the_call() {
    let guest = good_until_seen(
        LOG,
        "(local.set $seen (i32.const 0))
         (loop $more
           (call $emit (i32.const 0) (i32.const 2048) (i32.const 5))
           (local.set $seen (i32.add (local.get $seen) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $seen) (i32.const 1000))))",
        r#"(data (i32.const 2048) "flood")"#,
    );
    let yard = Yard::new();
    yard.put("guest", &guest, DETECTOR);
    let registry = yard.start();
    let called = registry.observe_counted("guest", &[], &seen());
    assert!(called.result.is_ok());
    assert_eq!(called.lines, (64, 936));
}

#[test]
fn too_many_settings_read_are_over_quota() {
    let guest = good_until_seen(
        r#"(import "grace:plugin/config@0.1.0" "get" (func $get (param i32 i32 i32)))"#,
        "(loop $more (call $get (i32.const 2048) (i32.const 1) (i32.const 4096)) (br $more))",
        r#"(data (i32.const 2048) "k")"#,
    );
    let manifest = format!("{DETECTOR}[limits]\nhost_calls = 10\n");
    assert_eq!(
        verdict_on(&guest, &manifest),
        CallFailure::Quota("more than 10 host calls".to_owned())
    );
}

#[test]
fn a_plugin_that_fails_too_often_is_disabled_until_it_is_touched() {
    let yard = Yard::new();
    yard.put("guest", &good_until_seen("", "unreachable", ""), DETECTOR);
    let registry = yard.start();
    let generation = registry.generation();
    for _ in 0..3 {
        assert!(matches!(
            registry.observe("guest", &[], &seen()),
            Err(CallFailure::Trap(_))
        ));
    }
    refused(
        &registry,
        "guest",
        PluginState::Disabled,
        &["guest.wasm", "3 failures in a row", "unreachable", "touch"],
    );
    assert!(registry.generation() > generation);
    assert!(registry.detectors().is_empty());
    assert!(matches!(
        registry.observe("guest", &[], &seen()),
        Err(CallFailure::NotCallable(_))
    ));

    registry.rescan();
    assert_eq!(
        view(&registry, "guest").state,
        PluginState::Disabled,
        "a scan alone changes nothing"
    );
    yard.put("guest", &good_until_seen("", "unreachable", ""), DETECTOR);
    registry.rescan();
    assert_eq!(view(&registry, "guest").state, PluginState::Live);
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let yard = Yard::new();
    yard.put("guest", &good_until_seen("", "unreachable", ""), DETECTOR);
    let registry = yard.start();
    let empty = grace_model::plugin::Batch {
        now: 0,
        observations: Vec::new(),
    };
    for _ in 0..4 {
        for _ in 0..2 {
            assert!(registry.observe("guest", &[], &seen()).is_err());
        }
        assert!(registry.observe("guest", &[], &empty).is_ok());
    }
    let view = view(&registry, "guest");
    assert_eq!(
        (view.state, view.calls, view.failures),
        (PluginState::Live, 12, 8)
    );
}

#[test]
fn the_same_input_spends_the_same_fuel() {
    let yard = Yard::new();
    yard.put("guest", &finder("all-well", 100), DETECTOR);
    let registry = yard.start();
    let spent: Vec<u64> = (0..5)
        .map(|_| registry.observe_counted("guest", b"state", &seen()).fuel)
        .collect();
    assert!(spent[0] > 100);
    assert!(spent.iter().all(|fuel| *fuel == spent[0]), "{spent:?}");
    let other = Yard::new();
    other.put("guest", &finder("all-well", 100), DETECTOR);
    assert_eq!(
        other
            .start()
            .observe_counted("guest", b"state", &seen())
            .fuel,
        spent[0]
    );
}

#[test]
fn what_does_not_survive_its_first_call_is_refused() {
    let yard = Yard::new();
    yard.put("bad", &detector("unreachable"), DETECTOR);
    yard.put("good", &quiet(1), DETECTOR);
    let registry = yard.start();
    refused(
        &registry,
        "bad",
        PluginState::Refused,
        &["bad.wasm", "first call", "unreachable"],
    );
    assert_eq!(view(&registry, "good").state, PluginState::Live);
}

#[test]
fn more_callers_than_places_take_turns() {
    let yard = Yard::new();
    yard.put("good", &finder("all-well", 200), DETECTOR);
    let registry = yard.start();
    let failed = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..5 {
                    if let Err(failure) = registry.observe("good", &[], &seen()) {
                        // On a busy machine a turn may not come in time; the pool never breaks.
                        assert!(
                            matches!(
                                failure,
                                CallFailure::NotCallable(_) | CallFailure::Deadline(_)
                            ),
                            "{failure}"
                        );
                        failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    until("a call succeeds again", || {
        registry.observe("good", &[], &seen()).is_ok()
    });
    assert!(failed.load(std::sync::atomic::Ordering::Relaxed) < 200);
}
