//! Artifacts with checksums: a corrupted one is found, put back and proved; with healing off it stays.

use std::fs;

use serde_json::Value;

use crate::harness::{Host, eventually, grace};

const GOOD: &[u8] = b"weights 1 2 3";
const BAD: &[u8] = b"weights 1 2 4";

/// A service with an artifact that all its instances share.
fn host(more: &str) -> Host {
    let worker = grace().display().to_string();
    let host = Host::new(&format!(
        "{more}\n[[service]]\nname = \"shop\"\ncommand = [{worker:?}, \"internal\", \"shop-worker\", \"--port\", \"{{port}}\"]\n\
         listen = \"127.0.0.1:0\"\ninstances = 2\nready = {{ http = \"/healthz\" }}\nallow = [\"artifact.*\"]\n\
         [[service.artifact]]\npath = \"model.bin\"\n"
    ));
    fs::write(host.dir().join("model.bin"), GOOD).expect("write");
    host
}

fn incident(host: &Host) -> Option<Value> {
    host.incidents()
        .into_iter()
        .find(|one| one["finding"]["kind"] == "artifact-corrupt")
}

#[test]
fn a_corrupted_artifact_is_put_back_and_what_uses_it_is_started_anew() {
    let host = host("");
    host.up();
    let file = host.dir().join("model.bin");
    let never = host.run(&["artifacts", "verify", "--json"]);
    assert_eq!(never.code, 1, "nothing was snapshotted yet: {never:?}");
    let taken = host.json(&["artifacts", "snapshot"]);
    assert!(taken["artifacts"][0]["problem"].is_null(), "{taken}");
    assert_eq!(taken["artifacts"][0]["target"], "shop");
    let pid = host.pid("shop-1");
    fs::write(&file, BAD).expect("write");
    eventually("the snapshotted bytes are back", || {
        fs::read(&file).is_ok_and(|bytes| bytes == GOOD)
    });
    host.new_process("shop-1", pid);
    let healed = host.incident("shop", "resolved");
    assert_eq!(healed["playbook"], "artifact-corrupt", "{healed}");
    let _ = host.run(&["artifacts", "verify", "shop"]).good();
    // What somebody snapshots is right from then on, and is left alone.
    fs::write(&file, BAD).expect("write");
    let _ = host.json(&["artifacts", "snapshot", "shop"]);
    let _ = host.run(&["artifacts", "verify"]).good();
    assert_eq!(fs::read(&file).expect("model"), BAD);
    host.down();
}

#[test]
fn with_healing_off_a_corrupted_artifact_is_seen_and_stays() {
    let host = host("[healing]\nplaybooks = false\n");
    host.up();
    let file = host.dir().join("model.bin");
    let _ = host.json(&["artifacts", "snapshot"]);
    let pid = host.pid("shop-1");
    fs::write(&file, BAD).expect("write");
    eventually("it is seen", || incident(&host).is_some());
    let verify = host.run(&["artifacts", "verify", "--json"]);
    assert_eq!(verify.code, 1, "{verify:?}");
    let problem = verify.json()["artifacts"][0]["problem"].clone();
    assert!(
        problem
            .as_str()
            .is_some_and(|what| what.contains("snapshotted")),
        "{problem}"
    );
    assert_eq!(fs::read(&file).expect("model"), BAD);
    assert_eq!(host.pid("shop-1"), pid);
    host.down();
}
