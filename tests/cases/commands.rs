//! Commands a person types: what each prints, and that what it says is what happens.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Host, Program, eventually, get, pids_with_marker, signal, tool};

fn exists(host: &Host, id: &str, state: &str) -> bool {
    host.incidents()
        .iter()
        .any(|one| one["target"] == id && one["state"] == state)
}

#[test]
fn incidents_watch_prints_a_document_a_line_also_through_the_healers_death() {
    let host = Host::shop(2, "");
    // A verification that takes a while, so that the incident is seen on its way.
    let dir = host.dir().join("own");
    fs::create_dir(&dir).expect("mkdir");
    let text = "id: instance-hang\nversion: 2\ndescription: Takes its time.\ntriggers: [{ finding: instance-hang }]\n\
                steps:\n  - id: restart\n    action: fleet.restart\n    params: { target: \"${finding.target}\", mode: kill, reason: hung }\n\
                verify:\n  - action: probe.slo\n    params: { target: \"${finding.target}\", success: 0.9, for: 1s }\n    timeout: 10s\n";
    fs::write(dir.join("instance-hang.yaml"), text).expect("write");
    host.write(&Host::shop_toml(2, "[healing]\ndir = \"own\"\n"));
    host.up();
    let mut watch = Program::start(&mut host.command(&["incidents", "watch", "--json"]));
    let told = |id: &str, state: &str| {
        watch.out.wait_json(&format!("{id} {state}"), |one| {
            one["target"] == id && one["state"] == state
        })
    };
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    let first = told("shop-1", "resolved");
    assert_eq!(first["playbook"], "instance-crash");
    let healer = host.process("healer");
    signal("KILL", healer);
    eventually("another healer", || host.process("healer") != healer);
    let pid = host.pid("shop-2");
    signal("STOP", pid);
    told("shop-2", "verifying");
    let second = told("shop-2", "resolved");
    assert_ne!(second["id"], first["id"]);
    let again = watch
        .out
        .all()
        .iter()
        .filter(|line| line.contains("shop-1") && line.contains("\"resolved\""))
        .count();
    assert_eq!(again, 1, "{:?}", watch.out.all());
    host.down();
    assert_eq!(watch.ended(), 0, "{:?}", watch.err.all());
}

#[test]
fn incidents_watch_misses_nothing_that_happens_while_the_healer_is_away_or_at_once() {
    let host = Host::shop(2, "");
    host.up();
    let watch = Program::start(&mut host.command(&["incidents", "watch", "--json"]));
    let pid = host.pid("shop-2");
    signal("KILL", pid);
    watch.out.wait_json("the first end", |one| {
        one["target"] == "shop-2" && one["state"] == "resolved"
    });
    // It stands still while its healer dies and the next one heals something from start to end.
    signal("STOP", watch.pid());
    let healer = host.process("healer");
    signal("KILL", healer);
    eventually("another healer", || host.process("healer") != healer);
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    let incident = host.incident("shop-1", "resolved");
    signal("CONT", watch.pid());
    watch.out.wait_json("the end that it missed", |one| {
        one["target"] == "shop-1" && one["state"] == "resolved"
    });
    let told: Vec<Value> = watch
        .out
        .all()
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for id in ["shop-2", "shop-1"] {
        let states: Vec<&str> = told
            .iter()
            .filter(|one| one["target"] == id)
            .filter_map(|one| one["state"].as_str())
            .collect();
        // Also those that last a few milliseconds, and each once.
        assert_eq!(
            states,
            ["open", "diagnosing", "healing", "verifying", "resolved"],
            "{id}"
        );
    }
    assert_eq!(told.last(), Some(&incident));
    host.down();
}

#[test]
fn a_playbook_is_explained_in_plain_words() {
    let host = Host::shop(1, "");
    let run = host.run(&["playbook", "explain", "instance-hang"]).good();
    for part in ["instance-hang (version 1)", "fleet.restart", "probe.smoke"] {
        assert!(run.stdout.contains(part), "{part}: {run:?}");
    }
    let lines: Vec<Value> = host.json(&["playbook", "explain", "instance-hang"])["lines"]
        .as_array()
        .cloned()
        .expect("lines");
    let printed: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines, printed);
    let run = host.run(&["playbook", "explain", "instance-hnag"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("did you mean \"instance-hang\"?"),
        "{run:?}"
    );
}

