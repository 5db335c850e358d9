//! A running host goes on with another program: under load, with nothing refused, and back again
//! when the new one does not become whole. A copy of the program is another one: another file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Host, Program, Traffic, alive, eventually, grace, signal};

const PROCESSES: [&str; 4] = ["keeper", "supervisor", "proxy", "healer"];

/// Another file with the same program.
fn copy(host: &Host, name: &str) -> PathBuf {
    let path = host.dir().join(name);
    fs::copy(grace(), &path).expect("copy");
    path
}

fn file(path: impl AsRef<Path>) -> (u64, u64) {
    let meta = fs::metadata(path.as_ref()).expect("file");
    (meta.dev(), meta.ino())
}

fn runs(pid: u32, path: &Path) -> bool {
    let running = fs::metadata(format!("/proc/{pid}/exe"));
    running.is_ok_and(|meta| (meta.dev(), meta.ino()) == file(path))
}

fn all_run(host: &Host, path: &Path) {
    for name in PROCESSES {
        let pid = host.process(name);
        assert!(runs(pid, path), "{name} (pid {pid}) does not run {path:?}");
    }
}

fn processes(host: &Host) -> Vec<u32> {
    PROCESSES.map(|name| host.process(name)).to_vec()
}

fn instances(host: &Host) -> Vec<(String, u64)> {
    let all = host.instances();
    all.iter()
        .map(|one| {
            let id = one["id"].as_str().expect("id").to_owned();
            (id, one["pid"].as_u64().expect("pid"))
        })
        .collect()
}

