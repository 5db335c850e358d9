//! Deaths of the healer at chosen points, clocks that jump, ledgers that break: nothing is
//! lost, nothing is done twice, nothing stays stuck.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that falls has failed, as it should"
)]

mod support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use grace_healer::{Options, start_with};
use grace_model::config::Config;
use grace_model::incident::IncidentState as S;
use grace_model::layout::Layout;
use grace_model::plugin::Observed;
use grace_model::port::{CallFailure, PluginHost};
use support::clock::MovedClock;
use support::plugins::{FakePlugins, findings, number, receipt, restart};
use support::{Running, Scene, until};

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

/// Where the child is told to die.
const DIE: &str = "GRACE_HEALER_TEST_DIE";
/// The configuration that the child is given.
const CONFIG: &str = "GRACE_HEALER_TEST_CONFIG";

/// Not a test of its own: the healer that [`killed_at`] starts and that kills itself.
#[test]
#[ignore = "run as a child by the tests beside it"]
fn the_child_that_dies() {
    let Ok(path) = std::env::var(CONFIG) else {
        return;
    };
    let config: Config = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let die = std::env::var(DIE).unwrap();
    let plugins = FakePlugins::default();
    plugins.usual();
    plugins.action("fleet.restart", true, move |call, port| {
        if die == "before-effect" {
            std::process::abort();
        }
        let receipt = restart(call, port)?;
        if die == "after-effect" {
            std::process::abort();
        }
        Ok(receipt)
    });
    let layout = Layout::new(&config.state_dir);
    let plugins = Arc::new(plugins) as Arc<dyn PluginHost>;
    let healer = start_with(config, layout, plugins, &[], Options::default()).unwrap();
    healer.run_until_shutdown(|| false).unwrap();
}

/// A healer in a process of its own that dies in the middle of the restart action.
fn killed_at(scene: &Scene, point: &str) {
    let config = scene.path("config.json");
    std::fs::write(&config, serde_json::to_vec(&scene.config).unwrap()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_dies", "--ignored"])
        .env(CONFIG, &config)
        .env(DIE, point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "it was to die: {status}");
}

fn goes_on_after(point: &str, effects_before: usize) {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    scene.dies("shop-1", 9);
    killed_at(&scene, point);
    assert_eq!(scene.supervisor.effects().len(), effects_before);
    let healer = scene.start();
    healer.becomes("inc-1", S::Resolved);
    assert_eq!(
        scene.supervisor.effects(),
        ["inc-1/1/restart/1/0"],
        "one effect"
    );
    assert!(
        scene
            .supervisor
            .asked()
            .iter()
            .all(|op| op == "inc-1/1/restart/1/0")
    );
    assert_eq!(
        healer.kinds("inc-1"),
        [
            "finding",
            "open",
            "diagnosing",
            "run-started",
            "healing",
            "step-started",
            "run-resumed",
            "step-done",
            "run-stage",
            "verifying",
            "step-started",
            "step-done",
            "run-ended",
            "resolved"
        ]
    );
    assert_eq!(
        healer.views.incidents().len(),
        1,
        "the finding was not taken twice"
    );
}

#[test]
fn killed_between_the_journalled_start_and_the_effect_the_run_goes_on_with_one_effect() {
    goes_on_after("before-effect", 0);
}

#[test]
fn killed_between_the_effect_and_its_receipt_the_run_goes_on_with_one_effect() {
    goes_on_after("after-effect", 1);
}

#[test]
fn a_run_that_was_going_on_when_healing_was_switched_off_ends_with_its_incident_escalated() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    scene.dies("shop-1", 9);
    killed_at(&scene, "before-effect");
    scene.config.healing.playbooks = false;
    let healer = scene.start();
    healer.becomes("inc-1", S::Escalated);
    assert!(scene.supervisor.asked().is_empty());
}

#[test]
fn a_run_whose_playbook_was_removed_meanwhile_is_taken_back_and_escalated() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    let text = format!("{RESTART}on_failure: [{{ rollback: all }}, {{ escalate: people }}]\n");
    let path = scene.playbook("restart.yaml", &text);
    scene.dies("shop-1", 9);
    killed_at(&scene, "after-effect");
    std::fs::remove_file(path).unwrap();
    let healer = scene.start();
    healer.becomes("inc-1", S::Escalated);
    let story = healer.story("inc-1");
    let last = story.entries.last().unwrap();
    assert!(
        last.body["why"].as_str().unwrap().contains("was removed"),
        "{last:?}"
    );
    assert_eq!(*scene.plugins.undone.lock().unwrap(), ["fleet.restart"]);
    assert_eq!(scene.supervisor.effects().len(), 1);
}

/// A detector whose state is the number of deaths it has seen; one finding in ten deaths.
fn counting(scene: &Scene) {
    scene
        .plugins
        .detector("count", true, false, |state, batch| {
            let mut seen = state.try_into().map_or(0, u64::from_le_bytes);
            let mut found = Vec::new();
            for observation in batch
                .observations
                .iter()
                .filter(|o| o.kind == "instance.exited")
            {
                seen += 1;
                if seen.is_multiple_of(10) {
                    let kind = format!("tenth-{seen}");
                    found.push(support::plugins::finding(&kind, &observation.target));
                }
            }
            Ok(Observed {
                state: seen.to_le_bytes().to_vec(),
                findings: found,
            })
        });
}

