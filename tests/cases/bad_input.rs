//! Bad input: each with a message that a person can act on, and nothing lost.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use grace_ledger::{Queries, Reader};

use crate::harness::{Host, Traffic, alive, as_root, eventually, get, grace, signal, worker};

fn service(rest: &str) -> String {
    format!("[[service]]\nname = \"shop\"\n{rest}\n")
}

fn simple(command: &str) -> String {
    service(&format!(
        "command = {command}\nlisten = \"127.0.0.1:0\"\ninstances = 1\nready = {{ http = \"/healthz\" }}"
    ))
}

#[test]
fn an_unknown_key_is_an_error_with_line_and_did_you_mean() {
    let host = Host::new(&service("command = [\"true\"]\ninstance = 3"));
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("grace.toml:") && run.stderr.contains("instance"),
        "{run:?}"
    );
    assert!(run.stderr.contains("instances"), "no did-you-mean: {run:?}");
    assert!(!host.state().join("run/supervisor.sock").exists());
}

#[test]
fn an_unreadable_or_broken_grace_toml_is_named() {
    let host = Host::new("[[service]\nname = 1\n");
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("grace.toml:2"), "{run:?}");
    fs::remove_file(host.file()).expect("remove");
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("grace.toml") && run.stderr.contains("grace init"),
        "{run:?}"
    );
}

#[test]
fn a_command_that_does_not_exist_is_named_before_anything_starts() {
    let host = Host::new(&simple("[\"no-such-program-here\"]"));
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("no-such-program-here") && run.stderr.contains("shop"),
        "{run:?}"
    );
}

#[test]
fn a_port_taken_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = other.local_addr().expect("address");
    let host = Host::new(&service(&format!(
        "command = {}\nlisten = \"{addr}\"",
        worker("")
    )));
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains(&addr.to_string()), "{run:?}");
    drop(other);
    assert!(!host.state().join("run/supervisor.sock").exists());
}

#[test]
fn a_worker_that_never_gets_ready_is_shown_with_its_last_words() {
    let host = Host::new(&service(
        "command = [\"sh\", \"-c\", \"echo waiting for the till; exec sleep 300\"]\nlisten = \"127.0.0.1:0\"\n\
         ready = { http = \"/\" }\nstart_timeout = \"1s\"",
    ));
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("shop-1") && run.stderr.contains("waiting for the till"),
        "{run:?}"
    );
    let _ = host.run(&["down"]);
}

#[test]
fn a_worker_that_dies_at_once_is_shown_with_its_cause() {
    let host = Host::new(&service(
        "command = [\"sh\", \"-c\", \"echo no till found >&2; exit 7\"]\nlisten = \"127.0.0.1:0\"\n\
         ready = { http = \"/\" }\nrestart = { own_max = 2, backoff_min = \"10ms\" }\nstart_timeout = \"2s\"",
    ));
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("no till found"), "{run:?}");
    assert!(run.stderr.contains('7'), "{run:?}");
    let _ = host.run(&["down"]);
}

#[test]
fn a_state_directory_owned_by_another_is_refused() {
    if !as_root("a_state_directory_owned_by_another_is_refused") {
        return;
    }
    let host = Host::new(&simple(&worker("")));
    fs::create_dir(host.state()).expect("mkdir");
    std::os::unix::fs::chown(host.state(), Some(12_345), Some(12_345)).expect("chown");
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("state") && run.stderr.contains("12345"),
        "{run:?}"
    );
}

#[test]
fn a_second_up_on_the_same_state_is_refused_and_harms_nothing() {
    let host = Host::new(&simple(&worker("")));
    let addr = host.up();
    let pid = host.pid("shop-1");
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("already") && run.stderr.contains("grace down"),
        "{run:?}"
    );
    assert_eq!(host.pid("shop-1"), pid);
    assert_eq!(get(addr, "/hello?id=1").expect("answer").status, 200);
    host.down();
}

#[test]
fn a_state_directory_of_a_later_version_is_refused() {
    let host = Host::new(&simple(&worker("")));
    fs::create_dir(host.state()).expect("mkdir");
    fs::set_permissions(host.state(), fs::Permissions::from_mode(0o700)).expect("chmod");
    fs::write(host.state().join("VERSION"), "9999\n").expect("write");
    let run = host.run(&["up", "-d"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("9999"), "{run:?}");
}

#[test]
fn a_flipped_bit_in_the_ledger_is_noticed_and_nothing_is_lost() {
    let host = Host::shop(1, "");
    host.up();
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.new_process("shop-1", pid);
    host.incident("shop-1", "resolved");
    host.down();
    // What was written last is in the log beside the database until it is folded in.
    let of = |name: &str| host.state().join(name);
    let found = ["ledger.db-wal", "ledger.db"].into_iter().find_map(|name| {
        let bytes = fs::read(of(name)).ok()?;
        let at = bytes
            .windows(14)
            .rposition(|window| window == b"instance-crash")?;
        Some((name, bytes, at))
    });
    let (name, mut bytes, at) = found.expect("the entry is on disk");
    bytes[at] ^= 1;
    fs::write(of(name), &bytes).expect("write");
    host.up();
    eventually("the damaged ledger is kept aside", || {
        fs::read_dir(host.state())
            .expect("state")
            .flatten()
            .any(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("ledger.db.damaged")
                    && fs::read(entry.path()).is_ok_and(|kept| kept == bytes)
            })
    });
    eventually("a person is told", || {
        host.incidents()
            .iter()
            .any(|one| one.to_string().contains("ledger-damaged"))
    });
    host.down();
}

