//! Plugins from outside: dropped in, granted, refused, disabled, built by strangers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Host, eventually, eventually_some, fixture, signal};

struct WithPlugins {
    host: Host,
    dir: PathBuf,
}

fn with_plugins() -> WithPlugins {
    let host = Host::shop(
        2,
        "[plugins.grants]\nstd-hello = [\"events:read\"]\ntrap = [\"events:read\", \"metrics:read\"]\n\
         spin = [\"events:read\", \"metrics:read\"]\ngrow = [\"events:read\", \"metrics:read\"]\n\
         [plugins]\ndir = \"plugins.d\"\nrescan = \"500ms\"\nstrikes = 3\n",
    );
    let dir = host.dir().join("plugins.d");
    fs::create_dir(&dir).expect("mkdir");
    host.up();
    WithPlugins { host, dir }
}

impl WithPlugins {
    fn drop_in(&self, name: &str, wasm: &[u8], manifest: &str) {
        fs::write(self.dir.join(format!("{name}.toml")), manifest).expect("write");
        fs::write(self.dir.join(format!("{name}.wasm")), wasm).expect("write");
    }

    fn plugin(&self, name: &str) -> Option<Value> {
        let list = self.host.try_json(&["plugin", "list"])?;
        list["plugins"]
            .as_array()?
            .iter()
            .find(|one| one["name"] == name)
            .cloned()
    }

    fn becomes(&self, name: &str, state: &str) -> Value {
        eventually_some(
            &format!("{name} is {state}; it is {:?}", self.plugin(name)),
            || self.plugin(name).filter(|one| one["state"] == state),
        )
    }

    /// The host and the other plugins did not notice.
    fn still_heals(&self) {
        let pid = self.host.pid("shop-1");
        signal("STOP", pid);
        self.host.new_process("shop-1", pid);
        self.host.incident("shop-1", "resolved");
    }
}

#[test]
fn a_component_dropped_in_is_live_and_removed_is_gone() {
    let with = with_plugins();
    let (wasm, manifest) = fixture("std-hello");
    with.drop_in("std-hello", &wasm, &manifest);
    with.becomes("std-hello", "live");
    fs::remove_file(with.dir.join("std-hello.wasm")).expect("remove");
    fs::remove_file(with.dir.join("std-hello.toml")).expect("remove");
    eventually("it is gone", || with.plugin("std-hello").is_none());
    with.host.down();
}

#[test]
fn hostile_components_are_disabled_and_nobody_else_notices() {
    let with = with_plugins();
    for name in ["trap", "spin", "grow"] {
        let (wasm, manifest) = fixture(name);
        with.drop_in(name, &wasm, &manifest);
    }
    for name in ["trap", "spin", "grow"] {
        let plugin = eventually_some(&format!("{name} is out"), || {
            with.plugin(name)
                .filter(|one| one["state"] == "disabled" || one["state"] == "refused")
        });
        assert!(
            plugin["error"]
                .as_str()
                .is_some_and(|error| error.contains(name)),
            "{plugin}"
        );
    }
    with.still_heals();
    with.host.down();
}

#[test]
fn what_is_no_component_is_refused_with_file_cause_and_remedy() {
    let with = with_plugins();
    let (wasm, manifest) = fixture("std-hello");
    with.drop_in("junk", b"not wasm at all", &manifest);
    with.drop_in("cut", &wasm[..wasm.len() / 2], &manifest);
    with.drop_in(
        "wrong-world",
        &wasm,
        &manifest.replace("\"detector\"", "\"action\""),
    );
    with.drop_in("bad-manifest", &wasm, &format!("wrold = 1\n{manifest}"));
    for name in ["junk", "cut", "wrong-world", "bad-manifest"] {
        let plugin = with.becomes(name, "refused");
        let error = plugin["error"].as_str().unwrap_or_default();
        assert!(
            error.contains(&format!("plugins.d/{name}.")),
            "no file in {error:?}"
        );
    }
    with.still_heals();
    with.host.down();
}

#[test]
fn an_unanswered_ask_waits_and_shows_the_command_to_type() {
    let with = with_plugins();
    let (wasm, manifest) = fixture("std-hello");
    let manifest = manifest
        .lines()
        .filter(|line| !line.starts_with("wants"))
        .collect::<Vec<_>>()
        .join("\n");
    let (head, tail) = manifest.split_at(manifest.find("[").unwrap_or(manifest.len()));
    with.drop_in(
        "asks",
        &wasm,
        &format!("{head}\nwants = [\"metrics:read\"]\n{tail}"),
    );
    let plugin = with.becomes("asks", "waiting-for-grant");
    let error = plugin["error"].as_str().unwrap_or_default();
    assert!(
        error.contains("grace plugin grant asks metrics:read"),
        "{error}"
    );
    let _ = with
        .host
        .run(&["plugin", "grant", "asks", "metrics:read"])
        .good();
    with.becomes("asks", "live");
    with.host.down();
}

#[test]
fn a_broken_replacement_leaves_the_old_one_live_and_says_why() {
    let with = with_plugins();
    let (wasm, manifest) = fixture("std-hello");
    with.drop_in("std-hello", &wasm, &manifest);
    with.becomes("std-hello", "live");
    fs::write(with.dir.join("std-hello.wasm"), b"broken").expect("write");
    let plugin = eventually_some("the reason is shown", || {
        with.plugin("std-hello")
            .filter(|one| !one["error"].is_null())
    });
    assert_eq!(plugin["state"], "live", "{plugin}");
    with.host.down();
}

fn build_new_plugin(how: &[&str], made: &str) {
    let with = with_plugins();
    let run = with
        .host
        .run(&["plugin", "new", "mine", "--world", "detector"])
        .good();
    let folder = with.host.dir().join("mine");
    assert!(folder.join("Cargo.toml").exists(), "{run:?}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(how)
        .current_dir(&folder)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{how:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let wasm = folder.join(made);
    let bytes = fs::read(&wasm).unwrap_or_else(|error| panic!("{}: {error}", wasm.display()));
    let manifest = fs::read_to_string(folder.join("plugin.toml")).expect("plugin.toml");
    with.drop_in("mine", &bytes, &manifest);
    eventually("it is found", || with.plugin("mine").is_some());
    if with
        .plugin("mine")
        .is_some_and(|one| one["state"] == "waiting-for-grant")
    {
        for want in with.plugin("mine").expect("mine")["wants"]
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            let _ = with
                .host
                .run(&["plugin", "grant", "mine", want.as_str().expect("text")])
                .good();
        }
    }
    with.becomes("mine", "live");
    with.host.down();
}

#[test]
fn a_new_plugin_builds_unchanged_with_cargo_and_is_live_when_dropped_in() {
    build_new_plugin(
        &["build", "--release", "--target", "wasm32-wasip2"],
        "target/wasm32-wasip2/release/mine.wasm",
    );
}

#[test]
fn a_new_plugin_builds_unchanged_with_cargo_component_and_is_live_when_dropped_in() {
    let how = ["component", "build", "--release"];
    build_new_plugin(&how, "target/wasm32-wasip1/release/mine.wasm");
}
