//! The healer is killed at every point of a run at which it does or journals anything: whatever the
//! kind of step, the run goes on, nothing happens twice, and the incident ends as it should.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that falls has failed, as it should"
)]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use grace_healer::{Options, start_with};
use grace_model::config::Config;
use grace_model::incident::IncidentState as S;
use grace_model::layout::Layout;
use grace_model::plugin::Severity;
use grace_model::port::{HostCall, HostPort, PluginHost};
use support::clock::DeadlyClock;
use support::plugins::{FakePlugins, receipt, restart};
use support::{Scene, until};

/// Every kind of step: one with a verification of its own, one whose condition does not hold, one
/// that fails and may, a message, an undo, an escalation, and the cooldown at the end.
const FAILS: &str = r#"
id: fails
version: 1
description: Does everything a playbook can do, and fails.
triggers: [{ finding: instance-crash }]
cooldown: 1h
steps:
  - id: restart
    action: fleet.restart
    params: { target: "${finding.target}" }
    timeout: 20s
    verify:
      - action: probe.ready
        params: { target: "${finding.target}" }
        timeout: 5s
  - id: never
    action: fleet.restart
    params: { target: "${finding.target}" }
    if: finding.severity == 'minor'
    timeout: 20s
  - id: may-fail
    action: probe.never
    params: { target: "${finding.target}" }
    timeout: 5s
    on_failure: continue
  - id: tell
    action: tell.people
    params: { target: "${finding.target}" }
    timeout: 5s
verify:
  - action: probe.never
    params: { target: "${finding.target}" }
    timeout: 5s
    retries: 1
    backoff: 10ms
on_failure: [{ rollback: all }, { escalate: people }]
"#;

const HEALS: &str = r#"
id: heals
version: 1
description: Restarts it and sees that it is ready.
triggers: [{ finding: instance-crash }]
cooldown: 1h
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

const DIE: &str = "GRACE_HEALER_TEST_DIE_AT";
const CONFIG: &str = "GRACE_HEALER_TEST_CONFIG";
/// More points than any of these runs has; that it ends before is a part of the test.
const MOST: i64 = 200;

/// What both lives of the healer have.
fn furnish(plugins: &FakePlugins) {
    plugins.usual();
    plugins.action("tell.people", false, |_, port| {
        port.call(
            HostCall::Notify {
                channel: "people".to_owned(),
                severity: Severity::Major,
                subject: "from a step".to_owned(),
                text: String::new(),
            },
            Duration::from_secs(5),
        )?;
        Ok(receipt(true))
    });
    // Taken back by another operation, so that the supervisor sees how often.
    plugins.action("fleet.restart", true, restart);
    plugins.undoes(|call: &mut dyn HostPort| {
        call.call(
            HostCall::Release {
                id: "shop-1".to_owned(),
                reason: "taken back".to_owned(),
            },
            Duration::from_secs(5),
        )
        .map(drop)
    });
}

/// Not a test of its own: the healer that is killed.
#[test]
#[ignore = "run as a child by the tests beside it"]
fn the_child_that_dies() {
    let Ok(path) = std::env::var(CONFIG) else {
        return;
    };
    let config: Config = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let plugins = FakePlugins::default();
    furnish(&plugins);
    let layout = Layout::new(&config.state_dir);
    let options = Options {
        clock: Arc::new(DeadlyClock::new(
            std::env::var(DIE).unwrap().parse().unwrap(),
        )),
        ..Options::default()
    };
    let plugins = Arc::new(plugins) as Arc<dyn PluginHost>;
    let healer = start_with(config, layout, plugins, &[], options).unwrap();
    let views = healer.views();
    // A life in which the run came to its end before the chosen point.
    healer
        .run_until_shutdown(|| {
            views
                .incidents()
                .iter()
                .any(|incident| incident.state.at_rest())
        })
        .unwrap();
}

/// Whether the child died.
fn child_dies(scene: &Scene, at: i64) -> bool {
    let config = scene.path("config.json");
    std::fs::write(&config, serde_json::to_vec(&scene.config).unwrap()).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_dies", "--ignored"])
        .env(CONFIG, &config)
        .env(DIE, at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    !status.success()
}

/// Four at a time: a child mostly waits for the disk.
fn killed_everywhere(playbook: &str, end: S, effects: &[&str], messages: usize) {
    let next = AtomicI64::new(1);
    let over = AtomicBool::new(false);
    let points = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let at = next.fetch_add(1, Ordering::AcqRel);
                    assert!(at < MOST, "a run that never ends");
                    if killed_at(at, playbook, end, effects, messages) {
                        points.fetch_add(1, Ordering::AcqRel);
                    } else {
                        over.store(true, Ordering::Release);
                    }
                }
            });
        }
    });
    let points = points.into_inner();
    assert!(points > 10, "only {points} points");
}

/// Whether the run has so many points.
fn killed_at(at: i64, playbook: &str, end: S, effects: &[&str], messages: usize) -> bool {
    let mut scene = Scene::new();
    furnish(&scene.plugins);
    scene.playbook("it.yaml", playbook);
    scene.dies("shop-1", 9);
    let died = child_dies(&scene, at);
    let healer = scene.start();
    healer.becomes("inc-1", end);
    until("nothing is carried any more", || {
        healer.kinds("inc-1").contains(&"run-ended".to_owned())
    });
    assert_eq!(scene.supervisor.effects(), effects, "killed at point {at}");
    let kinds = healer.kinds("inc-1");
    for once in ["open", "run-started", "run-ended", end.word()] {
        let times = kinds.iter().filter(|kind| *kind == once).count();
        assert_eq!(times, 1, "{once}, killed at point {at}: {kinds:?}");
    }
    assert_eq!(healer.views.incidents().len(), 1, "killed at point {at}");
    // Outside of Grace at least once, always with the same id.
    let mut told = BTreeMap::<String, usize>::new();
    for line in std::fs::read_to_string(scene.path("people.jsonl"))
        .unwrap_or_default()
        .lines()
    {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = message["id"].as_str().unwrap().to_owned();
        *told.entry(id).or_default() += 1;
    }
    assert_eq!(told.len(), messages, "killed at point {at}: {told:?}");
    assert!(told.values().all(|times| *times <= 2), "{told:?}");
    // The cooldown holds, whoever wrote it.
    drop(healer);
    let again = scene.start();
    scene.dies("shop-1", 9);
    let back = again.incident("it came back, or it still is", |incident| {
        incident.id.as_str() == "inc-1" && incident.findings > 1
    });
    assert!(back.run.is_none_or(|run| run.as_str() == "inc-1/1"));
    died
}

#[test]
fn killed_at_every_point_of_a_run_that_heals_it_ends_healed_with_one_effect() {
    killed_everywhere(HEALS, S::Resolved, &["inc-1/1/restart/1/0"], 0);
}

#[test]
fn killed_at_every_point_of_a_run_that_fails_each_effect_and_its_undo_happen_once() {
    let undo = "inc-1/1/undo-0-restart/1/0";
    killed_everywhere(FAILS, S::Escalated, &["inc-1/1/restart/1/0", undo], 2);
}
