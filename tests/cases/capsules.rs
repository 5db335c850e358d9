//! A failure becomes evidence: recorded, replayed in copies, made smaller, handed on without its
//! secrets. With the real host, real processes and the real proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Host, Traffic, alive, eventually, eventually_some, pids_with_marker, send};

/// An order with one quantity below zero, which aborts the sample worker.
const POISON: &str = "{\"customer\":{\"name\":\"Ada\",\"password\":\"hunter2-planted\"},\
    \"items\":[{\"sku\":\"a\",\"quantity\":2},{\"sku\":\"b\",\"quantity\":-1}],\"note\":\"hello\"}";

/// Waits for a capsule of this kind.
fn capsule(host: &Host, kind: &str) -> Value {
    eventually_some(&format!("a capsule of kind {kind}"), || {
        let all = host.try_json(&["capsule", "list"])?;
        let all = all["capsules"].as_array()?.clone();
        all.into_iter().find(|one| one["kind"] == kind)
    })
}

fn id(capsule: &Value) -> String {
    capsule["id"].as_str().expect("an id").to_owned()
}

/// A fleet under load, of which a poison request has killed one.
fn poisoned(more: &str) -> (Host, Value) {
    let host = Host::shop(3, more);
    let front = host.up();
    let traffic = Traffic::start(front);
    traffic.more(50);
    let target = "/order?token=query-planted&page=2";
    let answer = send(front, "POST", target, POISON).expect("an answer");
    assert_eq!(answer.status, 502, "{answer:?}");
    traffic.more(50);
    traffic.stop();
    let found = capsule(&host, "crash");
    (host, found)
}

#[test]
fn a_poison_request_becomes_a_capsule_that_replays_and_shrinks_to_its_one_field() {
    let (host, found) = poisoned("");
    let name = id(&found);
    assert!(found["suspects"].as_u64() >= Some(1), "{found}");
    assert!(found["requests"].as_u64() > Some(1), "{found}");
    assert_eq!(found["exit"]["cause"]["number"], 6, "{found}");

    let replay = host.run(&["capsule", "replay", &name, "-n", "2", "--json"]);
    assert_eq!(replay.code, 0, "{replay:?}");
    let verdict = replay.json();
    assert_eq!(verdict["verdict"]["verdict"], "reproducible", "{verdict}");
    assert_eq!(
        verdict["exits"],
        serde_json::json!(["signal:6", "signal:6"])
    );

    let small = host
        .run(&["capsule", "minimise", &name, "--json"])
        .good()
        .json();
    assert_eq!(
        (&small["requests"], &small["complete"]),
        (&1.into(), &true.into()),
        "{small}"
    );
    let shown = host.json(&["capsule", "show", small["id"].as_str().expect("id")]);
    let request = &shown["requests"][0];
    assert_eq!(request["target"], "/order", "{shown}");
    assert_eq!(
        request["body"], "{\"items\":[{\"quantity\":-1}]}",
        "{shown}"
    );
    assert_eq!(
        request["headers"].as_array().map(Vec::len),
        Some(0),
        "{shown}"
    );
    assert!(small["runs"].as_u64() < Some(139), "{small}");
    host.down();
}

#[test]
fn a_capsule_of_a_kill_from_outside_is_not_reproduced() {
    let host = Host::shop(2, "");
    let front = host.up();
    let traffic = Traffic::start(front);
    traffic.more(50);
    let pid = host.pid("shop-1");
    let _ = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    host.new_process("shop-1", pid);
    traffic.more(50);
    traffic.stop();
    let found = capsule(&host, "killed");
    let replay = host.run(&["capsule", "replay", &id(&found), "-n", "2", "--json"]);
    assert_eq!(replay.code, 1, "{replay:?}");
    assert_eq!(replay.json()["verdict"]["verdict"], "not-reproduced");
    let minimise = host.run(&["capsule", "minimise", &id(&found)]);
    assert_eq!(minimise.code, 1, "{minimise:?}");
    host.down();
}

