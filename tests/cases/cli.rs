//! The command line: JSON shapes, exit codes, and that views work.

use std::fs;

use crate::harness::{Host, eventually, get, grace, signal};

fn keys(value: &serde_json::Value) -> Vec<String> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect()
}

fn has(value: &serde_json::Value, wanted: &[&str]) {
    for key in wanted {
        assert!(
            keys(value).iter().any(|have| have == key),
            "{key} is missing in {value}"
        );
    }
}

#[test]
fn every_reading_command_prints_one_json_document_of_its_shape() {
    let host = Host::shop(2, "");
    let ready = host.json(&["up", "-d"]);
    has(&ready, &["event", "services", "socket"]);
    has(&ready["services"][0], &["name", "listen"]);
    has(
        &host.json(&["instances"])["instances"][0],
        &["id", "service", "pid", "port", "role", "state", "weight"],
    );
    has(
        &host.json(&["plugin", "list"])["plugins"][0],
        &["name", "world", "state", "error"],
    );
    let kernels = host.json(&["kernels"]);
    has(
        &kernels["kernels"][0],
        &[
            "name",
            "tier",
            "state",
            "depends_on",
            "heartbeat_age_ms",
            "restarts",
            "work_done",
        ],
    );
    assert!(host.json(&["services"])["services"].is_array());
    assert!(host.json(&["status"])["processes"].is_array());
    has(
        &host.json(&["governance"]),
        &["mode", "freeze", "killed", "rules", "locks", "pending"],
    );
    assert!(host.json(&["approvals"])["approvals"].is_array());
    assert!(host.json(&["artifacts", "verify"])["artifacts"].is_array());
    assert!(
        !host.json(&["playbook", "list"])["playbooks"]
            .as_array()
            .expect("playbooks")
            .is_empty()
    );
    assert!(host.json(&["doctor"]).is_object());
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.incident("shop-1", "resolved");
    has(
        &host.json(&["incidents", "list"])["incidents"][0],
        &[
            "id",
            "signature",
            "state",
            "playbook",
            "opened_at",
            "resolved_at",
        ],
    );
    host.down();
}