#[test]
fn a_restart_of_the_healer_neither_loses_nor_doubles_an_event() {
    let mut scene = Scene::new();
    counting(&scene);
    for round in 1..=5_u64 {
        let healer = scene.start();
        for _ in 0..20 {
            scene.dies("shop-1", 9);
        }
        let last = format!("tenth-{}", round * 20);
        healer.incident("the last of the round", |i| i.finding.kind == last);
        drop(healer);
    }
    let healer = scene.start();
    let mut kinds: Vec<String> = healer
        .views
        .incidents()
        .into_iter()
        .map(|i| i.finding.kind)
        .collect();
    assert!(healer.views.incidents().iter().all(|i| i.findings == 1));
    kinds.sort_by_key(|kind| kind.len());
    let wanted: Vec<String> = (1..=10).map(|n| format!("tenth-{}", n * 10)).collect();
    assert_eq!(kinds, wanted);
}

#[test]
fn a_detector_sees_what_it_was_granted_and_nothing_else() {
    let mut scene = Scene::new();
    let seen: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    for (name, events, metrics) in [("e", true, false), ("m", false, true), ("n", false, false)] {
        let seen = Arc::clone(&seen);
        scene
            .plugins
            .detector(name, events, metrics, move |_, batch| {
                let kinds = batch.observations.iter().map(|o| (name, o.kind.clone()));
                seen.lock().unwrap().extend(kinds);
                Ok(Observed {
                    state: Vec::new(),
                    findings: Vec::new(),
                })
            });
    }
    let _healer = scene.start();
    scene.dies("shop-1", 9);
    scene.errs("shop-1");
    let saw = |who: &str, kind: &str| {
        seen.lock()
            .unwrap()
            .iter()
            .any(|(name, seen)| *name == who && seen == kind)
    };
    until("both kinds", || {
        saw("e", "instance.exited") && saw("m", "instance.traffic")
    });
    until("resources", || {
        saw("m", "instance.resources") && saw("m", "host.resources")
    });
    assert!(!saw("m", "instance.exited") && !saw("e", "instance.traffic"));
    assert!(seen.lock().unwrap().iter().all(|(name, _)| *name != "n"));
}

#[test]
fn a_detector_that_fails_or_falls_takes_nobody_with_it() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.plugins.detector("traps", true, true, |_, _| {
        Err(CallFailure::Trap("unreachable".to_owned()))
    });
    let calls = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&calls);
    scene
        .plugins
        .detector("falls-once", true, true, move |_, _| {
            assert!(
                own.fetch_add(1, Ordering::AcqRel) != 0,
                "a fault in the host itself"
            );
            Ok(Observed {
                state: Vec::new(),
                findings: Vec::new(),
            })
        });
    scene.dies("shop-1", 9);
    let healer = scene.start();
    healer.becomes("inc-1", S::Open);
    let kernels = healer.views.kernels();
    let triggers = kernels.iter().find(|k| k.name == "triggers").unwrap();
    assert_eq!(triggers.restarts, 1);
}

#[test]
fn a_judge_that_did_not_run_says_so() {
    let mut scene = Scene::new();
    let clock = Arc::new(MovedClock::new());
    scene.clock = Arc::clone(&clock) as Arc<dyn grace_healer::Clock>;
    let late = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&late);
    scene
        .plugins
        .detector("distrust", true, false, move |_, batch| {
            for seen in batch
                .observations
                .iter()
                .filter(|o| o.kind == "host.stalled")
            {
                assert_eq!(seen.target, "host");
                own.store(number(seen, "late_ms") as u64, Ordering::Release);
            }
            Ok(findings(batch, |o| o.kind == "host.stalled", "stalled"))
        });
    let healer = scene.start();
    until("it ticks", || {
        healer
            .views
            .kernels()
            .iter()
            .any(|k| k.name == "triggers" && k.work_done > 0)
    });
    assert_eq!(late.load(Ordering::Acquire), 0);
    clock.steady.fetch_add(7_000, Ordering::Relaxed);
    until("the stall is told", || {
        late.load(Ordering::Acquire) >= 6_000
    });
}