/// All files below a directory.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            // Not pipes and sockets, which would be waited for.
            path if path.is_file() => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn what_leaves_has_no_secret_and_what_stays_is_its_owners_alone() {
    let (host, found) = poisoned("");
    let name = id(&found);
    let export = host.dir().join("for-you.capsule");
    let export = export.display().to_string();
    let runs = [
        host.run(&["capsule", "list"]),
        host.run(&["capsule", "list", "--json"]),
        host.run(&["capsule", "show", &name]),
        host.run(&["capsule", "show", &name, "--json"]),
        host.run(&["capsule", "export", &name, &export]),
        host.run(&["capsule", "verify", &export]),
        host.run(&["capsule", "replay", &name, "-n", "1"]),
    ];
    let bytes = fs::read(&export).expect("the export");
    let (_, view) = grace_capsule::decode(&bytes).expect("a capsule");
    let unpacked = serde_json::to_string(&view).expect("JSON");
    let log = fs::read_to_string(host.state().join("logs/grace.log")).expect("a log");
    for planted in ["hunter2-planted", "query-planted"] {
        for run in &runs {
            assert!(
                !run.stdout.contains(planted) && !run.stderr.contains(planted),
                "{run:?}"
            );
        }
        assert!(!unpacked.contains(planted), "{unpacked}");
        assert!(!log.contains(planted), "{log}");
        let mut all = Vec::new();
        files(host.dir(), &mut all);
        // The raw ones stay, readable by their owner only.
        all.retain(|file| !file.starts_with(host.state().join("capsules")));
        for file in all {
            let inside = fs::read(&file).unwrap_or_default();
            let holds = inside
                .windows(planted.len())
                .any(|it| it == planted.as_bytes());
            assert!(!holds, "{} holds {planted}", file.display());
        }
    }
    // The raw one has them, or the scan above would prove nothing.
    let path = found["path"].as_str().expect("a path");
    let raw = fs::read(path).expect("the capsule");
    let (_, raw) = grace_capsule::decode(&raw).expect("a capsule");
    assert!(
        serde_json::to_string(&raw)
            .expect("JSON")
            .contains("hunter2-planted")
    );
    let mode = fs::metadata(path)
        .expect("the capsule")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let foreign = host
        .run(&["capsule", "import", &export, "--json"])
        .good()
        .json();
    assert_eq!(foreign["form"], "redacted");
    fs::write(host.dir().join("half"), &bytes[..bytes.len() / 2]).expect("half");
    let half = host.dir().join("half").display().to_string();
    let half = host.run(&["capsule", "verify", &half]);
    assert!(
        half.code == 1 && half.stderr.contains("truncated"),
        "{half:?}"
    );
    host.down();
}

#[test]
fn a_service_that_stores_redacted_capsules_stores_no_secret() {
    let host = Host::new(&format!(
        "{}\n[service.record.redact]\nat_rest = true\n",
        Host::shop_toml(2, "")
    ));
    let front = host.up();
    let _ = send(front, "POST", "/order?token=query-planted", POISON);
    let found = capsule(&host, "crash");
    assert_eq!(found["form"], "redacted");
    let raw = fs::read(found["path"].as_str().expect("a path")).expect("the capsule");
    let (_, stored) = grace_capsule::decode(&raw).expect("a capsule");
    let text = serde_json::to_string(&stored).expect("JSON");
    assert!(!text.contains("planted"), "{text}");
    host.down();
}

#[test]
fn a_route_that_is_not_recorded_is_in_no_capsule() {
    let host = Host::new(&format!(
        "{}\n[service.record]\nroutes = [{{ path = \"/order\", record = false }}]\n",
        Host::shop_toml(2, "")
    ));
    let front = host.up();
    let _ = send(front, "POST", "/order?token=query-planted", POISON);
    let found = capsule(&host, "crash");
    let shown = host.json(&["capsule", "show", &id(&found)]);
    let targets = shown["requests"].as_array().expect("requests");
    assert!(targets.iter().all(|it| it["target"] != "/order"), "{shown}");
    assert_eq!(found["suspects"], 0, "{found}");
    host.down();
}