#[test]
fn the_api_answers_on_its_socket_to_any_http_client() {
    use std::io::{Read, Write};
    let host = Host::shop(1, "");
    let ready = host.json(&["up", "-d"]);
    let socket = ready["socket"].as_str().expect("socket").to_owned();
    let answer = crate::harness::eventually_some("the API answers", || {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).ok()?;
        stream
            .write_all(b"GET /v1/instances HTTP/1.1\r\nHost: grace\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    });
    assert!(answer.contains("shop-1"), "{answer}");
    host.down();
}

#[test]
fn every_plugin_that_is_shipped_is_live() {
    let host = Host::shop(1, "");
    host.up();
    let plugins = host.json(&["plugin", "list"])["plugins"]
        .as_array()
        .cloned()
        .expect("plugins");
    assert!(plugins.len() >= 10, "{plugins:?}");
    for plugin in &plugins {
        assert_eq!(plugin["state"], "live", "{plugin}");
    }
    host.down();
}

#[test]
fn reading_commands_without_a_host_say_what_to_do() {
    let host = Host::shop(1, "");
    for args in [
        &["status"][..],
        &["instances"],
        &["incidents", "list"],
        &["kernels"],
    ] {
        let run = host.run(args);
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
        assert!(run.stderr.contains("grace up"), "{args:?}: {run:?}");
    }
}

#[test]
fn playbook_check_needs_no_host_and_finds_each_fault() {
    let host = Host::shop(1, "");
    let file = host.dir().join("p.yaml");
    let text = "id: p\nversion: 1\ndescription: Restarts.\ntriggers: [{ finding: instance-hang }]\ncooldown: 30s\n\
                steps:\n  - id: again\n    action: fleet.restrat\n    params: { target: \"${finding.taget}\" }\n";
    fs::write(&file, text).expect("write");
    let run = host.run(&["playbook", "check", file.to_str().expect("path")]);
    assert_eq!(run.code, 1, "{run:?}");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(
        said.contains("p.yaml:8") && said.contains("fleet.restart"),
        "{said}"
    );
    assert!(
        said.contains("p.yaml:9") && said.contains("finding.target"),
        "{said}"
    );
    fs::write(
        &file,
        text.replace("restrat", "restart")
            .replace("taget", "target"),
    )
    .expect("write");
    let run = host.run(&["playbook", "check", file.to_str().expect("path")]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn a_bad_playbook_never_stops_the_good_ones_and_a_mended_one_is_live_without_a_restart() {
    let host = Host::shop(1, "");
    let dir = host.dir().join("my-playbooks");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("bad.yaml"), "id: [").expect("write");
    host.write(&Host::shop_toml(1, "[healing]\ndir = \"my-playbooks\"\n"));
    host.up();
    let list = || {
        host.try_json(&["playbook", "list"])
            .map(|list| list["playbooks"].to_string())
            .unwrap_or_default()
    };
    eventually("the bad playbook is shown", || list().contains("bad"));
    assert!(list().contains("instance-crash"));
    let good = "id: mine\nversion: 1\ndescription: Tells.\ntriggers: [{ finding: instance-crash }]\npriority: 100\n\
                steps:\n  - id: tell\n    action: notify.send\n    params: { channel: log, severity: minor, subject: hello, text: \"${finding.summary}\" }\n";
    fs::write(dir.join("bad.yaml"), good).expect("write");
    eventually("the mended playbook is live", || {
        host.try_json(&["playbook", "list"]).is_some_and(|list| {
            list["playbooks"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|one| one["id"] == "mine" && one["error"].is_null())
            })
        })
    });
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    assert_eq!(host.incident("shop-1", "resolved")["playbook"], "mine");
    host.down();
}

#[test]
fn completions_and_help_are_printed() {
    let host = Host::shop(1, "");
    for shell in ["bash", "zsh", "fish"] {
        let run = host.run(&["completions", shell]).good();
        assert!(run.stdout.contains("grace"), "{shell}");
    }
    assert!(host.run(&["--help"]).good().stdout.contains("incidents"));
}

#[test]
fn output_in_a_pipe_has_no_colours() {
    let host = Host::shop(1, "");
    host.up();
    for args in [
        &["status"][..],
        &["instances"],
        &["plugin", "list"],
        &["playbook", "list"],
        &["kernels"],
        &["doctor"],
    ] {
        let run = host.run(args).good();
        assert!(!run.stdout.contains('\x1b'), "{args:?}: {run:?}");
        assert!(!run.stdout.is_empty(), "{args:?}");
    }
    host.down();
}

#[test]
fn init_writes_a_file_that_up_accepts() {
    let host = Host::shop(1, "");
    fs::remove_file(host.file()).expect("remove");
    let run = host.run(&["init"]).good();
    assert!(run.stdout.contains("grace.toml"), "{run:?}");
    let run = host.run(&["init"]);
    assert_ne!(run.code, 0, "init overwrote a file: {run:?}");
    // As it is, but for the port, which another may have.
    let any_port = || {
        let text = fs::read_to_string(host.file()).expect("grace.toml");
        let state = host.state().display().to_string();
        let text = text.replacen("127.0.0.1:8080", "127.0.0.1:0", 1);
        let text = text.replacen("# state = \".grace\"", &format!("state = {state:?}"), 1);
        fs::write(host.file(), text).expect("write");
    };
    any_port();
    // Its program is one that the user still has to name.
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("./shop"), "{run:?}");
    fs::remove_file(host.file()).expect("remove");
    // And with a program, `up` starts it.
    let worker = grace().display().to_string();
    let mut init = host.command(&["init"]);
    init.args(["--", &worker, "internal", "shop-worker", "--port", "{port}"]);
    assert!(init.output().expect("grace").status.success());
    any_port();
    let ready = host.json(&["up", "-d"]);
    let addr = ready["services"][0]["listen"].as_str().expect("listen");
    let answer = get(addr.parse().expect("address"), "/").expect("answer");
    assert_eq!(answer.status, 200);
    host.down();
}

#[test]
fn logs_show_what_an_instance_wrote() {
    let host = Host::new(
        "[[service]]\nname = \"talk\"\ncommand = [\"sh\", \"-c\", \"echo good morning; exec sleep 300\"]\ninstances = 1\nready = { process = true }\n",
    );
    host.up();
    eventually("the line", || {
        host.run(&["logs", "talk-1"])
            .stdout
            .contains("good morning")
    });
    host.down();
}
