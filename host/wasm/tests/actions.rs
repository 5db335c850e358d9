//! Action packs: parameters, phases, host calls with their budget, and whom a failure is
//! charged to.

use std::time::Duration;

use grace_model::plugin::{ActionCall, Field, PluginError, Receipt};
use grace_model::port::{CallFailure, HostAnswer, HostCall, HostPort, PluginHost};
use grace_model::status::PluginState;
use grace_wasm::Registry;

use crate::guests::{RELEASE, SLEEP, action};
use crate::world::{ACTION, Recorder, Yard, view};

const LONG: Duration = Duration::from_secs(60);

fn call(name: &str, params: Vec<Field>) -> ActionCall {
    ActionCall {
        action: name.to_owned(),
        params,
        incident: "inc-1".to_owned(),
    }
}

fn yard(wasm: &[u8], wants: &str, limits: &str) -> (Yard, std::sync::Arc<Registry>) {
    let yard = Yard::new();
    yard.put(
        "pack",
        wasm,
        &format!("{ACTION}wants = [{wants}]\n{limits}"),
    );
    yard.grants(&format!("pack = [{wants}]\n"));
    let registry = yard.start();
    let view = view(&registry, "pack");
    assert_eq!(view.state, PluginState::Live, "{:?}", view.error);
    (yard, registry)
}