#[test]
fn a_dry_run_of_a_playbook_says_what_it_would_do_and_changes_nothing() {
    let host = Host::shop(2, "");
    host.up();
    let before = host.instance("shop-1");
    let args = [
        "playbook",
        "run",
        "restart-instance",
        "--target",
        "shop-1",
        "--dry-run",
    ];
    let run = host.run(&args).good();
    assert!(
        run.stdout.contains("restart shop-1") && run.stdout.contains(&before["pid"].to_string()),
        "{run:?}"
    );
    let json = host.json(&args);
    assert_eq!(json["run"], "plan", "{json}");
    // A real one after it is the first incident of the target: the dry ones left none.
    let started = host.json(&args[..5]);
    assert_eq!(started["run"], "started", "{started}");
    let pid = u32::try_from(before["pid"].as_u64().expect("pid")).expect("pid");
    host.new_process("shop-1", pid);
    let incident = host.incident("shop-1", "resolved");
    assert_eq!(incident["id"], started["incident"]);
    assert_eq!(incident["playbook"], "restart-instance");
    let of_target = host
        .incidents()
        .iter()
        .filter(|one| one["target"] == "shop-1")
        .count();
    assert_eq!(of_target, 1);
    assert_eq!(
        host.instance("shop-1")["generation"].as_u64(),
        before["generation"].as_u64().map(|number| number + 1),
        "a dry run restarted it too"
    );
    let run = host.run(&["playbook", "run", "no-such", "--target", "shop-1"]);
    assert_eq!(run.code, 1, "{run:?}");
    let run = host.run(&["playbook", "run", "restart-instance", "--target", "shop-9"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("shop-9"), "{run:?}");
    host.down();
}

#[test]
fn a_playbook_of_ones_own_takes_the_place_of_a_shipped_one() {
    let host = Host::shop(1, "");
    let dir = host.dir().join("own");
    fs::create_dir(&dir).expect("mkdir");
    let text = "id: instance-crash\nversion: 7\ndescription: Only tells.\ntriggers: [{ finding: instance-crash }]\n\
                steps:\n  - id: tell\n    action: notify.send\n    params: { channel: log, severity: minor, subject: own, text: own }\n";
    fs::write(dir.join("instance-crash.yaml"), text).expect("write");
    host.write(&Host::shop_toml(1, "[healing]\ndir = \"own\"\n"));
    host.up();
    let list = host.json(&["playbook", "list"]);
    let of_that_id: Vec<&Value> = list["playbooks"]
        .as_array()
        .expect("playbooks")
        .iter()
        .filter(|one| one["id"] == "instance-crash")
        .collect();
    assert_eq!(of_that_id.len(), 1, "{of_that_id:?}");
    assert_eq!(of_that_id[0]["version"], 7);
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    let incident = host.incident("shop-1", "resolved");
    let id = incident["id"].as_str().expect("id");
    let story = host.json(&["incidents", "show", id])["entries"].to_string();
    assert!(
        story.contains("notify.send") && !story.contains("probe.smoke"),
        "{story}"
    );
    host.down();
}

#[test]
fn up_in_front_prints_its_ready_line_then_incidents_and_a_signal_ends_everything() {
    let host = Host::shop(2, "");
    let mut up = Program::start(&mut host.command(&["up"]));
    let ready = up
        .out
        .wait("the ready line", |line| line.starts_with("ready shop on "));
    assert_eq!(up.out.all()[0], ready);
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    up.out.wait("the incident's end", |line| {
        line.contains("shop-1") && line.contains("resolved") && line.contains("instance-crash")
    });
    assert_eq!(up.end("TERM"), 0, "{:?} {:?}", up.out.all(), up.err.all());
    let marker = host.state().display().to_string();
    assert!(
        pids_with_marker(&marker).is_empty(),
        "something runs after `grace up` has ended"
    );
}

#[test]
fn up_in_front_prints_one_json_document_a_line() {
    let host = Host::shop(2, "");
    let mut up = Program::start(&mut host.command(&["up", "--json"]));
    up.out.wait_json("ready", |one| one["event"] == "ready");
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    up.out.wait_json("the incident's end", |one| {
        one["event"] == "incident"
            && one["incident"]["target"] == "shop-1"
            && one["incident"]["state"] == "resolved"
    });
    let _ = host.run(&["down"]).good();
    up.out.wait_json("the end", |one| one["event"] == "down");
    assert_eq!(up.ended(), 0, "{:?}", up.err.all());
    let first: Value = serde_json::from_str(&up.out.all()[0]).expect("json");
    assert_eq!(first["event"], "ready");
}

#[test]
fn up_detached_prints_one_line_a_service_when_it_is_ready() {
    let host = Host::shop(2, "");
    let run = host.run(&["up", "-d"]).good();
    let line = run.stdout.trim_end();
    assert!(
        line.ends_with("(2/2 ready)") && !line.contains('\n'),
        "{run:?}"
    );
    let addr = line
        .strip_prefix("ready shop on ")
        .and_then(|rest| rest.split(' ').next())
        .expect("an address");
    let addr: SocketAddr = addr.parse().expect("an address");
    assert_eq!(get(addr, "/hello?id=x").expect("answer").status, 200);
    host.down();
}

#[test]
fn every_other_reading_command_prints_one_json_document_too() {
    let host = Host::shop(2, "");
    // Without a host: what it would load.
    for args in [
        &["doctor"][..],
        &["playbook", "list"],
        &["playbook", "check"],
        &["playbook", "schema"],
        &["plugin", "list"],
    ] {
        assert!(host.json(args).is_object(), "{args:?}");
    }
    host.up();
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    eventually("an incident", || exists(&host, "shop-1", "resolved"));
    let list = host.json(&["incidents"]);
    let id = list["incidents"][0]["id"].as_str().expect("id").to_owned();
    for args in [
        &["incidents", "show", &id][..],
        &["incidents", "list", "--open"],
        &["playbook"],
        &["plugin"],
        &["plugin", "inspect", "crash"],
        &["logs"],
        &["logs", "shop"],
        &["logs", "-n", "1"],
        &["doctor"],
        &["services"],
        &["status"],
    ] {
        assert!(host.json(args).is_object(), "{args:?}");
    }
    let checks = host.json(&["doctor"]);
    let checks = checks["checks"].as_array().expect("checks");
    assert!(
        checks
            .iter()
            .all(|one| one["what"].is_string() && one["found"].is_string()),
        "{checks:?}"
    );
    host.down();
}

#[test]
fn logs_show_as_many_lines_as_asked_and_follow_what_comes() {
    let host = Host::new(
        "[[service]]\nname = \"talk\"\ncommand = [\"sh\", \"-c\", \"for n in 1 2 3 4 5; do echo line $n; done; \
         while ! test -e {data}/go; do sleep 0.05; done; echo line 6; exec sleep 300\"]\n\
         instances = 1\nready = { process = true }\n",
    );
    host.up();
    eventually("five lines", || {
        host.run(&["logs", "talk-1"]).stdout.contains("line 5")
    });
    let run = host.run(&["logs", "talk", "-n", "2"]).good();
    assert_eq!(run.stdout, "line 4\nline 5\n");
    let json = host.json(&["logs", "talk-1", "-n", "1"]);
    assert_eq!(json["lines"][0]["line"], "line 5", "{json}");
    assert_eq!(json["lines"][0]["from"], "talk-1");
    let follow = Program::start(&mut host.command(&["logs", "talk-1", "-n", "1", "-f"]));
    follow.out.wait("the last line", |line| line == "line 5");
    fs::write(host.state().join("data/talk-1/go"), "").expect("write");
    follow.out.wait("the next line", |line| line == "line 6");
    assert_eq!(follow.out.all(), ["line 5", "line 6"]);
    let run = host.run(&["logs", "tlak-1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("talk-1"), "{run:?}");
    host.down();
}

#[test]
fn output_is_coloured_on_a_terminal() {
    let name = "output_is_coloured_on_a_terminal";
    let Some(script) = tool(name, "script", "apt-get install bsdutils") else {
        return;
    };
    let host = Host::shop(1, "");
    host.up();
    let typed = format!(
        "{} plugin list --config {}",
        crate::harness::grace().display(),
        host.file().display()
    );
    let output = Command::new(script)
        .args(["-qec", &typed, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .output()
        .expect("script");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("\x1b["),
        "{text:?}"
    );
    host.down();
}
