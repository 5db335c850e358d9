//! Runs against worlds that fail as told, with and without crashes.

use std::collections::BTreeMap;

use grace_model::playbook::{Expression, OnFailure, Playbook, Step, StepFailure, Trigger, Undo};
use grace_model::plugin::{Field, Finding, Receipt, Severity, Value};

use super::*;

mod crashes;

fn step(id: &str) -> Step {
    Step {
        id: id.to_owned(),
        action: format!("do.{id}"),
        params: BTreeMap::from([("target".to_owned(), Value::from("${finding.target}"))]),
        condition: None,
        timeout_ms: 1_000,
        retries: 0,
        backoff_ms: 100,
        on_failure: StepFailure::Abort,
        verify: Vec::new(),
        undo: Undo::Auto,
    }
}

fn playbook(steps: Vec<Step>) -> Playbook {
    Playbook {
        id: "mend".into(),
        version: 1,
        description: String::new(),
        triggers: vec![Trigger {
            finding: "broken".into(),
            severity: None,
            service: None,
        }],
        preconditions: Vec::new(),
        parameters: BTreeMap::new(),
        steps,
        branches: BTreeMap::new(),
        verify: vec![step("probe")],
        on_failure: vec![OnFailure::Rollback, OnFailure::Escalate("people".into())],
        cooldown_ms: 0,
        slo_ms: None,
        priority: 0,
        origin: "test".into(),
    }
}

fn finding(severity: Severity) -> Finding {
    Finding {
        kind: "broken".into(),
        target: "shop-1".into(),
        severity,
        confidence_permille: 1_000,
        summary: "it is broken".into(),
        cause: "broken".into(),
        evidence: Vec::new(),
    }
}

fn run_of(playbook: Playbook) -> Run {
    let incident = IncidentId::from("inc-1");
    Run::new(
        "inc-1/1".into(),
        (&incident, "sig"),
        playbook,
        finding(Severity::Major),
        &[],
        0,
    )
}

fn receipt(changed: bool) -> Receipt {
    Receipt {
        changed,
        summary: "done".into(),
        outputs: vec![Field::new("count", 3_i64)],
        undo: vec![1],
    }
}

/// Runs to the end; `world` says what comes of a call. Answers with what was called.
fn play(run: &mut Run, mut world: impl FnMut(&Call) -> Outcome) -> (Vec<String>, End) {
    let mut now = 0;
    let mut calls = Vec::new();
    for _ in 0..10_000 {
        match run.next(now) {
            Next::Call(call) => {
                let what = match &call.effect {
                    Effect::Act { .. } => "",
                    Effect::Undo { .. } => "undo ",
                    Effect::Settle { .. } => "settle ",
                    Effect::Tell { .. } => "tell ",
                };
                calls.push(format!("{what}{}@{}", call.key, call.attempt));
                let outcome = world(&call);
                now += 10;
                run.finish(outcome, now);
            }
            Next::Wait { until_ms } => {
                assert!(until_ms > now, "a wait for what is past");
                now = until_ms;
            }
            Next::Ended(end) => return (calls, end),
        }
    }
    panic!("the run does not end: {calls:?}");
}

fn failing(keys: &'static [&'static str]) -> impl FnMut(&Call) -> Outcome {
    move |call| {
        if keys.contains(&call.key.as_str()) {
            Outcome::Failed {
                reason: "no".into(),
                retry: true,
            }
        } else {
            Outcome::Done(receipt(true))
        }
    }
}

#[test]
fn steps_then_verification_and_it_has_succeeded() {
    let mut run = run_of(playbook(vec![step("a"), step("b")]));
    let (calls, end) = play(&mut run, failing(&[]));
    assert_eq!(calls, ["a@1", "b@1", "verify.probe@1"]);
    assert_eq!(end, End::Succeeded);
}

