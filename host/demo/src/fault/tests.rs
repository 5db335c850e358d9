//! Verdicts on a made-up host: a script in place of `grace` that says what the test wrote, and
//! real processes for the demo to stop and kill.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::Options;
use crate::screen::Show;

/// A process that does nothing. Dropping it ends it.
struct Idle(Child);

impl Idle {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }
    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the script says.
struct Said(PathBuf);

impl Said {
    fn say(&self, file: &str, value: &Value) {
        // Renamed into place: a reader sees all of it or nothing.
        let beside = self.0.join("new");
        fs::write(&beside, value.to_string()).expect("write");
        fs::rename(beside, self.0.join(file)).expect("rename");
    }

    fn instance(&self, pid: u32, port: u16, generation: u64) {
        let one = json!({ "id": "shop-1", "pid": pid, "port": port, "state": "ready",
                          "generation": generation });
        self.say("instances", &json!({ "instances": [one] }));
    }

    fn incident(&self, state: &str) {
        let one = json!({ "id": "inc-1", "target": "shop-1", "state": state,
                          "playbook": "instance-hang", "opened_at": now_ms() });
        self.say("incidents", &json!({ "incidents": [one] }));
    }

    fn story(&self, kind: &str) {
        let one = json!({ "seq": 1, "at": now_ms(), "kind": kind,
                          "body": { "what": "run", "step": "again", "action": "fleet.restart" } });
        self.say("story", &json!({ "entries": [one] }));
    }
}

fn script(dir: &Path) -> PathBuf {
    let file = dir.join("grace");
    let text = format!(
        "#!/bin/sh\ncd {}\ncase \"$1 $2\" in\n\
         'up -d') echo '{{\"services\":[{{\"listen\":\"127.0.0.1:1\"}}]}}';;\n\
         'instances --json') cat instances;;\n\
         'incidents list') cat incidents;;\n\
         'incidents show') cat story;;\n\
         'status --json') cat status;;\nesac\n",
        dir.display()
    );
    fs::write(&file, text).expect("script");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    file
}

/// Answers every request with its own head.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0_u8; 1024];
            let read = stream.read(&mut head).unwrap_or(0);
            let text = String::from_utf8_lossy(&head[..read]).into_owned();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n{text}");
        }
    });
    port
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A hung instance that is replaced and whose incident is resolved. `restarts`: the ledger tells
/// of the restart action's start and of nothing behind it, until the healer is dead.
fn play(fault: Fault, restarts: bool) -> (Outcome, judge::Life) {
    let dir = tempfile::tempdir().expect("tempdir");
    let [old, new, healer, supervisor, keeper] = [(); 5].map(|()| Idle::new());
    let port = echo();
    let said = Said(dir.path().to_owned());
    said.instance(old.pid(), port, 1);
    said.say("incidents", &json!({ "incidents": [] }));
    said.say("story", &json!({ "entries": [] }));
    let processes: Vec<Value> = [
        ("healer", &healer),
        ("supervisor", &supervisor),
        ("keeper", &keeper),
    ]
    .iter()
    .map(|(name, one)| json!({ "name": name, "pid": one.pid() }))
    .collect();
    said.say("status", &json!({ "processes": processes }));
    let options = Options {
        grace: script(dir.path()),
        ..Options::default()
    };
    let fleet = Fleet::start(&options, 1).expect("fleet");
    let mut screen = Screen::new(Show::Nothing, Arc::default()).expect("screen");
    let (old_pid, new_pid, healer_pid) = (old.pid(), new.pid(), healer.pid());
    let host = std::thread::spawn(move || {
        wait("the instance is stopped", || {
            judge::life(old_pid) == judge::Life::Stopped
        });
        said.incident("healing");
        if restarts {
            said.story("step-started");
            wait("the healer is killed", || {
                judge::life(healer_pid) == judge::Life::Gone
            });
        } else {
            said.story("step-done");
        }
        said.instance(new_pid, port, 2);
        said.incident("resolved");
    });
    let patience = Duration::from_secs(if restarts { 60 } else { 2 });
    let outcome = induce(fault, "shop-1", &fleet, patience, &mut screen).expect("induced");
    host.join().expect("host");
    for one in [&supervisor, &keeper] {
        assert_eq!(judge::life(one.pid()), judge::Life::Runs, "left stopped");
    }
    (outcome, judge::life(healer_pid))
}

#[test]
fn a_hang_that_the_judge_sees_healed_is_healed() {
    let (outcome, healer) = play(Fault::Hang, false);
    assert!(outcome.healed && outcome.healed_ms.is_some(), "{outcome:?}");
    assert_eq!(outcome.playbook.as_deref(), Some("instance-hang"));
    assert_eq!(healer, judge::Life::Runs);
}

#[test]
fn a_healer_killed_in_the_middle_of_the_restart_and_healed_is_healed() {
    let (outcome, healer) = play(Fault::HealerKilled, true);
    assert!(outcome.healed && outcome.healed_ms.is_some(), "{outcome:?}");
    assert_eq!(healer, judge::Life::Gone);
}

#[test]
fn a_healer_that_could_not_be_killed_in_the_middle_is_no_healed_fault() {
    let (outcome, healer) = play(Fault::HealerKilled, false);
    // All that the judge looks at is good, and still it proves nothing.
    assert!(outcome.restored_ms.is_some(), "{outcome:?}");
    assert!(
        !outcome.healed && outcome.healed_ms.is_none(),
        "{outcome:?}"
    );
    assert_eq!(healer, judge::Life::Runs);
}

#[test]
fn a_demo_without_its_binary_or_that_is_interrupted_is_an_error() {
    let missing = Options {
        grace: "/nonexistent/grace".into(),
        ..Options::default()
    };
    let error = Fleet::start(&missing, 1).err().expect("no binary");
    assert!(
        format!("{error:#}").contains("/nonexistent/grace"),
        "{error:#}"
    );
    let screen = Screen::new(Show::Nothing, Arc::new(true.into())).expect("screen");
    assert!(screen.rest(Duration::from_secs(600)).is_err());
}