#[test]
fn a_replay_that_is_killed_leaves_no_process_no_mount_and_no_directory() {
    let (host, found) = poisoned("");
    let name = id(&found);
    let copies = || pids_with_marker("GRACE_COPY=1");
    let others = copies();
    let mut replay = host
        .command(&["capsule", "replay", &name, "-n", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a replay");
    let new = eventually_some("a copy", || {
        let new: Vec<u32> = copies()
            .into_iter()
            .filter(|pid| !others.contains(pid))
            .collect();
        (!new.is_empty()).then_some(new)
    });
    replay.kill().expect("kill -9 of the replay");
    let _ = replay.wait();
    eventually("the copies have ended with who made them", || {
        new.iter().all(|pid| !alive(*pid))
    });
    let own = format!("{}", host.state().display());
    eventually("nothing of the host is mounted", || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        !mounts.contains(&own)
    });
    let left: Vec<_> = fs::read_dir("/tmp")
        .expect("/tmp")
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("grace-copy")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
    host.down();
}

#[test]
fn a_copy_that_cannot_become_ready_is_no_evidence() {
    let (host, found) = poisoned("");
    let name = id(&found);
    // The same service, which now wants a database at its start.
    let config = host.state().join("config.json");
    let text = fs::read_to_string(&config).expect("the configuration");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value["services"][0]["command"] = serde_json::json!([
        "/bin/sh",
        "-c",
        "echo 'cannot connect to db.internal:5432: Connection refused' >&2; exit 1"
    ]);
    fs::write(&config, value.to_string()).expect("the configuration");
    let replay = host.run(&["capsule", "replay", &name, "--json"]);
    assert_eq!(replay.code, 2, "{replay:?}");
    let verdict = replay.json();
    assert_eq!(verdict["verdict"]["verdict"], "not-possible", "{verdict}");
    let why = verdict["verdict"]["why"].as_str().unwrap_or_default();
    assert!(
        why.contains("dependency missing: cannot connect to db.internal:5432"),
        "{why}"
    );
    fs::write(&config, text).expect("the configuration");
    let snapshots = host.state().join("capsules/snapshots");
    fs::remove_dir_all(&snapshots).expect("the snapshots");
    let replay = host.run(&["capsule", "replay", &name]);
    assert!(
        replay.code == 2 && replay.stderr.contains("snapshot"),
        "{replay:?}"
    );
    host.down();
}

#[test]
fn errors_one_after_another_become_a_capsule_that_replays_when_their_cause_is_recorded() {
    let host = Host::shop(2, "");
    let front = host.up();
    // The sample worker answers all but its probe with 500 from then on.
    let broken = send(front, "GET", "/break?errors=1", "").expect("an answer");
    assert_eq!(broken.status, 200);
    eventually("an instance that errs is recorded", || {
        let _ = send(front, "GET", "/hello", "");
        host.try_json(&["capsule", "list"]).is_some_and(|list| {
            let all = list["capsules"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["kind"] == "error-burst")
        })
    });
    let found = capsule(&host, "error-burst");
    let replay = host.run(&["capsule", "replay", &id(&found), "-n", "2", "--json"]);
    assert_eq!(replay.code, 0, "{replay:?}");
    assert_eq!(replay.json()["verdict"]["verdict"], "reproducible");
    let small = host
        .run(&["capsule", "minimise", &id(&found), "--json"])
        .good()
        .json();
    let shown = host.json(&["capsule", "show", small["id"].as_str().expect("id")]);
    let targets: Vec<&str> = shown["requests"]
        .as_array()
        .expect("requests")
        .iter()
        .filter_map(|it| it["target"].as_str())
        .collect();
    assert!(targets.contains(&"/break?errors=1"), "{targets:?}");
    host.down();
}

#[test]
fn requests_that_are_never_answered_become_a_capsule_of_a_hang_that_replays() {
    let host = Host::shop(2, "");
    let front = host.up();
    eventually("an instance that hangs is recorded", || {
        let asked: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    // Longer than any patience here; the client does not wait for it.
                    let stream = std::net::TcpStream::connect(front);
                    if let Ok(mut stream) = stream {
                        use std::io::{Read, Write};
                        let wait = Some(std::time::Duration::from_millis(1_500));
                        let _ = stream.set_read_timeout(wait);
                        let _ = stream.write_all(
                            b"POST /slow?ms=600000 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                        );
                        let _ = stream.read(&mut [0; 64]);
                    }
                })
            })
            .collect();
        for one in asked {
            one.join().expect("a client");
        }
        host.try_json(&["capsule", "list"]).is_some_and(|list| {
            let all = list["capsules"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["kind"] == "hang")
        })
    });
    let found = capsule(&host, "hang");
    assert!(found["suspects"].as_u64() >= Some(1), "{found}");
    let replay = host.run(&["capsule", "replay", &id(&found), "-n", "1", "--json"]);
    assert_eq!(replay.code, 0, "{replay:?}");
    assert_eq!(replay.json()["verdict"]["verdict"], "reproducible");
    host.down();
}
