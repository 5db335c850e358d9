//! From a journalled event to a healed instance, and everything that may come in between.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grace_healer::Clock;
use grace_model::incident::IncidentState as S;
use grace_model::instance::State;
use support::clock::MovedClock;
use support::plugins::restart;
use support::{Scene, until};

const RESTART: &str = r#"
id: restart
version: 1
description: Restart it and see that it is ready.
triggers: [{ finding: instance-crash }]
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

const HOPELESS: &str = r#"
id: hopeless
version: 1
description: Restart it and be told that it is still sick.
triggers: [{ finding: instance-crash }]
steps:
  - id: restart
    action: fleet.restart
    params: { target: "${finding.target}" }
    timeout: 20s
    undo: auto
verify:
  - action: probe.never
    params: { target: "${finding.target}" }
    timeout: 5s
on_failure: [{ rollback: all }, { escalate: people }]
"#;

#[test]
fn a_death_becomes_an_incident_that_its_playbook_heals_and_the_story_tells_all() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    let incident = healer.becomes("inc-1", S::Resolved);
    assert_eq!(incident.target, "shop-1");
    assert_eq!(incident.playbook.as_ref().unwrap().as_str(), "restart");
    assert!(incident.resolved_at.is_some());
    assert_eq!(
        healer.kinds("inc-1"),
        [
            "finding",
            "open",
            "diagnosing",
            "run-started",
            "healing",
            "step-started",
            "step-done",
            "run-stage",
            "verifying",
            "step-started",
            "step-done",
            "run-ended",
            "resolved"
        ]
    );
    for entry in healer.story("inc-1").entries {
        if ["incident", "step-done", "run-ended"].contains(&entry.kind.as_str()) {
            assert!(entry.body["duration_ms"].is_u64(), "{entry:?}");
        }
    }
    assert_eq!(scene.supervisor.effects(), ["inc-1/1/restart/1/0"]);
    let book = healer.views.playbooks().remove(0);
    assert_eq!(
        (book.id.as_str(), book.succeeded, book.failed),
        ("restart", 1, 0)
    );
    let kernels = healer.views.kernels();
    let names: Vec<&str> = kernels.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ledger",
            "fleet-watch",
            "resources",
            "registry",
            "governance",
            "recognizer",
            "capsules",
            "triggers",
            "healer"
        ]
    );
    assert!(kernels.iter().all(|k| k.state == "running"));
    let triggers = kernels.iter().find(|k| k.name == "triggers").unwrap();
    assert!(triggers.work_done > 0);
}

#[test]
fn a_run_whose_verification_fails_is_taken_back_and_a_person_is_told() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("hopeless.yaml", HOPELESS);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    assert_eq!(*scene.plugins.undone.lock().unwrap(), ["fleet.restart"]);
    let told = std::fs::read_to_string(scene.path("people.jsonl")).unwrap();
    let told: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!(told["incident"], "inc-1");
    assert!(
        told["text"].as_str().unwrap().contains("still sick"),
        "{told}"
    );
    let book = healer.views.playbooks().remove(0);
    assert_eq!((book.succeeded, book.failed), (0, 1));
}

#[test]
fn an_escalated_incident_that_still_comes_is_tried_again_later() {
    let mut scene = Scene::new();
    scene.timing.escalate_ms = 200;
    scene.plugins.usual();
    scene.playbook("hopeless.yaml", &format!("{HOPELESS}cooldown: 0s\n"));
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    scene.plugins.action("probe.never", false, |_, _| {
        Ok(support::plugins::receipt(false))
    });
    scene.dies("shop-1", 9);
    let healed = healer.becomes("inc-1", S::Resolved);
    assert_eq!(healed.run.unwrap().as_str(), "inc-1/2");
    assert_eq!(healed.recurrences, 0, "it was never over in between");
}

#[test]
fn the_same_failure_is_one_incident_and_another_instance_has_its_own() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    let healer = scene.start();
    for _ in 0..5 {
        scene.dies("shop-1", 9);
    }
    scene.dies("shop-2", 9);
    let first = healer.incident("five findings", |i| i.findings == 5);
    let other = healer.incident("the other", |i| i.target == "shop-2");
    assert_eq!(first.signature, other.signature, "the same failure");
    assert_ne!(first.id, other.id);
    assert_eq!(healer.views.incidents().len(), 2);
    assert_eq!(first.state, S::Open, "no playbook is for it");
}

#[test]
fn what_comes_back_soon_is_the_same_incident_and_a_cooldown_holds_its_playbook() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", &format!("{RESTART}cooldown: 1h\n"));
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Resolved);
    scene.dies("shop-1", 9);
    let again = healer.incident("it came back", |i| i.recurrences == 1);
    assert_eq!((again.id.as_str(), again.findings), ("inc-1", 2));
    // Another incident is healed meanwhile, so the loop did look at this one.
    scene.dies("shop-2", 9);
    healer.becomes("inc-2", S::Resolved);
    assert_eq!(healer.becomes("inc-1", S::Open).recurrences, 1);
    assert_eq!(scene.supervisor.effects().len(), 2);
    drop(healer);
    // The cooldown outlives the process.
    let healer = scene.start();
    scene.dies("shop-2", 9);
    healer.incident("shop-2 again", |i| {
        i.target == "shop-2" && i.recurrences == 1
    });
    assert_eq!(scene.supervisor.effects().len(), 2);
}

