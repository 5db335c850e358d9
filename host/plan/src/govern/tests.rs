//! Any order of orders, questions, answers, runs and hours, judged against rules that are written
//! down a second time here, and more plainly.

use grace_model::govern::{Answer, Given, Governance, Mode, Moment, Need, Order, Spent};
use grace_model::id::IncidentId;
use grace_model::plugin::Risk;
use proptest::prelude::*;

use super::*;

const DIGEST: &str = "d1";

fn at(ms: u64) -> Moment {
    Moment {
        wall: 1_000_000 + ms,
        steady: ms,
        boot: "boot".to_owned(),
    }
}

fn given(ms: u64) -> Given {
    Given {
        by: "uid 7".to_owned(),
        why: "a move".to_owned(),
        at: at(ms),
    }
}

fn need(risk: Risk, tries: u32) -> Need {
    Need {
        action: format!("do.{risk:?}").to_lowercase(),
        risk,
        tries,
    }
}

fn case<'c>(incident: &'c IncidentId, needs: &'c [Need], now: &'c Moment) -> Case<'c> {
    Case {
        incident,
        service: "shop",
        instances: 4,
        needs,
        digest: DIGEST,
        allow: &[],
        in_hand: 0,
        by_hand: false,
        now,
    }
}

fn rules() -> Governance {
    Governance {
        actions: 6,
        window_ms: 1_000,
        answer_ms: 5_000,
        ..Governance::default()
    }
}

#[test]
fn an_action_that_nobody_describes_is_the_riskiest_and_every_step_and_check_counts() {
    let info = |name: &str, risk| ActionInfo {
        name: name.to_owned(),
        summary: String::new(),
        params: Vec::new(),
        outputs: Vec::new(),
        risk,
        undoable: false,
    };
    let actions = [info("do.look", Risk::None), info("do.low", Risk::Low)];
    let text = "id: p\nversion: 1\ndescription: d\ntriggers: [{ finding: f }]\nsteps:\n\
                - { id: a, action: do.low, retries: 2, verify: [{ action: do.look }] }\n\
                - { id: b, action: do.unknown, undo: { action: do.low } }\n\
                branches:\n  critical: [{ id: c, action: do.look }]\n";
    let playbook = crate::playbook::read(text, "p").unwrap().playbook;
    let risks = |severity| -> Vec<(String, Risk, u32)> {
        let found = needs(&playbook, severity, &actions).into_iter();
        found
            .map(|need| (need.action, need.risk, need.tries))
            .collect()
    };
    assert_eq!(
        risks(Severity::Major),
        [
            ("do.low".to_owned(), Risk::Low, 3),
            ("do.unknown".to_owned(), Risk::High, 1),
            ("do.low".to_owned(), Risk::Low, 0)
        ]
    );
    assert_eq!(risks(Severity::Critical), []);
}

#[test]
fn what_changes_nothing_runs_under_every_order() {
    let mut book = Book::default();
    book.order(&Order::KillSwitch { on: true }, &given(0));
    book.order(
        &Order::Mode {
            mode: Some(Mode::Observe),
        },
        &given(0),
    );
    book.order(
        &Order::Freeze {
            on: true,
            for_ms: None,
        },
        &given(0),
    );
    let (id, now) = ("inc-1".into(), at(5));
    assert_eq!(judge(&book, &rules(), &case(&id, &[], &now)), Verdict::Go);
}

#[test]
fn the_kill_switch_goes_before_the_mode_and_that_before_a_freeze() {
    let (id, now, needs) = ("inc-1".into(), at(5), [need(Risk::Low, 1)]);
    let mut book = Book::default();
    let verdict = |book: &Book| judge(book, &rules(), &case(&id, &needs, &now));
    assert_eq!(verdict(&book), Verdict::Go);
    book.order(
        &Order::Freeze {
            on: true,
            for_ms: Some(60_000),
        },
        &given(0),
    );
    assert!(
        matches!(verdict(&book), Verdict::Hold(_, why) if why.contains("frozen") && why.contains("60 s"))
    );
    book.order(
        &Order::Mode {
            mode: Some(Mode::Observe),
        },
        &given(0),
    );
    assert_eq!(verdict(&book), Verdict::Observe);
    book.order(&Order::KillSwitch { on: true }, &given(0));
    assert!(
        matches!(verdict(&book), Verdict::Hold(_, why) if why.contains("kill switch") && why.contains("uid 7"))
    );
    book.order(&Order::KillSwitch { on: false }, &given(1));
    book.order(&Order::Mode { mode: None }, &given(1));
    book.order(
        &Order::Freeze {
            on: false,
            for_ms: None,
        },
        &given(1),
    );
    assert_eq!(verdict(&book), Verdict::Go);
}

