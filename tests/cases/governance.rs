//! Governance from the command line, with real processes: questions, orders, and kills between.

use std::fs;

use crate::harness::{Host, eventually, eventually_some, signal, stopped};

/// A host that must ask before it puts a configuration back.
fn asking() -> Host {
    Host::new(&Host::shop_toml(2, "").replace("allow = [\"config.restore\"]\n", ""))
}

#[test]
fn a_question_survives_the_kill_of_the_healer_and_a_yes_heals() {
    let host = asking();
    host.up();
    let file = host.config_of("shop-1");
    let good = fs::read(&file).expect("config");
    fs::write(&file, "{ \"greeting\":").expect("write");
    let question = || {
        let asked = host.try_json(&["approvals"])?;
        asked["approvals"].as_array()?.first().cloned()
    };
    let asked = eventually_some("a question", question);
    assert_eq!(asked["playbook"], "config-corrupt", "{asked}");
    assert_eq!(asked["actions"][0]["action"], "config.restore", "{asked}");
    let healer = host.process("healer");
    signal("KILL", healer);
    eventually("another healer", || host.process("healer") != healer);
    let again = eventually_some("the same question", question);
    assert_eq!(again["id"], asked["id"]);
    // Nobody has said yes, so what is broken stays broken.
    assert_ne!(fs::read(&file).expect("config"), good);
    let incident = asked["incident"].as_str().expect("incident").to_owned();
    let done = host.json(&["approve", &incident, "--why", "looked at it"]);
    assert_eq!(done["answer"], "approved");
    eventually("the good configuration is back", || {
        fs::read(&file).is_ok_and(|bytes| bytes == good)
    });
    host.incident("shop-1", "resolved");
    let story = host.json(&["incidents", "show", &incident]);
    let given = story["entries"]
        .as_array()
        .and_then(|entries| entries.iter().find(|e| e["kind"] == "approval-approved"))
        .expect("the answer in the story");
    assert_eq!(given["body"]["why"], "looked at it");
    let by = given["body"]["by"].as_str().expect("by");
    assert!(by.starts_with("uid "), "{by}");
    let twice = host.run(&["deny", &incident, "--json"]);
    assert_eq!(twice.code, 1, "{twice:?}");
    host.down();
}

#[test]
fn a_freeze_holds_a_healing_until_it_is_over_and_so_does_mode_observe() {
    let host = asking();
    host.up();
    let view = host.json(&["freeze", "on", "--for", "1h", "--why", "the move"]);
    assert_eq!(view["freeze"]["given"]["why"], "the move", "{view}");
    let observe = host.json(&["mode", "observe"]);
    assert_eq!(observe["mode"], "observe");
    let pid = host.pid("shop-2");
    signal("STOP", pid);
    let held_by = |rule: &str| {
        eventually(&format!("it is held by {rule}"), || {
            let Some(incident) = host
                .incidents()
                .into_iter()
                .find(|i| i["target"] == "shop-2")
            else {
                return false;
            };
            let id = incident["id"].as_str().expect("id").to_owned();
            host.try_json(&["incidents", "show", &id])
                .is_some_and(|story| {
                    story["entries"].as_array().is_some_and(|entries| {
                        entries
                            .iter()
                            .any(|e| e["kind"] == "held" && e["body"]["rule"] == rule)
                    })
                })
        });
    };
    held_by("observe");
    let _ = host.json(&["mode", "file"]);
    held_by("freeze");
    assert!(stopped(pid), "it was healed in a freeze");
    let view = host.json(&["governance"]);
    assert!(
        view["freeze_left_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{view}"
    );
    let view = host.json(&["freeze", "off"]);
    assert!(view["freeze"].is_null(), "{view}");
    host.new_process("shop-2", pid);
    host.incident("shop-2", "resolved");
    host.down();
}

#[test]
fn a_thrown_kill_switch_stops_all_healing_and_is_shown() {
    let host = asking();
    host.up();
    let view = host.json(&["kill-switch", "on", "--why", "smoke"]);
    assert_eq!(view["killed"]["why"], "smoke");
    let text = host.run(&["governance"]).good().stdout;
    assert!(text.contains("thrown by uid"), "{text}");
    let pid = host.pid("shop-1");
    signal("STOP", pid);
    eventually("it is seen", || {
        host.incidents().iter().any(|i| i["target"] == "shop-1")
    });
    let by_hand = host.run(&["playbook", "run", "restart-instance", "--target", "shop-2"]);
    assert_eq!(by_hand.code, 1, "{by_hand:?}");
    assert!(by_hand.stderr.contains("kill switch"), "{by_hand:?}");
    assert!(stopped(pid));
    let _ = host.json(&["kill-switch", "off"]);
    host.new_process("shop-1", pid);
    host.down();
}