#[test]
fn a_wall_clock_that_jumps_ends_no_cooldown_while_the_healer_is_away() {
    let mut scene = Scene::new();
    let clock = Arc::new(MovedClock::new());
    scene.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    scene.plugins.usual();
    scene.playbook("restart.yaml", &format!("{RESTART}cooldown: 1h\n"));
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Resolved);
    drop(healer);
    clock.wall.fetch_add(86_400_000, Ordering::Relaxed);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    let held = |i: &grace_model::incident::Incident| i.target == "shop-1" && i.state == S::Open;
    healer.incident("it came back", held);
    // Another incident is healed meanwhile, so the loop did look at this one.
    scene.dies("shop-2", 9);
    healer.incident("the other", |i| {
        i.target == "shop-2" && i.state == S::Resolved
    });
    healer.incident("it is still held", held);
    assert_eq!(scene.supervisor.effects().len(), 2);
    drop(healer);
    // The machine was started again just now: what the wall says is all that is known.
    clock.boots.fetch_add(1, Ordering::Relaxed);
    let since_start = i64::try_from(clock.steady_ms()).unwrap();
    clock.steady.fetch_sub(since_start, Ordering::Relaxed);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("it is healed", || scene.supervisor.effects().len() == 3);
    drop(healer);
}

#[test]
fn an_instance_that_dies_again_and_again_is_healed_every_time() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.config.healing.governance.flaps = 1_000;
    scene.playbook("restart.yaml", &format!("{RESTART}cooldown: 0s\n"));
    let healer = scene.start();
    for recurrences in 0..20 {
        scene.dies("shop-1", 9);
        healer.incident("healed again", |i| {
            i.recurrences == recurrences && i.state == S::Resolved
        });
    }
    assert_eq!(scene.supervisor.effects().len(), 20);
    assert_eq!(healer.views.incidents().len(), 1);
}

#[test]
fn what_comes_back_late_is_a_new_incident() {
    let mut scene = Scene::new();
    scene.config.healing.reopen_ms = 0;
    scene.plugins.usual();
    scene.playbook("restart.yaml", &format!("{RESTART}cooldown: 0s\n"));
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Resolved);
    until("the next millisecond", {
        let since = std::time::Instant::now();
        move || since.elapsed().as_millis() > 5
    });
    scene.dies("shop-1", 9);
    healer.becomes("inc-2", S::Resolved);
}

#[test]
fn a_second_finding_about_a_target_in_work_is_attached_and_runs_nothing_until_it_comes_again() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    let (entered, go_on) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (own_entered, own_go_on) = (Arc::clone(&entered), Arc::clone(&go_on));
    scene.plugins.action("fleet.wait", false, move |_, _| {
        own_entered.store(true, Ordering::Release);
        until("told to go on", || own_go_on.load(Ordering::Acquire));
        Ok(support::plugins::receipt(true))
    });
    scene.playbook("wait.yaml", &RESTART.replace("fleet.restart", "fleet.wait"));
    let errors = RESTART
        .replace("id: restart", "id: errors")
        .replace("instance-crash", "error-rate");
    scene.playbook("errors.yaml", &errors);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("the playbook runs", || entered.load(Ordering::Acquire));
    scene.errs("shop-1");
    scene.errs("shop-1");
    until("the other finding is attached", || {
        healer.kinds("inc-1").contains(&"related".to_owned())
    });
    assert_eq!(healer.views.incidents().len(), 1);
    assert!(scene.supervisor.effects().is_empty());
    go_on.store(true, Ordering::Release);
    healer.becomes("inc-1", S::Resolved);
    assert_eq!(
        healer
            .kinds("inc-1")
            .iter()
            .filter(|kind| *kind == "related")
            .count(),
        1,
        "once a signature"
    );
    scene.errs("shop-1");
    let own = healer.incident("its own incident", |i| i.finding.kind == "error-rate");
    healer.becomes(own.id.as_str(), S::Resolved);
    assert_eq!(scene.supervisor.effects().len(), 1);
}

#[test]
fn what_was_attached_to_a_run_that_failed_gets_an_incident_of_its_own() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    let (entered, go_on) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (own_entered, own_go_on) = (Arc::clone(&entered), Arc::clone(&go_on));
    scene.plugins.action("probe.never", false, move |_, _| {
        own_entered.store(true, Ordering::Release);
        until("told to go on", || own_go_on.load(Ordering::Acquire));
        Err(grace_model::plugin::PluginError::Other("still sick".to_owned()).into())
    });
    scene.playbook("hopeless.yaml", HOPELESS);
    let errors = RESTART
        .replace("id: restart\nversion", "id: errors\nversion")
        .replace("instance-crash", "error-rate");
    scene.playbook("errors.yaml", &errors);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("the playbook verifies", || entered.load(Ordering::Acquire));
    scene.errs("shop-1");
    until("the other finding is attached", || {
        healer.kinds("inc-1").contains(&"related".to_owned())
    });
    go_on.store(true, Ordering::Release);
    healer.becomes("inc-1", S::Escalated);
    let own = healer.incident("its own incident", |i| i.finding.kind == "error-rate");
    healer.becomes(own.id.as_str(), S::Resolved);
}