#[test]
fn a_freeze_ends_by_itself_and_no_change_of_the_wall_clock_ends_it_before() {
    let mut book = Book::default();
    book.order(
        &Order::Freeze {
            on: true,
            for_ms: Some(10_000),
        },
        &given(0),
    );
    let (id, needs) = ("inc-1".into(), [need(Risk::Low, 1)]);
    let verdict = |now: &Moment| judge(&book, &rules(), &case(&id, &needs, now));
    let jumped = Moment {
        wall: u64::MAX,
        ..at(9_999)
    };
    assert!(matches!(verdict(&jumped), Verdict::Hold(..)));
    assert_eq!(verdict(&at(10_000)), Verdict::Go);
    let rebooted = Moment {
        boot: "next".to_owned(),
        steady: 3,
        wall: 1_000_000 + 9_000,
    };
    assert!(matches!(verdict(&rebooted), Verdict::Hold(..)));
}

#[test]
fn the_riskier_tiers_are_asked_about_unless_the_rules_the_service_or_a_person_let_them_run() {
    let (id, now) = (IncidentId::from("inc-1"), at(5));
    let needs = [need(Risk::Low, 1), need(Risk::Medium, 1)];
    let book = Book::default();
    let asks = |rules: &Governance, change: &dyn Fn(&mut Case<'_>)| {
        let mut case = case(&id, &needs, &now);
        change(&mut case);
        judge(&book, rules, &case)
    };
    let Verdict::Ask(asked) = asks(&rules(), &|_| {}) else {
        panic!("not asked")
    };
    assert_eq!(asked, [need(Risk::Medium, 1)]);
    let allowed = ["do.medium".to_owned()];
    let all = ["do.*".to_owned()];
    let other = ["d.*".to_owned(), "do.med".to_owned()];
    let lenient = Governance {
        allow: allowed.to_vec(),
        ..rules()
    };
    assert_eq!(asks(&lenient, &|_| {}), Verdict::Go);
    assert_eq!(
        asks(
            &Governance {
                ask: None,
                ..rules()
            },
            &|_| {}
        ),
        Verdict::Go
    );
    assert_eq!(
        asks(
            &Governance {
                ask: Some(Risk::High),
                ..rules()
            },
            &|_| {}
        ),
        Verdict::Go
    );
    assert_eq!(asks(&rules(), &|case| case.by_hand = true), Verdict::Go);
    let with = |allow: &[String]| {
        judge(
            &book,
            &rules(),
            &Case {
                allow,
                ..case(&id, &needs, &now)
            },
        )
    };
    assert_eq!(with(&all), Verdict::Go);
    assert!(matches!(with(&other), Verdict::Ask(_)));
}

#[test]
fn an_answer_is_about_one_playbook_as_it_was_and_for_one_run() {
    let (id, now, needs) = (IncidentId::from("inc-1"), at(5), [need(Risk::Medium, 1)]);
    let mut book = Book::default();
    let verdict = |book: &Book, digest: &str| {
        judge(
            book,
            &rules(),
            &Case {
                digest,
                ..case(&id, &needs, &now)
            },
        )
    };
    let playbook = "mend".into();
    let asked = book
        .ask(&id, "shop-1", (&playbook, DIGEST), needs.to_vec(), &now)
        .unwrap();
    assert_eq!(verdict(&book, DIGEST), Verdict::Pending(asked.id.clone()));
    assert!(book.answer("apr-9", true, &given(6)).is_err());
    book.answer("inc-1", true, &given(6)).unwrap();
    assert!(
        book.answer(&asked.id, false, &given(6))
            .unwrap_err()
            .contains("approved")
    );
    assert_eq!(verdict(&book, DIGEST), Verdict::Go);
    assert!(matches!(verdict(&book, "edited"), Verdict::Ask(_)));
    let spent = Spent {
        run: "inc-1/1".into(),
        target: "shop-1".into(),
        service: "shop".into(),
        actions: 1,
        at: at(6),
    };
    book.begin(spent, &id, DIGEST);
    assert!(
        matches!(verdict(&book, DIGEST), Verdict::Ask(_)),
        "it ran once"
    );
    let again = book
        .ask(&id, "shop-1", (&playbook, DIGEST), needs.to_vec(), &now)
        .unwrap();
    book.answer(&again.id, false, &given(7)).unwrap();
    assert!(
        matches!(verdict(&book, DIGEST), Verdict::Never(why) if why.contains("denied by uid 7 (a move)"))
    );
}

