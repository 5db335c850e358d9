//! Commands a person types: what each prints, and that what it says is what happens.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    Host, Program, eventually, eventually_some, get, pids_with_marker, signal, tool,
};

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

fn fixture(dir: &Path, name: &str) -> PathBuf {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/out/fixtures");
    let from = std::env::var_os("GRACE_FIXTURES").map_or(from, PathBuf::from);
    for end in ["wasm", "toml"] {
        let file = format!("{name}.{end}");
        fs::copy(from.join(&file), dir.join(&file))
            .unwrap_or_else(|error| panic!("{file}: {error}; run `cargo xtask plugins`"));
    }
    dir.join(format!("{name}.wasm"))
}

#[test]
fn a_component_is_inspected_and_checked_without_a_host() {
    let host = Host::shop(1, "");
    let good = fixture(host.dir(), "std-hello");
    let path = good.to_str().expect("path");
    let seen = host.json(&["plugin", "inspect", path]);
    assert_eq!(seen["name"], "std-hello");
    assert_eq!(seen["world"], "detector");
    assert_eq!(seen["size"], fs::metadata(&good).expect("file").len());
    for list in ["imports", "exports"] {
        assert!(
            seen[list].as_array().is_some_and(|all| !all.is_empty()),
            "{list}: {seen}"
        );
    }
    assert!(
        host.run(&["plugin", "inspect", path])
            .good()
            .stdout
            .contains("std-hello")
    );
    let _ = host.run(&["plugin", "check", path]).good();
    let bytes = fs::read(&good).expect("read");
    let cut = host.dir().join("cut.wasm");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("write");
    fs::copy(good.with_extension("toml"), cut.with_extension("toml")).expect("copy");
    let both = ["plugin", "check", path, cut.to_str().expect("path")];
    let run = host.run(&both);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains("std-hello.wasm: good") && run.stdout.contains("cut.wasm"),
        "{run:?}"
    );
    let json = host.run(&[&both[..], &["--json"]].concat());
    assert_eq!(json.code, 1, "{json:?}");
    let json = json.json();
    assert_eq!(json["good"], false);
    assert_eq!(json["plugins"][0]["good"], true);
    assert!(
        json["plugins"][1]["error"]
            .as_str()
            .is_some_and(|error| error.contains("cut.wasm")),
        "{json}"
    );
    let run = host.run(&["plugin", "check", "no-such.wasm"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("no-such."), "{run:?}");
}

/// A folder that stays between runs, so that only what changed is built again.
fn new_plugin(host: &Host, name: &str, world: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let target = dir.join("target");
    let kept = dir.with_extension("kept");
    let _ = fs::remove_dir_all(&kept);
    if target.exists() {
        fs::rename(&target, &kept).expect("keep");
    }
    let _ = fs::remove_dir_all(&dir);
    let path = dir.to_str().expect("path");
    let _ = host
        .run(&["plugin", "new", name, "--world", world, "--dir", path])
        .good();
    if kept.exists() {
        fs::rename(&kept, &target).expect("kept");
    }
    dir
}

/// `grace ARGS` where cargo finds its own files.
fn with_cargo(host: &Host, args: &[&str]) -> crate::harness::Run {
    let mut command = host.command(args);
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let output = command.output().expect("grace");
    crate::harness::Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn with_plugin_dir() -> Host {
    let host = Host::shop(1, "[plugins]\ndir = \"plugins.d\"\nrescan = \"500ms\"\n");
    fs::create_dir(host.dir().join("plugins.d")).expect("mkdir");
    host
}

fn plugin(host: &Host, name: &str) -> Option<Value> {
    let list = host.try_json(&["plugin", "list"])?;
    let all = list["plugins"].as_array()?;
    all.iter().find(|one| one["name"] == name).cloned()
}

#[test]
fn a_new_detector_is_tested_built_and_installed_by_three_commands() {
    let host = with_plugin_dir();
    let dir = new_plugin(&host, "command-detector", "detector");
    let path = dir.to_str().expect("path");
    let run = with_cargo(&host, &["plugin", "test", path]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("three-failures.json"), "{run:?}");
    // A wrong expectation is told, with the case.
    let case = dir.join("cases/three-failures.json");
    let text = fs::read_to_string(&case).expect("case");
    fs::write(&case, text.replace("\"moderate\"", "\"critical\"")).expect("write");
    let run = with_cargo(&host, &["plugin", "test", path, "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    assert_eq!(json["good"], false, "{json}");
    assert!(json["cases"][0]["problem"].is_string(), "{json}");
    let run = with_cargo(&host, &["plugin", "build", path]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(dir.join("dist/command-detector.wasm").is_file(), "{run:?}");
    host.up();
    assert!(plugin(&host, "command-detector").is_none());
    let run = with_cargo(&host, &["plugin", "build", path, "--install"]);
    assert_eq!(run.code, 0, "{run:?}");
    eventually("it is live", || {
        plugin(&host, "command-detector").is_some_and(|one| one["state"] == "live")
    });
    host.down();
}

#[test]
fn a_new_action_pack_built_with_plain_cargo_is_live_and_a_playbook_may_use_it() {
    let host = with_plugin_dir();
    let dir = new_plugin(&host, "command-action", "action");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .current_dir(&dir)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
    let books = host.dir().join("own");
    fs::create_dir(&books).expect("mkdir");
    let text = "id: greeted\nversion: 1\ndescription: Greets.\ntriggers: [{ finding: manual }]\n\
                steps:\n  - id: greet\n    action: command-action.greet\n    params: { target: \"${finding.target}\" }\n";
    fs::write(books.join("greeted.yaml"), text).expect("write");
    host.write(&Host::shop_toml(
        1,
        "[plugins]\ndir = \"plugins.d\"\nrescan = \"500ms\"\n[healing]\ndir = \"own\"\n",
    ));
    host.up();
    let drop = host.dir().join("plugins.d");
    fs::copy(dir.join("plugin.toml"), drop.join("command-action.toml")).expect("copy");
    fs::copy(
        dir.join("target/wasm32-wasip2/release/command_action.wasm"),
        drop.join("command-action.wasm"),
    )
    .expect("copy");
    eventually("it is live", || {
        plugin(&host, "command-action").is_some_and(|one| one["state"] == "live")
    });
    let run = eventually_some("the playbook knows its action", || {
        let run = host.run(&[
            "playbook",
            "run",
            "greeted",
            "--target",
            "shop-1",
            "--dry-run",
        ]);
        (run.code == 0).then_some(run)
    });
    assert!(run.stdout.contains("log: hello shop-1"), "{run:?}");
    let _ = host
        .run(&["playbook", "run", "greeted", "--target", "shop-1"])
        .good();
    let incident = host.incident("shop-1", "resolved");
    let id = incident["id"].as_str().expect("id");
    let story = host.json(&["incidents", "show", id])["entries"].to_string();
    assert!(story.contains("command-action.greet"), "{story}");
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
