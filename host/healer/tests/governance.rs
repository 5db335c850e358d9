//! Governance of a running healer: questions, orders, limits, and that none of it is forgotten.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use grace_model::config::Channel;
use grace_model::govern::{Answer, Mode, Order};
use grace_model::incident::IncidentState as S;
use grace_model::plugin::Risk;
use support::plugins::{receipt, restart};
use support::{Running, Scene, until};

const RESTART: &str = r#"
id: restart
version: 1
description: Restart it and see that it is ready.
triggers: [{ finding: instance-crash }]
cooldown: 0s
steps:
  - id: restart
    action: fleet.restart
    params: { target: "${finding.target}" }
    timeout: 20s
verify:
  - action: probe.ready
    params: { target: "${finding.target}" }
    timeout: 5s
"#;

/// A scene with the usual plugins and that playbook.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    scene
}

/// One whose restart is asked about first.
fn risky() -> Scene {
    let scene = scene();
    scene.plugins.risk("fleet.restart", Risk::Medium);
    scene
}

fn told(scene: &Scene, word: &str) -> bool {
    std::fs::read_to_string(scene.path("people.jsonl")).is_ok_and(|text| text.contains(word))
}

fn holds(healer: &Running, id: &str, rule: &str) -> bool {
    let story = healer.story(id);
    story
        .entries
        .iter()
        .any(|e| e.kind == "held" && e.body.get("rule").is_some_and(|it| it == rule))
}

#[test]
fn a_risky_playbook_waits_for_a_yes_that_is_asked_for_once_and_outlives_the_healer() {
    let mut scene = risky();
    {
        let healer = scene.start();
        scene.dies("shop-1", 9);
        until("the question", || healer.views.approvals().len() == 1);
        until("people know", || told(&scene, "grace approve apr-1"));
        let asked = healer.views.approvals().remove(0);
        assert_eq!(
            (asked.answer, asked.incident.as_str()),
            (Answer::Pending, "inc-1")
        );
        assert_eq!(asked.actions[0].action, "fleet.restart");
    }
    assert!(scene.supervisor.effects().is_empty());
    {
        // The next healer knows the question, and puts no second one.
        let healer = scene.start();
        let view = healer.views.governance();
        assert_eq!(view.pending.len(), 1);
        let error = healer.views.answer("apr-7", true, "uid 7", "").unwrap_err();
        assert!(error.contains("apr-7"), "{error}");
        healer
            .views
            .answer("apr-1", true, "uid 7", "looked at it")
            .unwrap();
    }
    let healer = scene.start();
    healer.becomes("inc-1", S::Resolved);
    assert_eq!(scene.supervisor.effects().len(), 1);
    assert_eq!(healer.views.approvals().len(), 1);
    assert_eq!(healer.views.approvals()[0].answer, Answer::Used);
    let story = healer.story("inc-1").entries;
    let given = story
        .iter()
        .find(|e| e.kind == "approval-approved")
        .unwrap();
    assert_eq!(
        (&given.body["by"], &given.body["why"]),
        (&"uid 7".into(), &"looked at it".into())
    );
    assert_eq!(
        story.iter().filter(|e| e.kind == "approval-asked").count(),
        1
    );
}

#[test]
fn a_no_leaves_the_incident_to_people_and_nothing_is_done() {
    let mut scene = risky();
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("the question", || healer.views.approvals().len() == 1);
    healer
        .views
        .answer("inc-1", false, "uid 7", "not today")
        .unwrap();
    healer.becomes("inc-1", S::Escalated);
    until("people know why", || {
        told(&scene, "denied by uid 7 (not today)")
    });
    assert!(scene.supervisor.effects().is_empty());
    let error = healer.views.answer("inc-1", true, "uid 7", "").unwrap_err();
    assert!(error.contains("denied"), "{error}");
}

#[test]
fn what_the_rules_the_service_or_a_person_by_hand_let_run_is_not_asked_about() {
    for allowed in ["rules", "service", "tier", "hand"] {
        let mut scene = risky();
        let rules = &mut scene.config.healing.governance;
        match allowed {
            "rules" => rules.allow = vec!["fleet.*".into()],
            "tier" => rules.ask = Some(Risk::High),
            "service" => scene.config.services[0].allow = vec!["fleet.restart".into()],
            _ => {}
        }
        let healer = scene.start();
        if allowed == "hand" {
            until("the fleet is known", || healer.views.fleet().is_some());
            healer
                .views
                .run_playbook("restart", "shop-1", false)
                .unwrap();
        } else {
            scene.dies("shop-1", 9);
        }
        healer.becomes("inc-1", S::Resolved);
        assert!(healer.views.approvals().is_empty(), "{allowed}");
    }
}

