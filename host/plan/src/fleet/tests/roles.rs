//! Failover, promotion, and what is refused.

use std::collections::BTreeSet;

use grace_model::command::Outcome;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, Role, State};

use super::{House, ONE_EACH, good, machine, policy};
use crate::fleet::{Ask, Event, Facts, Fleet, Plan, Report, Sample, Strategy};
use crate::restart;

#[test]
fn a_warm_one_that_is_restarted_by_an_operator_is_told_to_go_once_and_not_for_ever() {
    let mut fleet = Fleet::new(policy(true), ONE_EACH, 1);
    fleet.step(Event::Tick, 0);
    let warm = (1..=3)
        .find(|number| fleet.role(*number) == Some(Role::Warm))
        .unwrap();
    let mut machine = machine(true);
    let ask = restart::Event::Ask {
        op: OpId::from("by-hand"),
        ask: restart::Ask::Restart(grace_model::command::StopMode::Kill),
    };
    machine.step(ask, 0);
    // As the supervisor does: what one says is shown to the other until both have said all.
    let mut told = 0;
    let mut out = Vec::new();
    loop {
        let facts = Facts::of(&machine);
        let number = warm;
        let actions = fleet.step(Event::Seen { number, facts }, 0);
        let of_it: Vec<_> = actions
            .into_iter()
            .filter_map(|action| action.for_instance())
            .filter(|(of, _)| *of == warm)
            .collect();
        if of_it.is_empty() {
            break;
        }
        for (_, event) in of_it {
            told += 1;
            out.extend(machine.step(event, 0));
        }
        assert!(told < 8, "they never come to an end");
    }
    assert_eq!(told, 1);
    // Its process comes and goes; whoever asked is answered once, when it is told to go.
    out.extend(machine.step(restart::Event::Spawned, 0));
    let answers: Vec<_> = out
        .iter()
        .filter_map(|action| match action {
            restart::Action::Finish { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert!(matches!(answers[..], [Outcome::TimedOut { .. }]), "{out:?}");
    assert!(machine.is_ending());
}

#[test]
fn a_dead_active_one_is_replaced_by_the_hot_and_the_warm_refills() {
    let mut house = House::new(ONE_EACH, true);
    assert_eq!(house.active(), [1]);
    assert_eq!(house.alive, BTreeSet::from([1, 2]));
    house.die(1, ExitCause::Signal(9));
    assert_eq!(
        house.roles(),
        [(1, Role::Warm), (2, Role::Active), (3, Role::Hot)]
    );
    assert_eq!(house.active(), [2]);
    assert_eq!(house.alive, BTreeSet::from([2, 3]), "the dead one rests");
    assert!(house.reports.contains(&Report::Refilled { number: 3 }));
}

#[test]
fn a_sick_active_one_is_dead_before_another_has_traffic() {
    let mut house = House::new(ONE_EACH, true);
    house.stuck = true;
    house.sick(1);
    assert_eq!(
        house.active(),
        Vec::<u32>::new(),
        "nobody while it may still act"
    );
    assert!(house.fleet.is_cut(1));
    house.stuck = false;
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [2]);
}

#[test]
fn without_a_standby_a_sick_active_one_keeps_its_traffic_and_people_are_told() {
    let mut house = House::new(
        Plan {
            active: 1,
            hot: 0,
            warm: 0,
        },
        true,
    );
    house.sick(1);
    assert_eq!(house.active(), [1]);
    assert!(house.reports.contains(&Report::NoStandby { number: 1 }));
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [1], "its own restart is the way back");
    assert_eq!(house.machines[&1].generation(), 2);
}

#[test]
fn a_process_that_sigkill_does_not_end_is_fenced_at_the_proxy_only_and_people_are_told() {
    let mut house = House::new(ONE_EACH, true);
    house.stuck = true;
    house.sick(1);
    house.pass(restart::KILL_CONFIRM_MS);
    assert_eq!(house.active(), [2]);
    assert!(
        house
            .reports
            .contains(&Report::FencedAtProxyOnly { number: 1 })
    );
    assert!(house.alive.contains(&1));
}

#[test]
fn neither_the_proxys_word_nor_a_death_means_no_promotion() {
    let mut house = House::new(ONE_EACH, true);
    (house.stuck, house.proxy) = (true, false);
    house.sick(1);
    house.pass(60_000);
    assert_eq!(house.active(), Vec::<u32>::new());
    house.proxy = true;
    house.tell(Event::Tick);
    assert_eq!(house.active(), [2]);
}

#[test]
fn active_and_hot_die_at_once_and_the_warm_one_starts() {
    let mut house = House::new(ONE_EACH, true);
    house.well = false;
    house.die(2, ExitCause::Signal(9));
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), Vec::<u32>::new());
    house.ready(3);
    assert_eq!(house.active(), [3]);
    let hot = house
        .roles()
        .iter()
        .filter(|(_, role)| *role == Role::Hot)
        .count();
    assert_eq!(hot, 1, "{:?}", house.roles());
}