#[test]
fn a_question_nobody_answers_is_closed_and_one_of_a_finished_incident_is_withdrawn() {
    let (one, two) = (IncidentId::from("inc-1"), IncidentId::from("inc-2"));
    let (needs, playbook) = ([need(Risk::High, 1)], "mend".into());
    let mut book = Book::default();
    for id in [&one, &two] {
        book.ask(id, "shop-1", (&playbook, DIGEST), needs.to_vec(), &at(0))
            .unwrap();
    }
    assert_eq!(
        book.withdraw(&two, &at(1)).unwrap().answer,
        Answer::Withdrawn
    );
    assert!(book.expire(&rules(), &at(4_999)).is_empty());
    assert_eq!(book.expire(&rules(), &at(5_000)).len(), 1);
    let now = at(5_001);
    assert!(matches!(
        judge(&book, &rules(), &case(&one, &needs, &now)),
        Verdict::Never(_)
    ));
    assert!(matches!(
        judge(&book, &rules(), &case(&two, &needs, &now)),
        Verdict::Ask(_)
    ));
}

#[test]
fn at_least_one_instance_may_be_in_hand_and_never_more_than_the_share() {
    let (id, now, needs) = ("inc-1".into(), at(5), [need(Risk::Low, 1)]);
    let go = |instances, in_hand, blast_percent| {
        let rules = Governance {
            blast_percent,
            ..rules()
        };
        let case = Case {
            instances,
            in_hand,
            ..case(&id, &needs, &now)
        };
        judge(&Book::default(), &rules, &case) == Verdict::Go
    };
    assert!(go(1, 0, 1) && !go(1, 1, 1));
    assert!(go(6, 2, 50) && !go(6, 3, 50));
    assert!(go(3, 1, 50) && !go(3, 2, 50), "rounded up");
    assert!(go(0, 0, 50), "a service that is gone");
}

#[test]
fn a_playbook_that_no_limit_will_ever_pass_is_told_at_once() {
    let (id, now, needs) = ("inc-1".into(), at(5), [need(Risk::Low, 7)]);
    let verdict = judge(&Book::default(), &rules(), &case(&id, &needs, &now));
    assert!(
        matches!(verdict, Verdict::Never(why) if why.contains("7 changes") && why.contains("`actions`"))
    );
}

