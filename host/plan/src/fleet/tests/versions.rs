//! Rollouts, and the way back.

use std::collections::BTreeSet;

use grace_model::command::Outcome;

use super::{House, ONE_EACH};
use crate::fleet::{Ask, Fleet, Plan, Sample, Strategy};

fn roll(house: &mut House, op: &str, version: u64, strategy: Strategy) {
    house.ask(op, Ask::Rollout { version, strategy });
}

fn versions(house: &House) -> BTreeSet<u64> {
    let numbers = house.fleet.numbers();
    numbers
        .map(|n| house.fleet.version_of(n).unwrap())
        .collect()
}

#[test]
fn a_rolling_rollout_never_takes_two_at_once_and_ends() {
    let mut house = House::new(Plan::all_active(3), false);
    roll(&mut house, "r", 2, Strategy::Rolling);
    for _ in 0..200 {
        house.pass(50);
        assert!(house.active().len() >= 2);
    }
    assert_eq!(house.ended.get("r"), Some(&Outcome::Done { number: 2 }));
    assert_eq!(versions(&house), BTreeSet::from([2]));
    house.ask("back", Ask::Rollback);
    house.pass(20_000);
    assert_eq!(house.ended.get("back"), Some(&Outcome::Done { number: 1 }));
    assert_eq!(versions(&house), BTreeSet::from([1]));
}

#[test]
fn a_version_that_does_not_start_is_rolled_back_by_itself() {
    for strategy in [Strategy::Rolling, Strategy::Canary, Strategy::BlueGreen] {
        let mut house = House::new(Plan::all_active(3), false);
        house.bad.insert(2);
        roll(&mut house, "r", 2, strategy);
        for _ in 0..200 {
            house.pass(50);
            assert!(house.active().len() >= 2, "{strategy:?}");
        }
        assert!(
            house.rolled_back("r").contains("rolled back to version 1"),
            "{strategy:?}"
        );
        assert_eq!(versions(&house), BTreeSet::from([1]));
        assert_eq!(house.active().len(), 3);
    }
}

#[test]
fn a_canary_that_answers_errors_is_rolled_back_before_the_second_instance() {
    let mut house = House::new(Plan::all_active(3), false);
    roll(&mut house, "r", 2, Strategy::Canary);
    house.pass(50);
    let canary = house
        .fleet
        .numbers()
        .find(|n| house.fleet.version_of(*n) == Some(2));
    let canary = canary.unwrap();
    assert_eq!(house.fleet.weights().get(&canary), Some(&333));
    house.sample(
        canary,
        Sample {
            requests: 50,
            errors: 25,
            p99_us: 1_000,
            inflight: 0,
        },
    );
    house.pass(20_000);
    assert!(house.rolled_back("r").contains("25 of 50 requests failed"));
    assert_eq!(versions(&house), BTreeSet::from([1]));
}

#[test]
fn blue_green_switches_at_once_and_the_old_ones_stand_by() {
    let mut house = House::new(Plan::all_active(2), false);
    roll(&mut house, "r", 2, Strategy::BlueGreen);
    assert_eq!(house.active(), [3, 4]);
    assert_eq!(house.alive.len(), 4);
    house.pass(1_000);
    assert_eq!(house.ended.get("r"), Some(&Outcome::Done { number: 2 }));
    house.ask("back", Ask::Rollback);
    assert_eq!(house.active(), [1, 2], "in the same step");
    assert_eq!(house.ended.get("back"), Some(&Outcome::Done { number: 1 }));
    assert_eq!(house.alive, BTreeSet::from([1, 2]));
}

#[test]
fn a_single_instance_is_replaced_beside_itself() {
    let mut house = House::new(Plan::all_active(1), false);
    house.well = false;
    house.ready(1);
    roll(&mut house, "r", 2, Strategy::Rolling);
    assert_eq!(house.active(), [1], "until the new one is ready");
    house.ready(2);
    assert_eq!(house.active(), [2]);
    house.pass(6_000);
    assert_eq!(
        house.alive,
        BTreeSet::from([2]),
        "the old one is let go after a while"
    );
}

#[test]
fn with_roles_the_standby_gets_the_version_first_and_takes_over() {
    let mut house = House::new(ONE_EACH, true);
    roll(&mut house, "r", 2, Strategy::BlueGreen);
    house.pass(100);
    assert_eq!(house.active(), [2]);
    assert_eq!(
        house.fleet.version_of(1),
        Some(1),
        "ready to return while 2 is watched"
    );
    house.sick(2);
    house.pass(10_000);
    assert!(house.rolled_back("r").contains("did not stay well"));
    assert_eq!(versions(&house), BTreeSet::from([1]));
    roll(&mut house, "again", 3, Strategy::Rolling);
    house.pass(20_000);
    assert_eq!(house.ended.get("again"), Some(&Outcome::Done { number: 3 }));
    assert_eq!(versions(&house), BTreeSet::from([3]));
}

#[test]
fn a_rollout_can_be_called_back_while_it_is_under_way() {
    let mut house = House::new(Plan::all_active(3), false);
    roll(&mut house, "r", 2, Strategy::Rolling);
    house.pass(100);
    house.ask("back", Ask::Rollback);
    assert!(house.rolled_back("r").contains("by an operation"));
    house.pass(20_000);
    assert_eq!(house.ended.get("back"), Some(&Outcome::Done { number: 1 }));
    assert_eq!(versions(&house), BTreeSet::from([1]));
}

#[test]
fn a_fleet_survives_being_written_and_read() {
    let mut house = House::new(ONE_EACH, true);
    roll(&mut house, "r", 2, Strategy::Canary);
    house.sick(1);
    let text = serde_json::to_string(&house.fleet).unwrap();
    assert_eq!(serde_json::from_str::<Fleet>(&text).unwrap(), house.fleet);
}