/// Releases `shop`, and gives the host's answer back as its own: the result area of the host
/// call is `result<_, plugin-error>` like the start of that of `run`.
fn releaser() -> Vec<u8> {
    let run = "(call $release (i32.const 4096) (i32.const 4) (i32.const 4096) (i32.const 4) (i32.const 1024))
      (if (i32.eqz (i32.load8_u (i32.const 1024))) (then (i32.store8 (i32.const 1028) (i32.const 1))))
      (i32.const 1024)";
    action("rlse", RELEASE, run, r#"(data (i32.const 4096) "shop")"#)
}

#[test]
fn a_host_call_reaches_the_port_with_a_budget_below_the_timeout() {
    let (_yard, registry) = yard(&releaser(), "\"fleet:control\"", "");
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let receipt = registry
        .run(
            &call("rlse.do", Vec::new()),
            Box::new(port.clone()),
            Duration::from_secs(5),
        )
        .expect("a receipt");
    assert!(receipt.changed);
    let calls = port.calls.lock().expect("not poisoned").clone();
    assert_eq!(calls.len(), 1);
    let expected = HostCall::Release {
        id: "shop".to_owned(),
        reason: "shop".to_owned(),
    };
    assert_eq!(calls[0].0, expected);
    assert!(calls[0].1 < Duration::from_secs(5) && !calls[0].1.is_zero());
    let nothing = Receipt {
        changed: false,
        summary: String::new(),
        outputs: Vec::new(),
        undo: Vec::new(),
    };
    registry
        .undo("rlse.do", &nothing, Box::new(port), LONG)
        .expect("undone");
}

#[test]
fn an_error_of_the_port_is_the_plugins_to_see_and_no_strike() {
    let (_yard, registry) = yard(&releaser(), "\"fleet:control\"", "");
    for _ in 0..5 {
        let port = Recorder::answering(Err(PluginError::NotApplicable("no shop".to_owned())));
        let failure = registry.run(&call("rlse.do", Vec::new()), Box::new(port), LONG);
        assert_eq!(
            failure,
            Err(CallFailure::Plugin(PluginError::NotApplicable(
                "no shop".to_owned()
            )))
        );
    }
    let view = view(&registry, "pack");
    assert_eq!((view.state, view.failures), (PluginState::Live, 5));
}

#[test]
fn a_plan_that_wants_to_change_something_is_denied() {
    let (_yard, registry) = yard(&releaser(), "\"fleet:control\"", "");
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let failure = registry.plan(&call("rlse.do", Vec::new()), Box::new(port.clone()));
    assert!(
        matches!(failure, Err(CallFailure::Plugin(PluginError::Denied(_)))),
        "{failure:?}"
    );
    assert_eq!(port.count(), 0, "nothing reached the fleet");
}

#[test]
fn an_answer_of_another_kind_is_an_error_and_not_a_guess() {
    let (_yard, registry) = yard(&releaser(), "\"fleet:control\"", "");
    let port = Recorder::answering(Ok(HostAnswer::Number { number: 1 }));
    let failure = registry.run(&call("rlse.do", Vec::new()), Box::new(port), LONG);
    assert!(
        matches!(failure, Err(CallFailure::Plugin(PluginError::Other(_)))),
        "{failure:?}"
    );
}

#[test]
fn parameters_are_checked_before_the_plugin_sees_them() {
    let (_yard, registry) = yard(&releaser(), "\"fleet:control\"", "");
    let try_with = |params: Vec<Field>| {
        let port = Recorder::answering(Ok(HostAnswer::Done));
        registry.run(&call("rlse.do", params), Box::new(port), LONG)
    };
    assert!(try_with(vec![Field::new("ms", 5_u64)]).is_ok());
    for (params, word) in [
        (vec![Field::new("mss", 5_u64)], "it has ms"),
        (vec![Field::new("ms", "soon")], "is no duration"),
        (vec![Field::new("ms", -1_i64)], "is no duration"),
        (
            vec![Field::new("ms", 1_u64), Field::new("ms", 2_u64)],
            "twice",
        ),
    ] {
        let failure = try_with(params).expect_err(word);
        assert!(
            matches!(&failure, CallFailure::Plugin(PluginError::InvalidInput(why)) if why.contains(word)),
            "{failure}"
        );
    }
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let failure = registry.run(&call("no.such", Vec::new()), Box::new(port), LONG);
    assert!(matches!(failure, Err(CallFailure::NotCallable(_))));
}

#[test]
fn too_many_host_calls_are_over_quota() {
    let run = "(loop $more
        (call $release (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
        (br $more)) (i32.const 1024)";
    let guest = action("many", RELEASE, run, "");
    let (_yard, registry) = yard(&guest, "\"fleet:control\"", "[limits]\nhost_calls = 7\n");
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let failure = registry.run(&call("many.do", Vec::new()), Box::new(port.clone()), LONG);
    assert_eq!(
        failure,
        Err(CallFailure::Quota("more than 7 host calls".to_owned()))
    );
    assert_eq!(port.count(), 7);
}

#[test]
fn a_sleep_beyond_the_calls_time_is_refused_at_once() {
    let run = "(call $sleep (i32.const 9000) (i32.const 1024)) (i32.const 1024)";
    let guest = action("nap1", SLEEP, run, "");
    let (_yard, registry) = yard(&guest, "\"clock\"", "[limits]\nwall = \"2s\"\n");
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let failure = registry.run(&call("nap1.do", Vec::new()), Box::new(port.clone()), LONG);
    assert!(
        matches!(failure, Err(CallFailure::Plugin(PluginError::TimedOut(_)))),
        "{failure:?}"
    );
    assert_eq!(port.count(), 0);
}

#[test]
fn an_endless_loop_with_fuel_left_ends_at_its_deadline() {
    // Divisions cost little fuel and much time, so the clock ends it before the fuel does.
    let run = "(local $n i64) (local.set $n (i64.const 9223372036854775807))
      (loop $for_ever
        (local.set $n (i64.add (i64.const 9223372036854775806)
          (i64.div_u (local.get $n) (i64.div_u (local.get $n) (i64.const 4611686018427387904)))))
        (br $for_ever)) (i32.const 1024)";
    let (_yard, registry) = yard(&action("loop", "", run, ""), "", "");
    let port = Recorder::answering(Ok(HostAnswer::Done));
    let failure = registry.run(
        &call("loop.do", Vec::new()),
        Box::new(port),
        Duration::from_millis(20),
    );
    assert_eq!(failure, Err(CallFailure::Deadline(20)));
}

/// Takes longer than it was given.
struct Slow;

impl HostPort for Slow {
    fn call(&mut self, _: HostCall, budget: Duration) -> Result<HostAnswer, PluginError> {
        std::thread::sleep(budget + Duration::from_millis(300));
        Ok(HostAnswer::Done)
    }
}

#[test]
fn time_that_the_host_took_is_no_strike_against_the_plugin() {
    let run =
        "(call $release (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1024))
      (loop $for_ever (br $for_ever)) (i32.const 1024)";
    let guest = action("slow", RELEASE, run, "");
    let (_yard, registry) = yard(&guest, "\"fleet:control\"", "[limits]\nwall = \"300ms\"\n");
    for _ in 0..4 {
        let failure = registry.run(&call("slow.do", Vec::new()), Box::new(Slow), LONG);
        assert_eq!(failure, Err(CallFailure::Deadline(300)));
    }
    assert_eq!(view(&registry, "pack").state, PluginState::Live);
}