#[test]
fn a_failed_verification_undoes_every_step_last_first_and_tells_people() {
    let mut run = run_of(playbook(vec![step("a"), step("b")]));
    let (calls, end) = play(&mut run, failing(&["verify.probe"]));
    assert_eq!(
        calls,
        [
            "a@1",
            "b@1",
            "verify.probe@1",
            "undo undo-1-b@1",
            "undo undo-0-a@1",
            "tell tell-1.people@1"
        ]
    );
    assert!(matches!(end, End::Failed { reason } if reason.contains("verify.probe: no")));
}

#[test]
fn a_step_is_tried_again_with_its_backoff_doubled() {
    let mut flaky = step("a");
    flaky.retries = 3;
    let mut run = run_of(playbook(vec![flaky]));
    let mut failures = 0;
    let mut waits = Vec::new();
    let mut now = 0;
    loop {
        match run.next(now) {
            Next::Call(call) if call.key == "a" && failures < 3 => {
                failures += 1;
                run.finish(
                    Outcome::Failed {
                        reason: "busy".into(),
                        retry: true,
                    },
                    now,
                );
            }
            Next::Call(_) => run.finish(Outcome::Done(receipt(true)), now),
            Next::Wait { until_ms } => {
                waits.push(until_ms - now);
                now = until_ms;
            }
            Next::Ended(end) => {
                assert_eq!(end, End::Succeeded);
                break;
            }
        }
    }
    assert_eq!(waits, [100, 200, 400]);
}

#[test]
fn what_cannot_get_better_is_not_tried_again() {
    let mut first = step("a");
    first.retries = 5;
    let mut run = run_of(playbook(vec![first]));
    let (calls, _) = play(&mut run, |call| match call.key.as_str() {
        "a" => Outcome::Failed {
            reason: "denied".into(),
            retry: false,
        },
        _ => Outcome::Done(receipt(true)),
    });
    assert_eq!(calls, ["a@1", "tell tell-1.people@1"]);
}

#[test]
fn a_check_of_a_step_fails_the_try_and_the_step_is_done_again() {
    let mut checked = step("a");
    checked.retries = 1;
    checked.verify = vec![step("look")];
    let mut run = run_of(playbook(vec![checked]));
    let mut looks = 0;
    let (calls, end) = play(&mut run, |call| {
        if call.key.ends_with("look") {
            looks += 1;
            if looks == 1 {
                return Outcome::Failed {
                    reason: "not yet".into(),
                    retry: true,
                };
            }
        }
        Outcome::Done(receipt(true))
    });
    assert_eq!(
        calls,
        ["a@1", "a#1.look@1", "a@2", "a#2.look@1", "verify.probe@1"]
    );
    assert_eq!(end, End::Succeeded);
}

#[test]
fn a_step_that_may_fail_does_not_end_the_run_and_later_ones_can_ask() {
    let mut first = step("a");
    first.on_failure = StepFailure::Continue;
    let mut second = step("b");
    second.condition = Some(Expression("not a.ok".into()));
    let mut third = step("c");
    third.condition = Some(Expression("a.changed".into()));
    let mut run = run_of(playbook(vec![first, second, third]));
    let (calls, end) = play(&mut run, failing(&["a"]));
    assert_eq!(calls, ["a@1", "b@1", "verify.probe@1"]);
    assert_eq!(end, End::Succeeded);
}

#[test]
fn the_branch_of_the_severity_runs_instead_of_the_steps() {
    let mut book = playbook(vec![step("a")]);
    book.branches.insert(Severity::Major, vec![step("z")]);
    let (calls, _) = play(&mut run_of(book), failing(&[]));
    assert_eq!(calls, ["z@1", "verify.probe@1"]);
}

#[test]
fn outputs_keep_their_types_in_parameters() {
    let mut second = step("b");
    second.params.insert("n".into(), Value::from("${a.count}"));
    second
        .params
        .insert("t".into(), Value::from("n=${a.count}"));
    let mut run = run_of(playbook(vec![step("a"), second]));
    let mut seen = BTreeMap::new();
    play(&mut run, |call| {
        if let Effect::Act { params, .. } = &call.effect {
            seen.insert(call.key.clone(), params.clone());
        }
        Outcome::Done(receipt(false))
    });
    assert_eq!(seen["b"]["n"], Value::Integer(3));
    assert_eq!(seen["b"]["t"], Value::from("n=3"));
    assert_eq!(seen["b"]["target"], Value::from("shop-1"));
}

