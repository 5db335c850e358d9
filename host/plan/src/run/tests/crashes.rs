//! Any playbook, any fate, a crash anywhere.

use proptest::prelude::*;

use super::*;

fn steps(depth: u32) -> impl Strategy<Value = Vec<Step>> {
    let leaf = (0..3_u32, any::<bool>(), 0..3_u8, 0..4_u8);
    let one = leaf.prop_map(|(retries, go_on, undo, condition)| {
        let mut made = step("x");
        made.retries = retries;
        made.on_failure = if go_on {
            StepFailure::Continue
        } else {
            StepFailure::Abort
        };
        made.undo = match undo {
            0 => Undo::None,
            1 => Undo::Auto,
            _ => Undo::Step(Box::new(step("y"))),
        };
        made.condition = match condition {
            0 => Some(Expression("finding.severity == 'major'".into())),
            1 => Some(Expression("finding.severity == 'minor'".into())),
            _ => None,
        };
        made
    });
    let checks: BoxedStrategy<Vec<Step>> = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        steps(depth - 1).boxed()
    };
    prop::collection::vec((one, checks), 0..4).prop_map(|made| {
        made.into_iter()
            .enumerate()
            .map(|(index, (mut step, checks))| {
                step.id = format!("s{index}");
                step.verify = checks;
                step
            })
            .collect()
    })
}

fn books() -> impl Strategy<Value = Playbook> {
    let remedies = prop::collection::vec(0..3_u8, 0..4).prop_map(|kinds| {
        kinds
            .into_iter()
            .map(|kind| match kind {
                0 => OnFailure::Rollback,
                1 => OnFailure::Escalate("people".into()),
                _ => OnFailure::Playbook("mend".into()),
            })
            .collect()
    });
    (steps(1), steps(1), remedies).prop_map(|(steps, verify, on_failure)| {
        let mut book = playbook(steps);
        book.verify = verify;
        book.on_failure = on_failure;
        book
    })
}

/// What comes of a call, the same for the same call: a world that does not change its mind.
fn fate(seed: u64, call: &Call) -> Outcome {
    let mut hash = seed;
    for byte in call.key.bytes().chain(call.attempt.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    match hash >> 60 {
        0..=4 => Outcome::Failed {
            reason: "no".into(),
            retry: true,
        },
        5 => Outcome::Failed {
            reason: "never".into(),
            retry: false,
        },
        rest => Outcome::Done(receipt(rest % 2 == 0)),
    }
}

proptest! {
    #[test]
    fn every_run_ends(book in books(), seed in any::<u64>()) {
        let (_, end) = play(&mut run_of(book), |call| fate(seed, call));
        prop_assert!(!matches!(end, End::Fallback { .. }), "it is its own fallback");
    }

    /// Before each call the run is stored; a crash may come before or after the effect. The
    /// receiver remembers operation ids, so what counts is the sequence of new ones.
    #[test]
    fn a_crash_anywhere_gives_the_same_effects_under_the_same_ids(
        book in books(),
        seed in any::<u64>(),
        crashes in prop::collection::vec(any::<bool>(), 64),
    ) {
        let (calm, calm_end) = play(&mut run_of(book.clone()), |call| fate(seed, call));

        let mut stored = serde_json::to_string(&run_of(book)).unwrap();
        let mut effects: Vec<String> = Vec::new();
        let mut crashes = crashes.into_iter();
        let mut now = 0;
        let end = 'lives: loop {
            let mut run: Run = serde_json::from_str(&stored).unwrap();
            loop {
                match run.next(now) {
                    Next::Call(call) => {
                        stored = serde_json::to_string(&run).unwrap();
                        if crashes.next() == Some(true) {
                            continue 'lives;
                        }
                        let what = match &call.effect {
                            Effect::Act { .. } => "",
                            Effect::Undo { .. } => "undo ",
                            Effect::Settle { .. } => "settle ",
                            Effect::Tell { .. } => "tell ",
                        };
                        let op = format!("{what}{}@{}", call.key, call.attempt);
                        if !effects.contains(&op) {
                            effects.push(op);
                        }
                        if crashes.next() == Some(true) {
                            continue 'lives;
                        }
                        now += 10;
                        run.finish(fate(seed, &call), now);
                        if crashes.next() == Some(true) {
                            continue 'lives;
                        }
                        stored = serde_json::to_string(&run).unwrap();
                        if crashes.next() == Some(true) {
                            continue 'lives;
                        }
                    }
                    Next::Wait { until_ms } => now = until_ms,
                    Next::Ended(end) => break 'lives end,
                }
            }
        };
        prop_assert_eq!(effects, calm);
        prop_assert_eq!(end, calm_end);
    }

    #[test]
    fn no_call_of_a_run_has_the_key_and_attempt_of_another(book in books(), seed in any::<u64>()) {
        let (calls, _) = play(&mut run_of(book), |call| fate(seed, call));
        let mut unique = calls.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), calls.len(), "{:?}", calls);
    }
}