#[test]
fn a_question_of_an_incident_that_is_over_is_withdrawn() {
    let mut scene = risky();
    scene.timing.quiet_ms = 500;
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("the question", || healer.views.approvals().len() == 1);
    // It is ready and not seen again, so it went away by itself.
    healer.becomes("inc-1", S::Resolved);
    until("it is withdrawn", || {
        healer.views.approvals()[0].answer == Answer::Withdrawn
    });
    assert!(scene.supervisor.effects().is_empty());
}

#[test]
fn in_mode_observe_what_would_run_is_told_and_not_done_until_the_mode_changes() {
    let mut scene = scene();
    scene.config.healing.governance.mode = Mode::Observe;
    let healer = scene.start();
    scene.dies("shop-1", 9);
    let incident = healer.incident("an incident", |_| true);
    until("it is told", || holds(&healer, "inc-1", "observe"));
    assert_eq!(
        (incident.playbook, scene.supervisor.effects().len()),
        (None, 0)
    );
    let order = Order::Mode {
        mode: Some(Mode::Heal),
    };
    let view = healer.views.order(&order, "uid 7", "").unwrap();
    assert_eq!((view.mode, view.mode_by_command), (Mode::Heal, true));
    healer.becomes("inc-1", S::Resolved);
    assert_eq!(scene.supervisor.effects().len(), 1);
}

#[test]
fn a_freeze_holds_every_change_also_by_hand_outlives_the_healer_and_its_end_lets_go() {
    let mut scene = scene();
    {
        let healer = scene.start();
        let order = Order::Freeze {
            on: true,
            for_ms: Some(3_600_000),
        };
        healer.views.order(&order, "uid 7", "the move").unwrap();
    }
    let healer = scene.start();
    until("the fleet is known", || healer.views.fleet().is_some());
    let left = healer.views.governance().freeze_left_ms.unwrap();
    assert!((1..=3_600_000).contains(&left), "{left}");
    scene.dies("shop-1", 9);
    until("it is held", || {
        !healer.views.incidents().is_empty() && holds(&healer, "inc-1", "freeze")
    });
    let error = healer
        .views
        .run_playbook("restart", "shop-2", false)
        .unwrap_err();
    assert!(
        error.contains("frozen") && error.contains("the move"),
        "{error}"
    );
    assert_eq!(
        healer.views.incidents().len(),
        1,
        "a refused run leaves no incident"
    );
    assert!(scene.supervisor.effects().is_empty());
    let order = Order::Freeze {
        on: false,
        for_ms: None,
    };
    healer.views.order(&order, "uid 7", "").unwrap();
    healer.becomes("inc-1", S::Resolved);
    let held = healer
        .kinds("inc-1")
        .iter()
        .filter(|kind| *kind == "held")
        .count();
    assert_eq!(held, 1, "it is told once");
}

#[test]
fn the_kill_switch_ends_a_run_between_two_steps_and_takes_nothing_back() {
    let mut scene = scene();
    let two = RESTART.replace(
        "verify:",
        "  - id: again\n    action: fleet.restart\n    params: { target: \"${finding.target}\" }\n    timeout: 20s\nverify:",
    );
    scene.playbook("restart.yaml", &two);
    let (begun, go_on) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (own_begun, own_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    scene
        .plugins
        .action("fleet.restart", true, move |call, port| {
            own_begun.fetch_add(1, Ordering::AcqRel);
            until("the test lets go", || own_go_on.load(Ordering::Acquire));
            restart(call, port)
        });
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("the first step runs", || begun.load(Ordering::Acquire) == 1);
    healer
        .views
        .order(&Order::KillSwitch { on: true }, "uid 7", "")
        .unwrap();
    go_on.store(true, Ordering::Release);
    healer.becomes("inc-1", S::Escalated);
    assert_eq!(begun.load(Ordering::Acquire), 1, "the second step ran");
    assert!(scene.plugins.undone.lock().unwrap().is_empty());
    let story = healer.story("inc-1").entries;
    let ended = story.iter().find(|e| e.kind == "run-ended").unwrap();
    assert!(
        ended.body["end"]["reason"]
            .as_str()
            .unwrap()
            .contains("kill switch")
    );
    assert!(
        ended.body["left_behind"][0]
            .as_str()
            .unwrap()
            .starts_with("restart:")
    );
}

#[test]
fn no_more_of_a_service_is_in_hand_at_once_than_the_rules_allow() {
    let mut scene = scene();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let go_on = Arc::new(AtomicBool::new(false));
    let (own_now, own_most, own_go_on) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&go_on));
    scene
        .plugins
        .action("fleet.restart", true, move |call, port| {
            let at_once = own_now.fetch_add(1, Ordering::AcqRel) + 1;
            own_most.fetch_max(at_once, Ordering::AcqRel);
            until("the test lets go", || own_go_on.load(Ordering::Acquire));
            own_now.fetch_sub(1, Ordering::AcqRel);
            restart(call, port)
        });
    // Half of two is one.
    let healer = scene.start();
    scene.dies("shop-1", 9);
    scene.dies("shop-2", 9);
    until("one runs and the other is held", || {
        healer.views.incidents().len() == 2
            && ["inc-1", "inc-2"]
                .iter()
                .any(|id| holds(&healer, id, "blast-radius"))
    });
    let locks = healer.views.governance().locks;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert!(locks[0].run.is_some());
    go_on.store(true, Ordering::Release);
    healer.becomes("inc-1", S::Resolved);
    healer.becomes("inc-2", S::Resolved);
    assert_eq!(most.load(Ordering::Acquire), 1);
}