#[test]
fn an_undo_by_a_step_runs_it_and_a_failed_undo_is_told() {
    let mut first = step("a");
    first.undo = Undo::Step(Box::new(step("unmake")));
    let mut run = run_of(playbook(vec![first, step("b")]));
    let (calls, end) = play(&mut run, |call| match call.key.as_str() {
        "b" | "undo-0-a" => Outcome::Failed {
            reason: "stuck".into(),
            retry: false,
        },
        _ => Outcome::Done(receipt(true)),
    });
    assert_eq!(calls, ["a@1", "b@1", "undo-0-a@1", "tell tell-1.people@1"]);
    assert!(matches!(end, End::Failed { reason } if reason.contains("not taken back")));
}

#[test]
fn a_fallback_takes_over_but_never_in_a_circle() {
    let mut book = playbook(vec![step("a")]);
    book.on_failure = vec![OnFailure::Playbook("other".into())];
    let incident = IncidentId::from("inc-1");
    let start = |before: &[PlaybookId]| {
        Run::new(
            "inc-1/1".into(),
            (&incident, "s"),
            book.clone(),
            finding(Severity::Major),
            before,
            0,
        )
    };
    let (_, end) = play(&mut start(&[]), failing(&["a"]));
    assert!(matches!(end, End::Fallback { playbook, .. } if playbook.as_str() == "other"));
    let (calls, end) = play(&mut start(&["other".into()]), failing(&["a"]));
    assert!(matches!(end, End::Failed { .. }));
    assert_eq!(
        calls.last().unwrap(),
        "tell tell.log@1",
        "nobody was named, so the log is told"
    );
}

#[test]
fn a_run_over_its_slo_fails_and_its_calls_get_no_more_time_than_is_left() {
    let mut endless = step("a");
    endless.retries = 1_000;
    endless.timeout_ms = 60_000;
    let mut book = playbook(vec![endless]);
    book.slo_ms = Some(5_000);
    let mut longest = 0;
    let (_, end) = play(&mut run_of(book), |call| {
        if call.key == "a" {
            longest = longest.max(call.timeout_ms);
            return Outcome::Failed {
                reason: "no".into(),
                retry: true,
            };
        }
        Outcome::Done(receipt(true))
    });
    assert!(matches!(end, End::Failed { reason } if reason.contains("slo")));
    assert!(longest <= 5_000);
}

#[test]
fn an_aborted_run_first_learns_what_its_call_did_and_takes_it_back() {
    let mut run = run_of(playbook(vec![step("a"), step("b")]));
    assert!(matches!(run.next(0), Next::Call(call) if call.key == "a"));
    run.abort("the playbook was removed".into());
    let (calls, end) = play(&mut run, failing(&[]));
    assert_eq!(calls, ["a@1", "undo undo-0-a@1", "tell tell-1.people@1"]);
    assert!(matches!(end, End::Failed { reason } if reason.contains("removed")));
}

#[test]
fn without_a_verification_the_target_must_be_ready() {
    let mut book = playbook(vec![step("a")]);
    book.verify.clear();
    let (calls, end) = play(&mut run_of(book), failing(&[]));
    assert_eq!(calls, ["a@1", "settle verify.settle@1"]);
    assert_eq!(end, End::Succeeded);
}

#[test]
fn a_steady_clock_that_began_anew_prolongs_no_wait() {
    let mut flaky = step("a");
    flaky.retries = 1;
    let mut run = run_of(playbook(vec![flaky]));
    run.begun_ms = 900_000;
    assert!(matches!(run.next(900_000), Next::Call(_)));
    run.finish(
        Outcome::Failed {
            reason: "no".into(),
            retry: true,
        },
        900_000,
    );
    run.rebase(5);
    assert!(matches!(run.next(5), Next::Wait { until_ms: 105 }));
}
