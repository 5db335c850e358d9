//! Playbooks that a person starts by hand: told beforehand, done once, and one at a time a target.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use grace_model::incident::IncidentState as S;
use grace_model::port::PlaybookRun;
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

#[test]
fn a_playbook_by_hand_tells_what_it_would_do_and_does_it() {
    let scene = Scene::new();
    scene.plugins.usual();
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    until("the fleet is known", || healer.views.fleet().is_some());
    let run = healer
        .views
        .run_playbook("restart", "shop-2", true)
        .unwrap();
    let PlaybookRun::Plan { lines } = run else {
        panic!("{run:?}")
    };
    assert!(
        lines
            .iter()
            .any(|line| line.contains("fleet.restart on shop-2")),
        "{lines:?}"
    );
    assert!(scene.supervisor.asked().is_empty());
    assert!(healer.views.incidents().is_empty());
    let run = healer
        .views
        .run_playbook("restart", "shop-2", false)
        .unwrap();
    let PlaybookRun::Started { incident } = run else {
        panic!("{run:?}")
    };
    healer.becomes(&incident, S::Resolved);
    assert_eq!(scene.supervisor.effects().len(), 1);
    let error = healer
        .views
        .run_playbook("restart", "shop-9", false)
        .unwrap_err();
    assert!(error.contains("shop-9"), "{error}");
    assert!(
        healer
            .views
            .run_playbook("restrat", "shop-1", false)
            .is_err()
    );
}

#[test]
fn of_many_who_start_a_playbook_by_hand_at_once_one_gets_the_target() {
    let scene = Scene::new();
    scene.plugins.usual();
    let at_work = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, seen) = (Arc::clone(&at_work), Arc::clone(&most));
    scene
        .plugins
        .action("fleet.restart", true, move |call, port| {
            seen.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
            std::thread::sleep(std::time::Duration::from_millis(50));
            let done = restart(call, port);
            now.fetch_sub(1, Ordering::AcqRel);
            done
        });
    scene.playbook("restart.yaml", RESTART);
    let healer = scene.start();
    until("the fleet is known", || healer.views.fleet().is_some());
    let started: usize = std::thread::scope(|scope| {
        // A service holds its instances, and they it.
        let threads: Vec<_> = ["shop-1", "shop"]
            .into_iter()
            .cycle()
            .take(16)
            .map(|target| {
                let views = &healer.views;
                scope.spawn(move || views.run_playbook("restart", target, false))
            })
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers
            .map(|answer| match answer {
                Ok(_) => 1,
                Err(why) => {
                    assert!(why.contains("is being healed for inc-"), "{why}");
                    0
                }
            })
            .sum()
    });
    until("all are over", || {
        healer.views.incidents().iter().all(|i| i.state.at_rest())
    });
    assert!(started >= 1);
    assert_eq!(most.load(Ordering::Acquire), 1, "two runs held one target");
    assert_eq!(
        healer.views.incidents().len(),
        started,
        "no incident of a refused run"
    );
}
