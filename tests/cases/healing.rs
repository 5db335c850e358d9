//! The whole loop: a fault, a detector, an incident, a playbook, a proof.

use std::fs;
use std::net::SocketAddr;

use crate::harness::{
    Host, PATIENCE, Traffic, eventually, eventually_some, get, grace, signal, stopped,
};

#[test]
fn a_crash_is_restarted_by_the_reflex_and_closed_by_its_playbook() {
    let host = Host::shop(3, "");
    host.up();
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.new_process("shop-1", pid);
    let incident = host.incident("shop-1", "resolved");
    assert_eq!(incident["playbook"], "instance-crash", "{incident}");
    assert!(incident["resolved_at"].as_u64() >= incident["opened_at"].as_u64());
    host.down();
}

#[test]
fn a_hang_is_healed_by_actions_alone() {
    let host = Host::shop(3, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    let pid = host.pid("shop-2");
    signal("STOP", pid);
    host.new_process("shop-2", pid);
    let incident = host.incident("shop-2", "resolved");
    assert_eq!(incident["playbook"], "instance-hang", "{incident}");
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn a_corrupt_configuration_is_put_back() {
    let host = Host::shop(3, "");
    let addr = host.up();
    // At once: from the moment that `grace up` says ready a good copy is there.
    let file = host.config_of("shop-3");
    let good = fs::read(&file).expect("config");
    fs::write(&file, "{ \"greeting\":").expect("write");
    let traffic = Traffic::start(addr);
    eventually("the good configuration is back", || {
        fs::read(&file).is_ok_and(|bytes| bytes == good)
    });
    let incident = host.incident("shop-3", "resolved");
    assert_eq!(incident["playbook"], "config-corrupt", "{incident}");
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn one_so_slow_that_siblings_are_asked_in_its_place_is_slow_and_not_broken() {
    // Every request on it is hedged after `hedge` (500 ms), and no client waits for it.
    let host = Host::shop(3, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(100);
    let pid = host.pid("shop-2");
    let port = host.instance("shop-2")["port"].as_u64().expect("port");
    let past_the_proxy = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("port")));
    let told = get(past_the_proxy, "/break?delay_ms=900").expect("answer");
    assert_eq!(told.status, 200);
    host.new_process("shop-2", pid);
    let incident = host.incident("shop-2", "resolved");
    assert_eq!(incident["playbook"], "latency-high", "{incident}");
    assert!(
        host.incidents()
            .iter()
            .all(|one| one["finding"]["kind"] != "error-rate"),
        "{:?}",
        host.incidents()
    );
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn with_healing_off_the_same_faults_stay() {
    let toml = Host::shop_toml(3, "[healing]\nplaybooks = false\n")
        .replace("ready = {", "restart = { reflex = false }\nready = {");
    let host = Host::new(&toml);
    host.up();
    let (killed, hung) = (host.pid("shop-1"), host.pid("shop-2"));
    let file = host.config_of("shop-3");
    signal("KILL", killed);
    signal("STOP", hung);
    fs::write(&file, "rubbish").expect("write");
    // Seen, all three, and none healed.
    for id in ["shop-1", "shop-2", "shop-3"] {
        eventually(&format!("an incident of {id}"), || {
            host.incidents().iter().any(|one| one["target"] == id)
        });
    }
    assert_eq!(host.instance("shop-1")["pid"], 0);
    assert!(stopped(hung));
    assert_eq!(fs::read_to_string(&file).expect("config"), "rubbish");
    assert!(
        host.incidents()
            .iter()
            .all(|one| one["state"] != "resolved" && one["playbook"].is_null())
    );
    host.down();
}

#[test]
fn without_plugins_nothing_but_the_reflex_remains() {
    let host = Host::shop(3, "");
    let ready = host.json(&["up", "-d", "--plugins", "none"]);
    assert_eq!(ready["event"], "ready");
    let (killed, hung) = (host.pid("shop-1"), host.pid("shop-2"));
    let file = host.config_of("shop-3");
    fs::write(&file, "rubbish").expect("write");
    signal("STOP", hung);
    signal("KILL", killed);
    host.new_process("shop-1", killed);
    // The control of the three tests above: they see a heal well within this time.
    std::thread::sleep(PATIENCE / 6);
    assert!(stopped(hung), "a hang was healed without a plugin");
    assert_eq!(fs::read_to_string(&file).expect("config"), "rubbish");
    assert!(host.incidents().is_empty(), "{:?}", host.incidents());
    signal("CONT", hung);
    host.down();
}

#[test]
fn a_healer_killed_in_the_middle_of_a_restart_repeats_nothing() {
    let host = Host::shop(3, "");
    host.up();
    let before = host.instance("shop-1");
    let pid = host.pid("shop-1");
    let (healer, supervisor) = (host.process("healer"), host.process("supervisor"));
    let keeper = host.process("keeper");
    // The supervisor is stopped, so the restart is begun and its receipt cannot come. The keeper
    // is stopped first, since it replaces a supervisor that stands still for long.
    signal("STOP", keeper);
    signal("STOP", supervisor);
    signal("STOP", pid);
    eventually("the restart is journalled as started", || {
        let Some(incident) = host
            .incidents()
            .into_iter()
            .rev()
            .find(|one| one["target"] == "shop-1")
        else {
            return false;
        };
        let id = incident["id"].as_str().expect("id").to_owned();
        let Some(story) = host.try_json(&["incidents", "show", &id]) else {
            return false;
        };
        story["entries"]
            .as_array()
            .and_then(|entries| entries.last())
            .is_some_and(|entry| {
                entry["kind"] == "step-started" && entry["body"]["action"] == "fleet.restart"
            })
    });
    signal("KILL", healer);
    signal("CONT", supervisor);
    signal("CONT", keeper);
    host.new_process("shop-1", pid);
    let incident = host.incident("shop-1", "resolved");
    assert_eq!(incident["playbook"], "instance-hang");
    let after = host.instance("shop-1");
    assert_eq!(
        after["generation"].as_u64().expect("generation"),
        before["generation"].as_u64().expect("generation") + 1,
        "the restart was made more than once"
    );
    host.down();
}

#[test]
fn an_incidents_story_is_told_in_order_and_survives_the_healer() {
    let host = Host::shop(2, "");
    host.up();
    let pid = host.pid("shop-1");
    signal("STOP", pid);
    host.new_process("shop-1", pid);
    let incident = host.incident("shop-1", "resolved");
    let id = incident["id"].as_str().expect("id").to_owned();
    let healer = host.process("healer");
    signal("KILL", healer);
    eventually("another healer", || host.process("healer") != healer);
    let story = eventually_some("the story", || host.try_json(&["incidents", "show", &id]));
    let entries = story["entries"].as_array().expect("entries");
    let kinds: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"step-started") && kinds.contains(&"step-done"),
        "{kinds:?}"
    );
    let times: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry["at"].as_u64())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    host.down();
}

#[test]
fn a_worker_that_dies_at_once_for_ever_ends_as_failed_and_people_are_told() {
    let script = format!(
        "test -e {{data}}/die && {{ echo cannot open the till; exit 3; }}; exec {} internal shop-worker --port {{port}}",
        grace().display()
    );
    let host = Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = [\"sh\", \"-c\", {script:?}]\nlisten = \"127.0.0.1:0\"\ninstances = 2\n\
         ready = {{ http = \"/healthz\" }}\nrestart = {{ own_max = 3, backoff_min = \"20ms\" }}\n"
    ));
    host.up();
    let pid = host.pid("shop-2");
    fs::write(host.state().join("data/shop-2/die"), "").expect("write");
    signal("KILL", pid);
    eventually("the instance has failed", || {
        host.instance("shop-2")["state"] == "failed"
    });
    host.incident("shop-2", "escalated");
    assert_eq!(host.instance("shop-1")["state"], "ready");
    host.down();
}
