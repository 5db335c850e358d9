//! Roles, shares and versions behind the real load balancer, driven from the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::harness::{Host, Traffic, eventually, eventually_some, get, signal, worker};

/// A shop of one active, one hot and one warm instance.
fn one_each() -> Host {
    Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\nactive = 1\nhot = 1\n\
         warm = 1\nready = {{ http = \"/healthz\" }}\n",
        worker("")
    ))
}

fn role_of(host: &Host, id: &str) -> (String, String) {
    let one = host.instance(id);
    let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (word("role"), word("state"))
}

fn await_role(host: &Host, id: &str, role: &str, state: &str) -> Value {
    eventually(&format!("{id} {role} {state}"), || {
        role_of(host, id) == (role.to_owned(), state.to_owned())
    });
    host.instance(id)
}

/// The one instance of this role once it is in this state. Who of them is active at first is
/// who was ready first.
fn of_role(host: &Host, role: &str, state: &str) -> Value {
    eventually_some(&format!("one {role} {state}"), || {
        let found = |one: &Value| one["role"] == role && one["state"] == state;
        host.instances().into_iter().find(found)
    })
}

fn id(one: &Value) -> &str {
    one["id"].as_str().expect("id")
}

/// Which process answered, in order, without repetitions.
struct Answers {
    stop: Arc<AtomicBool>,
    pids: Arc<Mutex<Vec<u64>>>,
    asking: Option<JoinHandle<()>>,
}

impl Answers {
    fn of(addr: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pids = Arc::new(Mutex::new(Vec::new()));
        let (ended, seen) = (stop.clone(), pids.clone());
        let asking = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok(answer) = get(addr, "/hello?id=x") else {
                    continue;
                };
                let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let Some(pid) = body["pid"].as_u64() else {
                    continue;
                };
                let mut seen = seen.lock().expect("answers");
                if seen.last() != Some(&pid) {
                    seen.push(pid);
                }
            }
        });
        Self {
            stop,
            pids,
            asking: Some(asking),
        }
    }

    fn last(&self) -> Option<u64> {
        self.pids.lock().expect("answers").last().copied()
    }

    fn end(mut self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(asking) = self.asking.take() {
            asking.join().expect("asking");
        }
        self.pids.lock().expect("answers").clone()
    }
}

#[test]
fn a_killed_active_instance_is_followed_by_the_hot_one_and_never_do_two_serve() {
    let host = one_each();
    let addr = host.up();
    let heir = of_role(&host, "hot", "ready");
    let old = of_role(&host, "active", "ready");
    let warm = of_role(&host, "warm", "stopped");
    assert_eq!(warm["pid"], 0);
    assert_eq!(
        (&old["weight"], &heir["weight"]),
        (&10_000.into(), &0.into())
    );
    let answers = Answers::of(addr);
    eventually("an answer", || answers.last() == old["pid"].as_u64());
    signal("KILL", host.pid(id(&old)));
    eventually("an answer of the heir", || {
        answers.last() == heir["pid"].as_u64()
    });
    await_role(&host, id(&heir), "active", "ready");
    await_role(&host, id(&warm), "hot", "ready");
    await_role(&host, id(&old), "warm", "stopped");
    // One after the other: nobody comes back in between.
    let pid = |one: &Value| one["pid"].as_u64().expect("pid");
    assert_eq!(answers.end(), [pid(&old), pid(&heir)]);
    host.down();
}

#[test]
fn a_hung_active_instance_is_dead_before_another_serves() {
    let host = one_each();
    let addr = host.up();
    of_role(&host, "hot", "ready");
    let old = of_role(&host, "active", "ready");
    let answers = Answers::of(addr);
    eventually("an answer", || answers.last() == old["pid"].as_u64());
    let pid = host.pid(id(&old));
    signal("STOP", pid);
    eventually("an answer of another", || {
        answers.last() != old["pid"].as_u64()
    });
    assert!(
        !crate::harness::alive(pid),
        "the old one lives and another serves"
    );
    let seen = answers.end();
    assert_eq!(seen.first(), old["pid"].as_u64().as_ref());
    let mut once = seen.clone();
    once.dedup();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "one came back: {seen:?}");
    host.down();
}

#[test]
fn after_a_failover_between_roles_the_incidents_of_the_old_active_one_are_resolved() {
    let host = one_each();
    host.up();
    of_role(&host, "hot", "ready");
    for how in ["KILL", "STOP"] {
        let old = of_role(&host, "active", "ready");
        signal(how, host.pid(id(&old)));
        eventually("another is active", || {
            let now = |one: &Value| one["role"] == "active" && one["id"] != old["id"];
            host.instances().iter().any(now)
        });
        // What became warm is as it should be: nothing of it is started to prove that. One that
        // was stopped is fenced before anybody could call it hung.
        if how == "KILL" {
            host.incident(id(&old), "resolved");
        }
        eventually("all are at rest", || {
            host.incidents()
                .iter()
                .all(|one| one["state"] == "resolved")
        });
        of_role(&host, "hot", "ready");
    }
    host.down();
}