#[test]
fn a_wall_clock_that_jumps_moves_no_timer_and_no_duration() {
    let mut scene = Scene::new();
    scene.timing.quiet_ms = 3_600_000;
    scene.timing.escalate_ms = 3_600_000;
    scene.config.healing.reopen_ms = 60_000;
    let clock = Arc::new(MovedClock::new());
    scene.clock = Arc::clone(&clock) as Arc<dyn grace_healer::Clock>;
    scene.plugins.usual();
    let jumps = [86_400_000, -172_800_000];
    let moved = Arc::clone(&clock);
    scene.plugins.action("probe.ready", false, move |_, _| {
        moved.wall.fetch_add(jumps[0], Ordering::Relaxed);
        Ok(receipt(false))
    });
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    scene.errs("shop-2");
    let open = healer.incident("one without a playbook", |i| i.finding.kind == "error-rate");
    scene.dies("shop-1", 9);
    let healed = healer.incident("healed", |i| i.target == "shop-1" && i.state == S::Resolved);
    for entry in healer.story(healed.id.as_str()).entries {
        if let Some(duration) = entry.body["duration_ms"].as_u64() {
            assert!(duration < 3_600_000, "{entry:?}");
        }
    }
    clock.wall.fetch_add(jumps[1], Ordering::Relaxed);
    // Back within the time for reopening, whatever the wall says.
    scene.dies("shop-1", 9);
    healer.incident("it came back", |i| i.id == healed.id && i.recurrences == 1);
    assert_eq!(healer.becomes(open.id.as_str(), S::Open).recurrences, 0);
}

#[test]
fn a_playbook_that_is_broken_stops_no_good_one_and_an_edit_that_breaks_keeps_the_last_good() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    let path = scene.playbook("restart.yaml", RESTART);
    let bad = RESTART.replace("id: restart\nversion", "id: bad\nversion");
    scene.playbook("bad.yaml", &bad.replace("fleet.restart", "fleet.restrat"));
    let healer = scene.start();
    let books = healer.views.playbooks();
    let bad = books.iter().find(|book| book.id == "bad").unwrap();
    let error = bad.error.as_ref().unwrap();
    assert!(
        error.contains("bad.yaml") && error.contains("fleet.restart"),
        "{error}"
    );
    scene.dies("shop-1", 9);
    healer.becomes("inc-1", S::Resolved);

    std::fs::write(&path, "id: restart\nsteps: [").unwrap();
    until("the fault is shown", || {
        let books = healer.views.playbooks();
        let book = books.iter().find(|book| book.id == "restart").unwrap();
        book.error
            .as_ref()
            .is_some_and(|e| e.contains("last good version"))
    });
    scene.dies("shop-2", 9);
    healer.becomes("inc-2", S::Resolved);

    std::fs::write(&path, RESTART.replace("version: 1", "version: 2")).unwrap();
    until("the new version is there", || {
        let books = healer.views.playbooks();
        books
            .iter()
            .any(|book| book.version == 2 && book.error.is_none())
    });
}

#[test]
fn a_damaged_ledger_is_an_incident_for_a_person_and_healing_goes_on() {
    let mut scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    {
        let healer = scene.start();
        scene.dies("shop-1", 9);
        healer.becomes("inc-1", S::Resolved);
    }
    flip_a_bit(&scene);
    let healer = scene.start();
    let damage = healer.incident("the damage", |i| i.finding.kind == "ledger-damaged");
    assert_eq!(damage.state, S::Escalated);
    scene.dies("shop-2", 9);
    healer.incident("healed", |i| i.target == "shop-2" && i.state == S::Resolved);
    assert_escalated_for_good(&healer, damage.id.as_str());
}

#[test]
fn damage_that_is_found_beside_the_work_ends_the_healer_and_the_next_one_salvages() {
    let mut scene = Scene::new();
    scene.timing.verify_ms = 100;
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    scene.dies("shop-1", 9);
    let options = Options {
        timing: scene.timing,
        ..Options::default()
    };
    let plugins = Arc::clone(&scene.plugins) as Arc<dyn PluginHost>;
    let layout = scene.layout.clone();
    let healer = start_with(scene.config.clone(), layout, plugins, &[], options).unwrap();
    let views = healer.views();
    until("healed", || {
        views.incidents().iter().any(|i| i.state == S::Resolved)
    });
    // What was written last is still in the log beside the file.
    flip_a_bit_in(&scene.layout.ledger().with_extension("db-wal"));
    drop(views);
    let ended = healer.run_until_shutdown(|| false).unwrap_err();
    assert!(
        ended.to_string().contains("the next healer salvages it"),
        "{ended}"
    );
    let healer = scene.start();
    let damage = healer.incident("the damage", |i| i.finding.kind == "ledger-damaged");
    assert_eq!(damage.state, S::Escalated);
}

fn assert_escalated_for_good(healer: &Running, id: &str) {
    assert!(
        healer
            .views
            .incidents()
            .iter()
            .any(|i| i.id.as_str() == id && i.state == S::Escalated)
    );
}

/// In the text of an entry, where the database itself notices nothing.
fn flip_a_bit(scene: &Scene) {
    flip_a_bit_in(&scene.layout.ledger());
}

fn flip_a_bit_in(path: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let bytes = std::fs::read(path).unwrap();
    let words = b"\"detector\":\"crash\"";
    // A page is in the log as often as it was written; the last one counts.
    let places = bytes.windows(words.len()).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, w)| w == words)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    for place in places {
        let flipped = bytes[place + 13] ^ 1;
        file.write_all_at(&[flipped], place as u64 + 13).unwrap();
    }
}