#[test]
fn more_changes_than_the_rules_allow_wait_and_a_restart_of_the_healer_gives_none_back() {
    let mut scene = scene();
    let rules = &mut scene.config.healing.governance;
    // The fake probe counts as a change too, since it says that it is one.
    (rules.actions, rules.window_ms) = (2, 3_600_000);
    {
        let healer = scene.start();
        scene.dies("shop-1", 9);
        healer.becomes("inc-1", S::Resolved);
    }
    let healer = scene.start();
    scene.dies("shop-2", 9);
    until("it is held", || {
        healer.views.incidents().len() == 2 && holds(&healer, "inc-2", "rate")
    });
    assert_eq!(healer.views.governance().actions_in_window, 2);
    assert_eq!(scene.supervisor.effects().len(), 1);
}

#[test]
fn an_incident_that_comes_back_too_often_is_a_persons() {
    let mut scene = scene();
    scene.config.healing.governance.flaps = 2;
    let healer = scene.start();
    for back in 0..2 {
        scene.dies("shop-1", 9);
        healer.incident("healed again", |i| {
            i.state == S::Resolved && i.recurrences == back
        });
    }
    assert_eq!(scene.supervisor.effects().len(), 2);
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    assert_eq!(scene.supervisor.effects().len(), 2);
    until("people know", || told(&scene, "came back 2 times"));
}

#[test]
fn what_did_not_help_is_undone_unless_its_playbook_says_that_it_stays() {
    for (says, undone) in [("", 1), ("on_failure: [{ rollback: none }]\n", 0)] {
        let mut scene = scene();
        let text = RESTART.replace("probe.ready", "probe.never") + says;
        scene.playbook("restart.yaml", &text);
        let healer = scene.start();
        scene.dies("shop-1", 9);
        healer.becomes("inc-1", S::Escalated);
        assert_eq!(
            scene.plugins.undone.lock().unwrap().len(),
            undone,
            "{says:?}"
        );
    }
}

#[test]
fn a_step_that_changed_nothing_or_left_no_way_back_is_not_undone() {
    let mut scene = scene();
    let text = RESTART.replace("probe.ready", "probe.never");
    scene.playbook("restart.yaml", &text);
    scene.plugins.action("fleet.restart", true, |_, _| {
        Ok(grace_model::plugin::Receipt {
            undo: Vec::new(),
            ..receipt(true)
        })
    });
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    assert!(scene.plugins.undone.lock().unwrap().is_empty());
}

#[test]
fn a_webhook_that_hangs_holds_nobody_up_and_that_it_was_not_told_is_in_the_story() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", silent.local_addr().unwrap());
    let mut scene = scene();
    scene.config.notify.insert(
        "hook".into(),
        Channel::Webhook {
            url,
            token_file: None,
        },
    );
    scene.playbook(
        "restart.yaml",
        &RESTART.replace("instance-crash", "another"),
    );
    scene.timing.escalate_ms = 50;
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    until("the others are told", || told(&scene, "inc-1"));
    scene.dies("shop-2", 9);
    healer.becomes("inc-2", S::Escalated);
    until("that nobody took it is written down", || {
        healer.story("inc-1").entries.iter().any(|e| {
            e.kind == "not-told"
                && e.body["channel"] == "hook"
                && e.body["problem"]
                    .as_str()
                    .unwrap()
                    .contains("no answer within")
        })
    });
    let story = healer.story("inc-1").entries;
    assert!(
        story
            .iter()
            .any(|e| e.kind == "told" && e.body["channel"] == "people")
    );
}

#[test]
fn every_order_is_in_the_ledger_with_who_and_why_and_one_that_changes_nothing_is_not() {
    use grace_ledger::Queries;
    let scene = scene();
    let healer = scene.start();
    for _ in 0..2 {
        let order = Order::KillSwitch { on: true };
        healer.views.order(&order, "uid 7", "smoke").unwrap();
    }
    drop(healer);
    let ledger = grace_ledger::Reader::open(&scene.layout.ledger()).unwrap();
    let entries = ledger.latest_of_kind("governance", 10).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].body["by"], "uid 7");
    assert_eq!(entries[0].body["why"], "smoke");
    assert_eq!(entries[0].body["order"]["order"], "kill-switch");
}
