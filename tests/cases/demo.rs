//! `grace demo` and its controls, and the binary where no toolchain is. The demo has the machine
//! for itself: it says that no request is slow.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{
    Alone, Host, PATIENCE, Program, Run, alive, alone, as_root, eventually, eventually_some, get,
    grace, pids_with_marker, signal, tool,
};

/// Where a demo puts its fleet. Dropping it ends what is left there.
struct Stage {
    dir: tempfile::TempDir,
    _alone: Alone,
}

impl Stage {
    fn new() -> Self {
        let alone = alone();
        let dir = tempfile::Builder::new()
            .prefix("grace-d-")
            .tempdir()
            .expect("tempdir");
        // As root, services run as nobody.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        Self { dir, _alone: alone }
    }

    fn marker(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// `grace demo ARGS` with its files here, where no other program can be found.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(grace());
        command.arg("demo").args(args);
        self.here(&mut command);
        command
    }

    fn here(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/nonexistent")
            .env("TMPDIR", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
    }

    fn play(&self, args: &[&str]) -> Run {
        ran(&mut self.command(args))
    }

    /// That it ended its fleet and took its files away.
    fn is_empty(&self) {
        let marker = self.marker();
        eventually("nothing of the demo runs", || {
            pids_with_marker(&marker).is_empty()
        });
        let left = fs::read_dir(self.dir.path()).expect("dir").count();
        assert_eq!(left, 0, "files are left in {marker}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // All stand still before the first is killed: they bring each other back.
        for name in ["-STOP", "-KILL"] {
            for pid in pids_with_marker(&self.marker()) {
                let _ = Command::new("kill").args([name, &pid.to_string()]).status();
            }
        }
    }
}

fn ran(command: &mut Command) -> Run {
    let output = command.output().expect("grace demo");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// The four faults of a report of exactly the promised shape.
fn faults(run: &Run) -> Vec<Value> {
    let report = run.json();
    assert_eq!(
        keys(&report),
        ["faults", "instances", "requests"],
        "{report}"
    );
    assert_eq!(keys(&report["requests"]), ["failed", "rate", "sent"]);
    let instances = report["instances"].as_array().expect("instances");
    assert_eq!(instances.len(), 6);
    for one in instances {
        assert_eq!(keys(one), ["id", "pid", "port"]);
    }
    let faults = report["faults"].as_array().expect("faults").clone();
    for one in &faults {
        assert_eq!(
            keys(one),
            [
                "detected_ms",
                "fault",
                "healed",
                "healed_ms",
                "incident",
                "playbook",
                "restored_ms"
            ]
        );
    }
    let names: Vec<_> = faults
        .iter()
        .filter_map(|one| one["fault"].as_str())
        .collect();
    assert_eq!(names, ["crash", "hang", "config-corrupt", "healer-killed"]);
    faults
}

fn count(run: &Run, key: &str) -> f64 {
    run.json()["requests"][key].as_f64().expect("a number")
}

#[test]
fn the_demo_heals_four_faults_and_no_request_fails() {
    let stage = Stage::new();
    let run = stage.play(&["--json"]);
    let faults = faults(&run);
    for fault in &faults {
        assert_eq!(fault["healed"], true, "{fault} {}", run.stderr);
        for time in ["detected_ms", "restored_ms", "healed_ms"] {
            assert!(fault[time].is_u64(), "{time} of {fault}");
        }
        assert!(fault["incident"].is_string(), "{fault}");
    }
    let playbooks: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault["playbook"].as_str())
        .collect();
    assert_eq!(
        playbooks,
        [
            "instance-crash",
            "instance-hang",
            "config-corrupt",
            "instance-hang"
        ]
    );
    assert_eq!(count(&run, "failed"), 0.0, "{run:?}");
    assert!(count(&run, "rate") >= 500.0, "{run:?}");
    assert!(count(&run, "sent") >= 1_000.0, "{run:?}");
    assert_eq!(run.code, 0, "{run:?}");
    stage.is_empty();
}

#[test]
fn the_demo_without_healing_sees_every_fault_and_heals_none() {
    let stage = Stage::new();
    let run = stage.play(&["--json", "--no-heal"]);
    for fault in faults(&run) {
        assert_eq!(fault["healed"], false, "{fault}");
        assert!(fault["healed_ms"].is_null(), "{fault}");
        assert!(fault["playbook"].is_null(), "{fault}");
        // Probes, detectors and incidents stay on. In the fourth the supervisor stands still, which
        // on a busy machine may take the whole time.
        assert!(
            fault["detected_ms"].is_u64() || fault["fault"] == "healer-killed",
            "{fault} {}",
            run.stderr
        );
    }
    assert_eq!(run.code, 1, "{run:?}");
    stage.is_empty();
}

/// On a terminal, of which the fleet's view takes the last lines; the answer goes to a file.
#[test]
fn the_demo_without_second_tries_shows_failed_requests() {
    let stage = Stage::new();
    let name = "the_demo_without_second_tries_shows_failed_requests";
    let Some(script) = tool(name, "script", "apt-get install bsdutils") else {
        return;
    };
    // The terminal's size is that of no terminal: 80 columns and 24 rows are taken for it.
    let typed = format!("{} demo --json --no-retry > answer", grace().display());
    let mut command = Command::new(script);
    command.args(["-qec", &typed, "/dev/null"]);
    stage.here(&mut command);
    let shown = ran(command.env("TERM", "xterm"));
    let answer = stage.dir.path().join("answer");
    let run = Run {
        code: shown.code,
        stdout: fs::read_to_string(&answer).expect("answer"),
        stderr: String::new(),
    };
    faults(&run);
    assert!(count(&run, "failed") > 0.0, "{run:?}");
    assert_eq!(run.code, 1, "{run:?}");
    fs::remove_file(answer).expect("remove");
    stage.is_empty();

    let mut terminal = vt100::Parser::new(24, 80, 0);
    let (mut views, mut marks) = (0, 0);
    for piece in shown.stdout.as_bytes().chunks(64) {
        terminal.process(piece);
        let rows: Vec<String> = terminal.screen().rows(0, 80).collect();
        let of = |what: &str| rows.iter().filter(|row| row.starts_with(what)).count();
        let headings = of("instance  ");
        assert!(headings <= 1, "drawn below itself: {rows:#?}");
        let fleet = (1..=6).all(|n| of(&format!("shop-{n}  ")) == 1);
        views += usize::from(headings == 1 && fleet);
        marks += usize::from(rows.iter().any(|row| row.contains("<- hang")));
    }
    assert!(views > 20 && marks > 0, "{views} views, {marks} marks");
    let text = terminal.screen().contents();
    assert!(
        !text.contains("instance  "),
        "the view is left behind: {text}"
    );
    assert!(
        text.contains("healer-killed") || text.contains("requests sent"),
        "{text}"
    );
}

#[test]
fn a_demo_without_a_directory_for_its_files_ends_with_2() {
    let stage = Stage::new();
    for args in [&[][..], &["--json"]] {
        let run = ran(stage.command(args).env("TMPDIR", "/nonexistent"));
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stdout.is_empty(), "{run:?}");
        assert!(
            run.stderr.contains("could not run") && run.stderr.contains("set TMPDIR"),
            "{run:?}"
        );
    }
}

#[test]
fn a_demo_whose_binary_was_deleted_ends_with_2() {
    let stage = Stage::new();
    let copy = stage.dir.path().join("grace");
    fs::copy(grace(), &copy).expect("copy");
    let mut command = Command::new("sh");
    // Opened before it is deleted: it runs, and nobody can start it again.
    command.args([
        "-c",
        "exec 9<grace && /bin/rm grace && exec /proc/self/fd/9 demo",
    ]);
    stage.here(&mut command);
    let run = ran(command.env("PATH", std::env::var_os("PATH").unwrap_or_default()));
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("cannot run"), "{run:?}");
    stage.is_empty();
}