#[test]
fn a_standby_that_dies_during_its_promotion_leaves_the_active_one_in_place() {
    let mut house = House::new(
        Plan {
            active: 1,
            hot: 1,
            warm: 0,
        },
        true,
    );
    house.proxy = false;
    house.ask("p", Ask::Promote(2));
    assert!(house.fleet.is_leaving(1));
    house.well = false;
    house.die(2, ExitCause::Code(1));
    house.proxy = true;
    house.tell(Event::Tick);
    assert!(house.rolled_back("p").contains("the active one stays"));
    assert_eq!(house.active(), [1]);
}

#[test]
fn an_active_one_that_dies_during_a_promotion_makes_way_at_once() {
    let mut house = House::new(ONE_EACH, true);
    house.proxy = false;
    house.ask("p", Ask::Promote(2));
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [2]);
    assert_eq!(house.ended.get("p"), Some(&Outcome::Done { number: 1 }));
}

#[test]
fn everyone_failing_is_bounded_by_the_budgets_and_told_once() {
    let mut house = House::new(ONE_EACH, true);
    house.bad.insert(1);
    house.die(1, ExitCause::Code(1));
    house.die(2, ExitCause::Code(1));
    house.pass(60_000);
    let given_up = house
        .reports
        .iter()
        .filter(|r| **r == Report::GaveUp)
        .count();
    assert_eq!(given_up, 1, "{:?}", house.reports);
    for machine in house.machines.values() {
        assert_eq!(machine.state(), State::Failed);
        // The first start, one as a refill at most, two restarts of the budget.
        assert!(machine.generation() <= 4, "{}", machine.generation());
    }
}

#[test]
fn promotion_chooses_by_health_then_freshness_then_load() {
    let three = Plan {
        active: 1,
        hot: 3,
        warm: 0,
    };
    let mut house = House::new(three, true);
    house.sick(2);
    house.sample(
        3,
        Sample {
            inflight: 9,
            ..good(0)
        },
    );
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [4], "2 is sick, 3 is busy");

    let mut house = House::new(three, true);
    house.pass(10_000);
    house.tell(Event::Fresh {
        number: 3,
        generation: 1,
    });
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [3], "its health was heard last");

    let mut house = House::new(three, true);
    house.die(2, ExitCause::Signal(9));
    house.pass(5_000);
    for number in [2, 3, 4] {
        let generation = house.machines[&number].generation();
        house.tell(Event::Fresh { number, generation });
    }
    house.die(1, ExitCause::Signal(9));
    assert_eq!(house.active(), [3], "2 has died before");
}

#[test]
fn a_word_about_an_earlier_leave_or_process_is_not_believed() {
    let mut house = House::new(
        Plan {
            active: 1,
            hot: 1,
            warm: 0,
        },
        true,
    );
    house.ask("one", Ask::Promote(2));
    house.ask("two", Ask::Promote(1));
    house.proxy = false;
    house.ask("three", Ask::Promote(2));
    house.tell(Event::Drained {
        number: 1,
        generation: 1,
        leave: 1,
    });
    assert_eq!(house.active(), Vec::<u32>::new());
    house.tell(Event::Drained {
        number: 1,
        generation: 1,
        leave: 2,
    });
    assert_eq!(house.active(), [2]);
}

#[test]
fn operations_that_cannot_be_are_refused_with_the_reason() {
    let mut house = House::new(ONE_EACH, true);
    house.ask("unknown", Ask::Promote(9));
    assert!(house.refusal("unknown").contains("no instance 9"));
    house.ask("warm", Ask::Promote(3));
    assert!(house.refusal("warm").contains("warm"));
    house.ask("sum", Ask::Weights(vec![(1, 5_000), (2, 4_000)]));
    assert!(house.refusal("sum").contains("sum to 9000"));
    house.ask("twice", Ask::Weights(vec![(1, 5_000), (1, 5_000)]));
    assert!(house.refusal("twice").contains("twice"));
    house.ask(
        "none",
        Ask::Resize(Plan {
            active: 0,
            hot: 1,
            warm: 1,
        }),
    );
    assert!(house.refusal("none").contains("at least one active"));
    house.ask("back", Ask::Rollback);
    assert!(house.refusal("back").contains("no version before"));
    house.ask(
        "same",
        Ask::Rollout {
            version: 1,
            strategy: Strategy::Rolling,
        },
    );
    assert!(house.refusal("same").contains("runs already"));
    assert_eq!(house.active(), [1], "and nothing has changed");
    let mut all = House::new(Plan::all_active(2), false);
    all.ask("p", Ask::Promote(1));
    assert!(all.refusal("p").contains("active already"));
    all.ask("hot", Ask::Resize(ONE_EACH));
    assert!(all.refusal("hot").contains("no roles"));
}