#[test]
fn fleet_commands_promote_drain_scale_and_refuse_with_a_remedy() {
    let host = one_each();
    host.up();
    let hot = of_role(&host, "hot", "ready");
    let first = of_role(&host, "active", "ready");
    let done = host.json(&["fleet", "promote", id(&hot)]);
    assert_eq!(done["outcome"], "done");
    await_role(&host, id(&hot), "active", "ready");
    await_role(&host, id(&first), "hot", "ready");
    // A warm one that is restarted comes and goes, and keeps nobody from anything.
    let warm = of_role(&host, "warm", "stopped");
    let supervisor = host.process("supervisor");
    let run = host.run(&["fleet", "restart", id(&warm)]);
    assert!(run.code == 0 || run.code == 1, "{run:?}");
    await_role(&host, id(&warm), "warm", "stopped");
    assert_eq!(host.process("supervisor"), supervisor);
    // An active one that is held makes way.
    let _ = host.run(&["fleet", "quarantine", id(&hot)]).good();
    await_role(&host, id(&first), "active", "ready");
    let _ = host.run(&["fleet", "release", id(&hot)]).good();
    let _ = host.run(&["fleet", "scale", "shop", "--hot", "2"]).good();
    eventually("two hot ones", || {
        let hot = |one: &&Value| one["role"] == "hot" && one["state"] == "ready";
        host.instances().iter().filter(hot).count() == 2
    });
    let active = of_role(&host, "active", "ready");
    for (args, says) in [
        (
            &["fleet", "promote", "shop-99"][..],
            "no instance \"shop-99\"",
        ),
        (&["fleet", "scale", "shop", "0"], "0 instances"),
        (&["fleet", "scale", "shop", "100000"], "at most 256"),
        (&["fleet", "scale", "shop", "3"], "has roles"),
        (
            &["fleet", "scale", "shop", "--active", "0"],
            "at least one active",
        ),
        (&["fleet", "scale", "till", "3"], "no service \"till\""),
        (&["fleet", "weights", "shop", "shop-1=4000"], "sum to 4000"),
        (
            &["fleet", "weights", "shop", "shop-1=x"],
            "no INSTANCE=SHARE",
        ),
        (&["fleet", "rollback", "shop"], "no version before"),
    ] {
        let run = host.run(args);
        assert_eq!(run.code, 1, "{args:?}: {run:?}");
        assert!(run.stderr.contains(says), "{args:?}: {run:?}");
        assert!(run.stderr.contains("help"), "{args:?}: {run:?}");
    }
    let now = of_role(&host, "active", "ready");
    assert_eq!(
        (&now["pid"], id(&now)),
        (&active["pid"], id(&active)),
        "nothing was changed"
    );
    host.down();
}

fn version_toml(greeting: &str, command: &str) -> String {
    format!(
        "[[service]]\nname = \"shop\"\ncommand = {command}\nlisten = \"127.0.0.1:0\"\ninstances = 2\n\
         ready = {{ http = \"/healthz\" }}\nenv = {{ GREETING = \"{greeting}\" }}\n"
    )
}

fn greetings(host: &Host) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for one in host.instances() {
        let pid = one["pid"].as_u64().unwrap_or_default();
        let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mark = environ
            .split('\0')
            .find_map(|pair| pair.strip_prefix("GREETING="));
        *all.entry(mark.unwrap_or_default().to_owned()).or_default() += 1;
    }
    all
}

#[test]
fn a_rollout_and_its_rollback_under_load_lose_no_request() {
    let host = Host::new(&version_toml("one", &worker("")));
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(50);
    host.write(&version_toml("two", &worker("")));
    let done = host.json(&["fleet", "rollout", "shop"]);
    assert_eq!(done["number"], 2, "{done}");
    assert_eq!(greetings(&host), BTreeMap::from([("two".to_owned(), 2)]));
    let back = host.json(&["fleet", "rollback", "shop"]);
    assert_eq!(back["number"], 1, "{back}");
    assert_eq!(greetings(&host), BTreeMap::from([("one".to_owned(), 2)]));
    traffic.more(50);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn a_rollout_of_a_missing_binary_or_a_bad_version_leaves_the_fleet_as_it_was() {
    let host = Host::new(&version_toml("one", &worker("")));
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(20);
    host.write(&version_toml("two", "[\"./no-such-binary\"]"));
    let run = host.run(&["fleet", "rollout", "shop"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("no-such-binary"), "{run:?}");
    host.write(&version_toml("two", "[\"/bin/false\"]"));
    let run = host.run(&["fleet", "rollout", "shop", "--strategy", "canary"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("rolled back to version 1"), "{run:?}");
    let both = eventually_some("both as before", || {
        let ready = host.instances().iter().all(|one| one["state"] == "ready");
        ready.then(|| greetings(&host))
    });
    assert_eq!(both, BTreeMap::from([("one".to_owned(), 2)]));
    traffic.more(20);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn shares_are_set_shown_and_made_equal_again() {
    let host = Host::new(&version_toml("one", &worker("")));
    host.up();
    let _ = host
        .run(&["fleet", "weights", "shop", "shop-1=9000", "shop-2=1000"])
        .good();
    let shares = |host: &Host| -> Vec<u64> {
        let shown = host.json(&["fleet", "weights", "shop"]);
        let all = shown["instances"].as_array().expect("instances");
        all.iter()
            .map(|one| one["weight"].as_u64().expect("weight"))
            .collect()
    };
    assert_eq!(shares(&host), [9_000, 1_000]);
    let _ = host.run(&["fleet", "weights", "shop", "--equal"]).good();
    assert_eq!(shares(&host), [5_000, 5_000]);
    host.down();
}