#[test]
fn a_demo_whose_instances_cannot_be_reached_ends_with_2() {
    let name = "a_demo_whose_instances_cannot_be_reached_ends_with_2";
    let Some(unshare) = tool(name, "unshare", "apt-get install util-linux") else {
        return;
    };
    if !as_root(name) {
        return;
    }
    let stage = Stage::new();
    // A network of its own in which even the loopback is down.
    let mut command = Command::new(unshare);
    command.args(["--net", "--"]).arg(grace()).arg("demo");
    stage.here(&mut command);
    let run = ran(&mut command);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("the fleet did not start"), "{run:?}");
    stage.is_empty();
}

#[test]
fn a_demo_that_is_interrupted_ends_its_fleet_and_says_2() {
    let stage = Stage::new();
    let mut demo = Program::start(&mut stage.command(&[]));
    demo.err
        .wait("the first fault", |line| line.starts_with("crash shop-1"));
    assert_eq!(demo.end("INT"), 2, "{:?}", demo.err.all());
    assert!(
        demo.err
            .all()
            .iter()
            .any(|line| line.contains("interrupted")),
        "{:?}",
        demo.err.all()
    );
    stage.is_empty();
}

#[test]
fn a_kept_demo_stays_up_and_says_how_to_break_watch_and_end_it() {
    let stage = Stage::new();
    let run = stage.play(&["--keep"]);
    assert_eq!(run.code, 0, "{run:?}");
    // What a person reads: the story as it happened, the table, and what to type.
    for fault in ["crash", "hang", "config-corrupt", "healer-killed"] {
        let line = run.stdout.lines().find(|line| line.starts_with(fault));
        assert!(line.is_some_and(|line| line.ends_with(" yes")), "{run:?}");
    }
    let mut rest = run.stderr.as_str();
    for words in [
        "shop-6   pid",
        "crash shop-1: kill -9",
        "detector crash: shop-1",
        "incident open",
        "playbook instance-crash begins",
        "notify.send begins",
        "incident resolved",
        "healed in",
        "hang shop-2: SIGSTOP",
        "fleet.restart begins",
        "shop-2 is ready as pid",
        "healed in",
        "config-corrupt shop-3:",
        "config.restore begins",
        "healer-killed shop-4:",
        "is killed in the middle of the restart",
        "a new healer goes on with the playbook",
        "healed in",
    ] {
        let found = rest.split_once(words);
        assert!(
            found.is_some(),
            "{words:?} is missing in this order: {run:?}"
        );
        rest = found.map_or("", |(_, after)| after);
    }
    assert!(run.stderr.contains("seen from outside: shop-1 runs as pid"));
    // A pipe gets lines: no colours, and nothing is drawn over.
    assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'));
    let after = |title: &str, end: &str| -> Vec<String> {
        let text = run.stderr.split(title).nth(1).unwrap_or_default();
        let text = text.split(end).next().unwrap_or_default();
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (breaks, watches) = (
        after("Break it:", "Watch it:"),
        after("Watch it:", "End it:"),
    );
    let ends = after("End it:", "\0");
    assert_eq!(
        (breaks.len(), watches.len(), ends.len()),
        (3, 1, 1),
        "{run:?}"
    );
    let shell = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().expect("sh");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Each of them breaks something, which heals.
    let ask = ends[0].replace(" down ", " incidents list --json ");
    let incidents = || -> Vec<Value> {
        let list: Value = serde_json::from_str(&shell(&ask)).expect("json");
        list["incidents"].as_array().cloned().unwrap_or_default()
    };
    // The same failure of the same instance opens its incident again.
    let last = |one: &Value| one["last_seen_at"].as_u64().unwrap_or(0);
    let before = incidents().iter().map(last).max().unwrap_or(0);
    for line in &breaks {
        shell(line);
    }
    for playbook in ["instance-crash", "instance-hang", "config-corrupt"] {
        eventually_some(&format!("a resolved incident of {playbook}"), || {
            incidents().into_iter().find(|one| {
                one["playbook"] == playbook && one["state"] == "resolved" && last(one) > before
            })
        });
    }
    let mut words = watches[0].split_whitespace();
    let program = words.next().expect("a program");
    let mut watch = Program::start(Command::new(program).args(words));
    let ask = ends[0].replace(" down ", " instances --json ");
    let mut killed = breaks[0]
        .split(' ')
        .next_back()
        .unwrap_or_default()
        .to_owned();
    eventually("the watch tells", || {
        // Each new process once, until the watch was there in time.
        let list: Value = serde_json::from_str(&shell(&ask)).expect("json");
        let now = list["instances"][0]["pid"].to_string();
        if now != killed && now != "0" {
            let _ = Command::new("kill").args(["-9", &now]).status();
            killed = now;
        }
        watch.out.all().iter().any(|line| line.contains("shop-1"))
    });
    shell(&ends[0]);
    assert_eq!(watch.ended(), 0, "{:?}", watch.err.all());
    let marker = stage.marker();
    eventually("nothing runs", || pids_with_marker(&marker).is_empty());
}

#[test]
fn without_a_toolchain_and_an_environment_it_starts_and_heals() {
    let host = Host::shop(2, "");
    let bare = |args: &[&str]| {
        let output = Command::new(grace())
            .args(args)
            .arg("--config")
            .arg(host.file())
            .env_clear()
            .env("PATH", "/nonexistent")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .expect("grace");
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("json")
    };
    let ready = bare(&["up", "-d", "--json"]);
    let addr = ready["services"][0]["listen"].as_str().expect("listen");
    let plugins = bare(&["plugin", "list", "--json"]);
    let plugins = plugins["plugins"].as_array().expect("plugins");
    assert!(plugins.len() >= 10, "{plugins:?}");
    for plugin in plugins {
        assert_eq!(plugin["state"], "live", "{plugin}");
    }
    let pid_of = || {
        let all = bare(&["instances", "--json"]);
        let pid = all["instances"][0]["pid"].as_u64().expect("pid");
        u32::try_from(pid).expect("pid")
    };
    let pid = pid_of();
    signal("KILL", pid);
    eventually("another process", || {
        let now = pid_of();
        now != pid && now > 0 && alive(now)
    });
    eventually(&format!("healed within {PATIENCE:?}"), || {
        let list = bare(&["incidents", "list", "--json"]);
        list["incidents"].as_array().is_some_and(|all| {
            all.iter()
                .any(|one| one["target"] == "shop-1" && one["state"] == "resolved")
        })
    });
    let answer = get(addr.parse().expect("address"), "/hello?id=x").expect("answer");
    assert_eq!(answer.status, 200);
    host.down();
}
