//! Seeded simulation of one service: a real fleet on real restart machines, in a world of
//! processes that die, hang and will not die, a proxy that is slow, dies and remembers, and a
//! line between them that delays, loses, doubles and reorders. One seed, one schedule: a seed
//! that fails fails again.

mod proxy;
mod schedule;
mod supervisor;
mod world;

use std::time::Instant;

use crate::planted::{self, Fault};
use schedule::run;

/// Seeds that have failed once, each with what it found. They are run before all others.
const KEPT: &[(u64, &str)] = &[
    (5, "cut off with requests, it was taken for out"),
    (28, "a drain in hand never ended when a version came"),
    (
        74,
        "one that turned round kept a role of a rollout that was over",
    ),
    (89, "a failed one was forgotten before it was let go"),
    (385, "a rollout that waits for a ramp did not wake"),
    (
        498,
        "a canary's ramp went on without time after its rollout",
    ),
    (
        6_265,
        "a leave that timed out left it running beside its heir",
    ),
    (
        52_696,
        "a ramp's end did not wake the rollout that waits for it",
    ),
    (
        79_711,
        "cut off under an operator's hold that ended meanwhile",
    ),
];

/// Schedules of the whole run, each of at least [`schedule::STEPS`] events.
const SCHEDULES: u64 = 100_000;

/// Seeds within which each planted fault must be found.
const FIND_WITHIN: u64 = 1_000;

#[test]
fn seeds_that_failed_once_pass() {
    for (seed, what) in KEPT {
        if let Err(problem) = run(*seed) {
            panic!("seed {seed} ({what}): {problem}");
        }
    }
}

#[test]
fn a_hundred_thousand_schedules_keep_every_promise() {
    let begin = Instant::now();
    let mut events = 0_u64;
    for seed in 0..SCHEDULES {
        match run(seed) {
            Ok(count) => {
                assert!(
                    count >= schedule::STEPS,
                    "seed {seed} was too short: {count}"
                );
                events += count;
            }
            Err(problem) => panic!("SEED {seed}: {problem}; add it to KEPT when it is mended"),
        }
    }
    println!(
        "{SCHEDULES} schedules, {events} events, {:?}",
        begin.elapsed()
    );
}

fn is_found(fault: Fault) -> Option<(u64, String)> {
    planted::plant(Some(fault));
    let found = (0..FIND_WITHIN).find_map(|seed| run(seed).err().map(|problem| (seed, problem)));
    planted::plant(None);
    found
}

#[test]
fn a_promotion_before_the_fence_is_found() {
    let found = is_found(Fault::PromoteBeforeFence);
    println!("{found:?}");
    assert!(found.is_some_and(|(_, problem)| problem.contains("answer")));
}

#[test]
fn a_budget_that_is_ignored_is_found() {
    let found = is_found(Fault::BudgetIgnored);
    println!("{found:?}");
    assert!(found.is_some_and(|(_, problem)| problem.contains("budget")));
}

#[test]
fn a_stale_word_that_is_believed_is_found() {
    let found = is_found(Fault::StaleBelieved);
    println!("{found:?}");
    assert!(found.is_some_and(|(_, problem)| problem.contains("answer")));
}
