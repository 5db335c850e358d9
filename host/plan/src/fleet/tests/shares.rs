//! Weights and ramps.

use std::collections::BTreeMap;

use grace_model::instance::ExitCause;

use super::{House, good};
use crate::fleet::{Ask, Plan, Report, Sample};

#[test]
fn shares_of_an_operator_hold_for_those_who_are_there() {
    let mut house = House::new(Plan::all_active(3), false);
    house.ask("w", Ask::Weights(vec![(1, 5_000), (2, 3_000), (3, 2_000)]));
    assert_eq!(
        house.fleet.weights(),
        &BTreeMap::from([(1, 5_000), (2, 3_000), (3, 2_000)])
    );
    house.sick(2);
    assert_eq!(
        house.fleet.weights(),
        &BTreeMap::from([(1, 7_143), (3, 2_857)])
    );
    house.ask("equal", Ask::Weights(Vec::new()));
    assert_eq!(
        house.fleet.weights(),
        &BTreeMap::from([(1, 5_000), (3, 5_000)])
    );
}

#[test]
fn a_returning_instance_ramps_up_in_four_steps() {
    let mut house = House::new(Plan::all_active(2), false);
    house.die(1, ExitCause::Signal(9));
    let share = |house: &House| house.fleet.weights().get(&1).copied();
    for share_of_half in [500, 1_250, 2_500, 5_000] {
        assert_eq!(share(&house), Some(share_of_half));
        house.pass(100);
    }
}

#[test]
fn a_ramp_is_broken_off_by_errors_and_by_slowness_and_tried_again() {
    for bad in [
        Sample {
            requests: 100,
            errors: 30,
            p99_us: 1_000,
            inflight: 0,
        },
        Sample {
            requests: 100,
            errors: 0,
            p99_us: 900_000,
            inflight: 0,
        },
    ] {
        let mut house = House::new(Plan::all_active(2), false);
        house.sample(2, good(1_000));
        house.die(1, ExitCause::Signal(9));
        house.pass(100);
        house.sample(1, bad);
        assert_eq!(house.fleet.weights(), &BTreeMap::from([(2, 10_000)]));
        assert!(matches!(
            house.reports.last(),
            Some(Report::RampAborted { number: 1, .. })
        ));
        house.pass(1_000);
        assert_eq!(house.fleet.weights().get(&1), Some(&500));
        house.pass(300);
        assert_eq!(house.fleet.weights().get(&1), Some(&5_000));
    }
}

#[test]
fn one_that_did_badly_is_better_than_none() {
    let mut house = House::new(Plan::all_active(2), false);
    house.die(1, ExitCause::Signal(9));
    house.sample(
        1,
        Sample {
            requests: 100,
            errors: 90,
            p99_us: 1,
            inflight: 0,
        },
    );
    house.sick(2);
    assert_eq!(house.fleet.weights(), &BTreeMap::from([(1, 10_000)]));
}