#[test]
fn answers_are_forgotten_and_questions_bounded_and_those_that_wait_are_kept() {
    let playbook = "mend".into();
    let mut book = Book::default();
    let first = book
        .ask(
            &"inc-0".into(),
            "shop-1",
            (&playbook, DIGEST),
            Vec::new(),
            &at(0),
        )
        .unwrap();
    for n in 1..500 {
        let id = IncidentId(format!("inc-{n}"));
        book.ask(&id, "shop-1", (&playbook, DIGEST), Vec::new(), &at(n))
            .unwrap();
        book.answer(id.as_str(), false, &given(n)).unwrap();
    }
    assert!(
        book.approvals.len() <= KEPT_ANSWERS + 2,
        "{}",
        book.approvals.len()
    );
    assert!(book.pending().any(|one| one.id == first.id));
    for n in 500..500 + MOST_PENDING as u64 {
        let id = IncidentId(format!("inc-{n}"));
        let _ = book.ask(&id, "shop-1", (&playbook, DIGEST), Vec::new(), &at(n));
    }
    assert_eq!(book.pending().count(), MOST_PENDING);
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Act {
    Pass(u64),
    Kill(bool),
    Mode(Option<Mode>),
    Freeze(bool, Option<u64>),
    Answer(u8, bool),
    /// A playbook wants to run: incident, risk, tries, by hand.
    Want(u8, Risk, u32, bool),
    /// The oldest run that is not over ends.
    End,
    /// The process dies and reads the book back.
    Die,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let risk = prop_oneof![Just(Risk::Low), Just(Risk::Medium), Just(Risk::High)];
    let mode = prop_oneof![
        Just(None),
        Just(Some(Mode::Observe)),
        Just(Some(Mode::Heal))
    ];
    let act = prop_oneof![
        3 => (0..900_u64).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::Kill),
        1 => mode.prop_map(Act::Mode),
        1 => (any::<bool>(), prop::option::of(0..2_000_u64)).prop_map(|(on, ms)| Act::Freeze(on, ms)),
        3 => (0..4_u8, any::<bool>()).prop_map(|(n, yes)| Act::Answer(n, yes)),
        9 => (0..4_u8, risk, 1..4_u32, prop::bool::weighted(0.2)).prop_map(|(n, risk, tries, hand)| Act::Want(n, risk, tries, hand)),
        3 => Just(Act::End),
        1 => Just(Act::Die),
    ];
    prop::collection::vec(act, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_order_of_events_gets_past_a_rule_and_a_death_forgets_nothing(acts in acts()) {
        let rules = rules();
        let mut book = Book::default();
        let mut now = 0_u64;
        // Kept beside the book, by the test alone.
        let mut begun: Vec<(u64, u32)> = Vec::new();
        let mut yes = [0_u32; 4];
        let mut running: Vec<Spent> = Vec::new();
        let (mut killed, mut mode, mut frozen) = (false, None, None::<(u64, Option<u64>)>);
        let mut runs = 0;
        for act in acts {
            let ids: Vec<IncidentId> = (0..4).map(|n| IncidentId(format!("inc-{n}"))).collect();
            match act {
                Act::Pass(ms) => now += ms,
                Act::Kill(on) => { killed = on; book.order(&Order::KillSwitch { on }, &given(now)); }
                Act::Mode(wanted) => { mode = wanted; book.order(&Order::Mode { mode: wanted }, &given(now)); }
                Act::Freeze(on, for_ms) => {
                    frozen = on.then_some((now, for_ms));
                    book.order(&Order::Freeze { on, for_ms }, &given(now));
                }
                Act::Answer(n, approve) => {
                    let n = usize::from(n);
                    if book.answer(ids[n].as_str(), approve, &given(now)).is_ok() && approve {
                        yes[n] += 1;
                    }
                }
                Act::Die => {
                    let stored = serde_json::to_string(&book).unwrap();
                    book = serde_json::from_str(&stored).unwrap();
                }
                Act::End => { if !running.is_empty() { running.remove(0); } }
                Act::Want(n, risk, tries, by_hand) => {
                    let n = usize::from(n);
                    let (needs, moment) = ([need(risk, tries)], at(now));
                    let in_hand = u32::try_from(running.len()).unwrap();
                    let mut case = case(&ids[n], &needs, &moment);
                    (case.in_hand, case.by_hand) = (in_hand, by_hand);
                    book.expire(&rules, &moment);
                    book.tidy(&rules, &moment, &|spent| running.contains(spent));
                    match judge(&book, &rules, &case) {
                        Verdict::Go => {
                            prop_assert!(!killed, "the kill switch was thrown");
                            prop_assert!(by_hand || mode != Some(Mode::Observe));
                            let holds = frozen.is_some_and(|(at, for_ms)| for_ms.is_none_or(|ms| now - at < ms));
                            prop_assert!(!holds, "changes are frozen");
                            prop_assert!(in_hand < 2, "more than half of four");
                            if risk >= Risk::Medium && !by_hand {
                                prop_assert!(yes[n] > 0, "nobody said yes");
                                yes[n] -= 1;
                            }
                            runs += 1;
                            let spent = Spent { run: format!("{}/{runs}", ids[n]).into(), target: "shop-1".into(),
                                service: "shop".into(), actions: Book::price(&needs), at: moment.clone() };
                            running.push(spent.clone());
                            if by_hand {
                                // It needed no answer, so it uses none up.
                                book.begin(spent, &ids[n], "by hand");
                            } else {
                                book.begin(spent, &ids[n], DIGEST);
                            }
                            begun.push((now, tries));
                            let within: u32 = begun.iter().filter(|(at, _)| now - at < rules.window_ms).map(|(_, tries)| tries).sum();
                            prop_assert!(within <= rules.actions, "{within} changes within the window");
                        }
                        Verdict::Ask(_) => {
                            let playbook = "mend".into();
                            if book.ask(&ids[n], "shop-1", (&playbook, DIGEST), needs.to_vec(), &moment).is_ok() {
                                yes[n] = 0;
                            }
                        }
                        Verdict::Observe | Verdict::Hold(..) | Verdict::Pending(_) | Verdict::Never(_) => {}
                    }
                }
            }
            prop_assert!(book.approvals.len() <= KEPT_ANSWERS + MOST_PENDING);
        }
    }
}
