//! Whatever words come, in whatever order.

use grace_model::instance::{Role, State};
use proptest::prelude::*;

use super::policy;
use crate::fleet::{Event, Facts, Fleet, Plan, WHOLE};

fn any_facts() -> impl Strategy<Value = Event> {
    let state = prop_oneof![
        Just(State::Ready),
        Just(State::Starting),
        Just(State::Degraded),
        Just(State::Draining),
        Just(State::Quarantined),
        Just(State::Stopped),
        Just(State::Failed),
    ];
    (1_u32..6, 0_u64..4, state, any::<[bool; 6]>()).prop_map(|(number, generation, state, b)| {
        Event::Seen {
            number,
            facts: Facts {
                generation,
                state,
                up: b[0],
                ending: b[1],
                stuck: b[2],
                fenced: b[3],
                held: b[4],
                owes: b[5],
                deaths: 0,
            },
        }
    })
}

proptest! {
    /// Whatever is said of instances, possible or not: weights sum to the whole or nobody has
    /// one, no more gates are open than the plan has active ones, and the roles are the plan's.
    #[test]
    fn no_word_makes_more_gates_open_than_planned(
        events in proptest::collection::vec(
            prop_oneof![
                4 => any_facts(),
                1 => (1_u32..6, 0_u64..4, 0_u64..4).prop_map(|(number, generation, leave)| {
                    Event::Drained { number, generation, leave }
                }),
            ],
            1..200,
        ),
        roles in any::<bool>(),
        (active, hot, warm) in (1_u32..3, 0_u32..3, 0_u32..2),
    ) {
        let plan = if roles { Plan { active, hot, warm } } else { Plan::all_active(active) };
        let mut fleet = Fleet::new(policy(roles), plan, 1);
        for (at, event) in (0_u64..).zip(events) {
            fleet.step(event, at * 40);
            let sum: u32 = fleet.weights().values().sum();
            prop_assert!(sum == 0 || sum == WHOLE, "{}", sum);
            if roles {
                prop_assert!(fleet.weights().len() <= active as usize);
                let count = |role| {
                    fleet.numbers().filter(|n| fleet.role(*n) == Some(role)).count() as u32
                };
                prop_assert_eq!(
                    (count(Role::Active), count(Role::Hot), count(Role::Warm)),
                    (active, hot, warm)
                );
            }
        }
    }
}