/// A file that says that it is Grace with this state layout, for no machine at all: e_machine of
/// its ELF header is 0.
fn pretender(host: &Host, name: &str, state: u32) {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    let mark = format!("\x7fgrace-program:state={state};version=9.9.9;");
    bytes.extend_from_slice(mark.as_bytes());
    let path = host.dir().join(name);
    fs::write(&path, bytes).expect("file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn an_upgrade_under_load_refuses_no_connection_and_every_process_runs_the_new_file() {
    let host = Host::shop(3, "");
    let mut front = Program::start(&mut host.command(&["up", "--json"]));
    let ready = front
        .out
        .wait_json("that the host is ready", |line| line["event"] == "ready");
    let addr = ready["services"][0]["listen"].as_str().expect("listen");
    // On connections that are kept, and each on a new one.
    let mut load = Command::new(grace());
    load.args(["internal", "open-load", "--timeout", "20s", "--rate", "80"])
        .args(["--url", &format!("http://{addr}/hello")]);
    let mut load = Program::start(&mut load);
    let traffic = Traffic::start(addr.parse().expect("an address"));
    load.out
        .wait_json("the load", |line| line["ok"].as_u64() > Some(20));
    traffic.more(20);
    let before = instances(&host);
    let (old, old_pids) = (grace(), processes(&host));
    let new = copy(&host, "grace-new");

    let done = host.json(&["upgrade", new.to_str().expect("path")]);
    assert_eq!(done["outcome"], "upgraded", "{done}");
    assert_eq!(
        (&done["instances"], &done["instances_kept"]),
        (&3.into(), &3.into())
    );
    assert_eq!(done["front"], true, "{done}");
    assert_eq!(instances(&host), before, "an instance was restarted");
    all_run(&host, &new);
    assert!(alive(front.pid()) && runs(front.pid(), &new), "the front");
    for pid in old_pids {
        eventually("the old process has ended", || {
            !alive(pid) || !runs(pid, &old)
        });
    }
    // Asked again there is nothing to do.
    let again = host.json(&["upgrade", new.to_str().expect("path")]);
    assert_eq!(again["outcome"], "unchanged");

    traffic.more(50);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    load.end("TERM");
    let report: Value = serde_json::from_str(load.out.all().last().expect("report")).expect("JSON");
    assert_eq!(report["failed"], 0, "{report}");
    // It heals, and whatever is started again is the new one.
    let pid = host.pid("shop-2");
    signal("KILL", pid);
    host.new_process("shop-2", pid);
    host.incident("shop-2", "resolved");
    for name in PROCESSES {
        let pid = host.process(name);
        signal("KILL", pid);
        eventually("another process of the new file", || {
            let now = host.process(name);
            now != pid && runs(now, &new)
        });
    }
    assert_eq!(front.end("TERM"), 0);
    host.down();
}

#[test]
fn a_file_that_cannot_be_upgraded_to_is_refused_with_a_remedy_and_nothing_changes() {
    let host = Host::shop(2, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    let (before, own) = (instances(&host), processes(&host));
    let place = |name: &str| host.dir().join(name);
    fs::write(place("script"), "#!/bin/sh\nexit 0\n").expect("script");
    fs::copy("/bin/true", place("true")).expect("true");
    for name in ["script", "true"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place(name), mode).expect("chmod");
    }
    fs::write(place("plain"), "").expect("plain");
    let now = grace_model::layout::STATE_VERSION;
    pretender(&host, "older", now - 1);
    pretender(&host, "later", now + 1);
    pretender(&host, "foreign", now);
    for (name, says, remedy) in [
        ("absent", "No such file", "grace upgrade PATH"),
        ("state", "is no file", "grace upgrade PATH"),
        ("plain", "may not be executed", "chmod +x"),
        ("script", "is not Grace", "grace upgrade"),
        ("true", "is not Grace", "grace upgrade"),
        (
            "older",
            "knows the state layout",
            "upgrade to one that knows it",
        ),
        ("later", "is migrated only while nothing runs", "grace down"),
        (
            "foreign",
            "does not run on this machine",
            "build for this machine",
        ),
    ] {
        let path = place(name).display().to_string();
        let run = host.run(&["upgrade", &path]);
        assert_eq!(run.code, 2, "{name}: {run:?}");
        for part in [says, remedy, path.as_str()] {
            assert!(run.stderr.contains(part), "{name} lacks {part:?}: {run:?}");
        }
        assert_eq!(processes(&host), own, "{name}: a process was touched");
    }
    // A good one, and a grace.toml that it does not take.
    let good = copy(&host, "good");
    let toml = fs::read_to_string(host.file()).expect("grace.toml");
    fs::write(host.file(), format!("{toml}\nno_such_key = 1\n")).expect("grace.toml");
    let run = host.run(&["upgrade", good.to_str().expect("path")]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("no_such_key"), "{run:?}");
    fs::write(host.file(), toml).expect("grace.toml");
    assert_eq!((instances(&host), processes(&host)), (before, own));
    traffic.more(20);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn a_program_that_does_not_become_whole_is_left_again_and_nothing_is_refused() {
    let host = Host::shop(3, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(20);
    let before = instances(&host);
    let new = copy(&host, "grace-new");
    let upgrade = {
        let mut command = host.command(&["upgrade", new.to_str().expect("path"), "--json"]);
        command.stdout(std::process::Stdio::piped());
        command.spawn().expect("grace starts")
    };
    // As soon as one process runs it, no other can be started from it.
    let lock = host.state().join("run/keeper.lock");
    eventually("the keeper is of the new file", || {
        let text = fs::read_to_string(&lock).unwrap_or_default();
        text.trim().parse().is_ok_and(|pid: u32| runs(pid, &new))
    });
    fs::set_permissions(&new, fs::Permissions::from_mode(0o000)).expect("chmod");
    let output = upgrade.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("runs the one before again"), "{said}");
    all_run(&host, &grace());
    assert_eq!(instances(&host), before, "an instance was restarted");
    traffic.more(50);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    // The next try, with a file that works, does what it should.
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("chmod");
    let done = host.json(&["upgrade", new.to_str().expect("path")]);
    assert_eq!(done["outcome"], "upgraded", "{done}");
    all_run(&host, &new);
    host.down();
}

#[test]
fn an_upgrade_that_was_killed_in_the_middle_is_finished_by_the_same_command() {
    let host = Host::shop(2, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    let before = instances(&host);
    let new = copy(&host, "grace-new");
    let path = new.to_str().expect("path");
    let mut upgrade = host.command(&["upgrade", path]).spawn().expect("starts");
    eventually("the supervisor is of the new file", || {
        runs(host.process("supervisor"), &new)
    });
    upgrade.kill().expect("kill");
    upgrade.wait().expect("wait");
    let done = host.json(&["upgrade", path]);
    assert_eq!(done["outcome"], "upgraded", "{done}");
    all_run(&host, &new);
    assert_eq!(instances(&host), before);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

/// A host of three instances, declared as two, whose keeper and supervisor are dead and whose
/// state is as a Grace without fleets left it. And its instances.
fn of_layout_1() -> (Host, Vec<(String, u64)>) {
    let host = Host::shop(2, "");
    host.up();
    let _ = host.run(&["fleet", "scale", "shop", "3"]).good();
    eventually("three are ready", || {
        let all = host.instances();
        all.len() == 3 && all.iter().all(|one| one["state"] == "ready")
    });
    let before = instances(&host);
    let (keeper, supervisor) = (host.process("keeper"), host.process("supervisor"));
    signal("STOP", keeper);
    signal("STOP", supervisor);
    for pid in [keeper, supervisor] {
        signal("KILL", pid);
        eventually("both are dead", || !alive(pid));
    }
    let path = host.state().join("run/fleet.json");
    let mut kept: Value =
        serde_json::from_slice(&fs::read(&path).expect("snapshot")).expect("JSON");
    let all = kept.as_object_mut().expect("an object");
    all.remove("squads").expect("fleets");
    all.insert("desired".to_owned(), serde_json::json!({ "shop": 3 }));
    for slot in all["slots"].as_array_mut().expect("slots") {
        let machine = slot["machine"].as_object_mut().expect("machine");
        for key in ["owed", "deaths"] {
            machine.remove(key).expect("what layout 1 had not");
        }
        let policy = machine["policy"].as_object_mut().expect("policy");
        policy.remove("led").expect("what layout 1 had not");
    }
    fs::write(&path, kept.to_string()).expect("snapshot");
    fs::write(host.state().join("VERSION"), "1\n").expect("VERSION");
    (host, before)
}

fn version(host: &Host) -> String {
    let text = fs::read_to_string(host.state().join("VERSION"));
    text.expect("VERSION").trim().to_owned()
}

#[test]
fn a_state_directory_of_the_version_before_is_migrated_and_what_runs_is_adopted() {
    let (host, before) = of_layout_1();
    host.up();
    assert_eq!(version(&host), "2");
    // Three, as was asked of the old one; two, as the file says, without the migration.
    assert_eq!(instances(&host), before);
    host.down();
}

#[test]
fn a_migration_that_was_killed_in_the_middle_is_continued_by_the_next_start() {
    let (host, before) = of_layout_1();
    // Where it reads this file it stands still: it has begun, and not ended.
    let config = host.state().join("config.json");
    let kept = fs::read(&config).expect("config.json");
    fs::remove_file(&config).expect("config.json");
    let made = Command::new("mkfifo")
        .arg(&config)
        .status()
        .expect("mkfifo");
    assert!(made.success());
    let mut up = host.command(&["up", "-d"]).spawn().expect("starts");
    let begun = host.state().join("run/fleet.json.1");
    eventually("it has begun", || begun.exists());
    up.kill().expect("kill");
    up.wait().expect("wait");
    assert_eq!(version(&host), "1");
    fs::remove_file(&config).expect("FIFO");
    fs::write(&config, kept).expect("config.json");
    host.up();
    assert_eq!(version(&host), "2");
    assert!(!begun.exists());
    assert_eq!(instances(&host), before);
    host.down();
}

#[test]
fn a_file_that_was_replaced_is_no_upgrade_until_it_is_asked_for() {
    let host = Host::shop(1, "");
    let place = copy(&host, "grace-here");
    let here = |args: &[&str]| {
        let mut command = Command::new(&place);
        command.args(args).arg("--config").arg(host.file());
        let output = command.output().expect("starts");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    here(&["up", "-d"]);
    let old = file(&place);
    let exe = |pid: u32| file(format!("/proc/{pid}/exe"));
    let next = copy(&host, "grace-next");
    fs::rename(&next, &place).expect("rename");
    for name in PROCESSES {
        let pid = host.process(name);
        signal("KILL", pid);
        eventually("another process", || host.process(name) != pid);
        assert_eq!(
            exe(host.process(name)),
            old,
            "{name} runs what nobody chose"
        );
    }
    // Without a path it is the program that is called.
    here(&["upgrade"]);
    all_run(&host, &place);
    host.down();
}