#[test]
fn a_full_disk_stops_neither_traffic_nor_the_reflex() {
    if !as_root("a_full_disk_stops_neither_traffic_nor_the_reflex") {
        return;
    }
    let host = Host::shop(2, "");
    let mount = Mount::tmpfs(&host.state(), "24m");
    let addr = host.up();
    let filler = mount.fill();
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.new_process("shop-1", pid);
    assert_eq!(get(addr, "/hello?id=1").expect("answer").status, 200);
    // With space again, healing goes on.
    fs::remove_file(&filler).expect("remove");
    let pid = host.pid("shop-2");
    signal("STOP", pid);
    host.new_process("shop-2", pid);
    host.incident("shop-2", "resolved");
    host.down();
    drop(host.run(&["down"]));
    drop(mount);
}

#[test]
fn a_full_disk_gives_a_person_a_message_to_act_on_that_goes_when_there_is_room() {
    if !as_root("a_full_disk_gives_a_person_a_message_to_act_on_that_goes_when_there_is_room") {
        return;
    }
    let host = Host::shop(2, "");
    let mount = Mount::tmpfs(&host.state(), "24m");
    let addr = host.up();
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.new_process("shop-1", pid);
    let before = host.incident("shop-1", "resolved");
    assert_eq!(
        host.json(&["status"])["troubles"],
        serde_json::json!([]),
        "a disk with room is full"
    );
    let traffic = Traffic::start(addr);
    traffic.more(20);

    let filler = mount.fill();
    let path = host.state().display().to_string();
    eventually("`grace status --json` says it", || {
        let status = host.json(&["status"]);
        let trouble = &status["troubles"][0];
        let remedy = trouble["remedy"].as_str().unwrap_or_default();
        trouble["kind"] == "disk-full"
            && trouble["path"] == path
            && remedy.contains("free some space")
            && remedy.contains(&path)
            && status["whole"] == false
    });
    let said = format!("the disk of {path} is full");
    let run = host.run(&["status"]).good();
    assert!(
        run.stdout.contains(&said) && run.stdout.contains("free some space"),
        "{run:?}"
    );
    let run = host.run(&["doctor"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains(&said) && run.stdout.contains("free some space"),
        "{run:?}"
    );
    // What died is started again, and what is known can be read.
    for name in ["shop-1", "shop-2"] {
        let pid = host.pid(name);
        signal("KILL", pid);
        host.new_process(name, pid);
    }
    assert!(host.incidents().iter().any(|one| one["id"] == before["id"]));
    // A healer that starts on a full disk waits for room.
    signal("KILL", host.process("healer"));
    traffic.more(100);

    fs::remove_file(&filler).expect("remove");
    eventually("the message goes away", || {
        let status = host.json(&["status"]);
        status["troubles"] == serde_json::json!([]) && status["whole"] == true
    });
    let run = host.run(&["status"]).good();
    assert!(!run.stdout.contains("is full"), "{run:?}");
    let run = host.run(&["doctor"]).good();
    assert!(!run.stdout.contains("is full"), "{run:?}");
    eventually("what was known is known", || {
        host.incidents().iter().any(|one| one["id"] == before["id"])
    });
    let pid = host.pid("shop-2");
    signal("STOP", pid);
    host.new_process("shop-2", pid);
    host.incident("shop-2", "resolved");
    assert_eq!(traffic.stop(), Vec::<String>::new());
    let damaged = host
        .incidents()
        .iter()
        .any(|one| one.to_string().contains("ledger-damaged"));
    assert!(!damaged, "a full disk was taken for damage");
    host.down();
    let ledger = Reader::open(&host.state().join("ledger.db")).expect("ledger");
    assert!(ledger.verify().expect("the ledger verifies") > 0);
    drop(ledger);
    drop(mount);
}

/// A small file system that is the state directory.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(at: &std::path::Path, size: &str) -> Self {
        fs::create_dir(at).expect("mkdir");
        fs::set_permissions(at, fs::Permissions::from_mode(0o700)).expect("chmod");
        let status = std::process::Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0700"),
                "tmpfs",
            ])
            .arg(at)
            .status()
            .expect("mount");
        assert!(status.success(), "mount");
        Self(at.to_owned())
    }

    /// Writes until nothing more goes in, and gives the file that takes the room.
    fn fill(&self) -> std::path::PathBuf {
        let filler = self.0.join("filler");
        let full = fs::write(&filler, vec![0_u8; 64 << 20]);
        assert!(full.is_err(), "the disk is not full");
        filler
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.0.join("logs/grace.log")).unwrap_or_default();
            for line in log.lines().rev().take(60).collect::<Vec<_>>().iter().rev() {
                eprintln!("grace.log: {line}");
            }
        }
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_killed_front_leaves_the_fleet_and_up_attaches_again() {
    let host = Host::shop(1, "");
    let mut front = host
        .command(&["up", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("up");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        front.stdout.take().expect("stdout"),
    ));
    let ready: serde_json::Value =
        serde_json::from_str(&lines.next().expect("line").expect("text")).expect("json");
    assert_eq!(ready["event"], "ready");
    let pid = host.pid("shop-1");
    signal("KILL", front.id());
    front.wait().expect("wait");
    assert!(alive(pid));
    let ready = host.json(&["up", "-d"]);
    assert_eq!(ready["event"], "ready");
    assert_eq!(host.pid("shop-1"), pid);
    host.down();
    assert!(grace().exists());
}