#[test]
fn without_healing_incidents_open_and_stay_open() {
    let mut scene = Scene::new();
    scene.config.healing.playbooks = false;
    scene.timing.quiet_ms = 0;
    scene.timing.escalate_ms = 0;
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Open);
    scene.dies("shop-2", 9);
    healer.becomes("inc-2", S::Open);
    until("the healer has looked often", || {
        let healer = healer
            .views
            .kernels()
            .into_iter()
            .find(|k| k.name == "triggers")
            .unwrap();
        healer.work_done > 6
    });
    assert_eq!(healer.becomes("inc-1", S::Open).playbook, None);
    assert!(scene.supervisor.asked().is_empty());
}

#[test]
fn without_action_packs_no_playbook_can_be_used_and_the_incident_becomes_a_persons() {
    let mut scene = Scene::new();
    scene.timing.escalate_ms = 50;
    scene.plugins.usual();
    scene.plugins.remove_actions();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    let book = healer.views.playbooks().remove(0);
    assert!(book.error.unwrap().contains("no action pack is live"));
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    let story = healer.story("inc-1");
    // Behind it may stand already who was told.
    let last = story
        .entries
        .iter()
        .rfind(|e| e.kind == "incident")
        .unwrap();
    assert!(
        last.body["why"].as_str().unwrap().contains("no playbook"),
        "{last:?}"
    );
    until("people are told", || scene.path("people.jsonl").exists());
}

#[test]
fn an_incident_that_nothing_heals_goes_away_with_its_cause_but_not_before_its_target_is_ready() {
    let mut scene = Scene::new();
    scene.timing.quiet_ms = 100;
    scene.plugins.usual();
    scene.supervisor.set_state("shop-1", State::Degraded);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    scene.dies("shop-2", 9);
    let quiet = healer.incident("the ready one is over", |i| {
        i.target == "shop-2" && i.state == S::Resolved
    });
    assert_eq!(quiet.playbook, None);
    let sick = healer.incident("the other", |i| i.target == "shop-1");
    assert_eq!(sick.state, S::Open);
    scene.supervisor.set_state("shop-1", State::Ready);
    healer.becomes(sick.id.as_str(), S::Resolved);
    let story = healer.story(sick.id.as_str());
    assert_eq!(
        story.entries.last().unwrap().body["why"],
        "went away by itself"
    );
}

#[test]
fn a_supervisor_that_dies_after_the_effect_is_asked_again_under_the_same_id() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    scene.supervisor.is_away_for(2);
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Resolved);
    assert_eq!(scene.supervisor.asked(), ["inc-1/1/restart/1/0"; 3]);
    assert_eq!(scene.supervisor.effects().len(), 1);
}

#[test]
fn an_action_whose_component_is_disabled_in_the_middle_of_a_run_fails_the_run_and_people_are_told()
{
    let mut scene = Scene::new();
    scene.plugins.usual();
    let plugins = Arc::downgrade(&scene.plugins);
    scene
        .plugins
        .action("fleet.restart", true, move |call, port| {
            let done = restart(call, port);
            // After the effect: what is left of the run has no component any more.
            if let Some(plugins) = plugins.upgrade() {
                plugins.remove_actions();
            }
            done
        });
    let text = format!("{RESTART}on_failure: [{{ rollback: all }}, {{ escalate: people }}]\n");
    scene.playbook("restart.yaml", &text);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Escalated);
    assert_eq!(scene.supervisor.effects(), ["inc-1/1/restart/1/0"]);
    let story = healer.story("inc-1");
    let why = story.entries.last().unwrap().body["why"].to_string();
    assert!(
        why.contains("no live action pack has the action probe.ready"),
        "{why}"
    );
    until("people are told", || scene.path("people.jsonl").exists());
}

#[test]
fn old_incidents_are_let_go_and_the_healer_forgets_them_too() {
    let mut scene = Scene::new();
    scene.timing.keep_ms = 0;
    scene.timing.prune_ms = 50;
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    scene.dies("shop-1", 9);
    until("it came and went", || {
        scene.supervisor.effects().len() == 1 && healer.views.incidents().is_empty()
    });
    assert!(healer.views.story("inc-1").is_none());
    // The next one is another one.
    scene.dies("shop-1", 9);
    until("the next one too", || {
        scene.supervisor.effects().len() == 2 && healer.views.incidents().is_empty()
    });
    assert_eq!(
        scene.supervisor.effects(),
        ["inc-1/1/restart/1/0", "inc-2/1/restart/1/0"]
    );
    drop(healer);
    let ledger = grace_ledger::Reader::open(&scene.layout.ledger()).unwrap();
    grace_ledger::Queries::verify(&ledger).unwrap();
}
