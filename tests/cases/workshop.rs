//! `grace plugin new`, `test`, `build`, `inspect`, `check`: a plugin's way from a folder to a host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Host, Run, eventually, eventually_some, fixture};

/// A component with its manifest beside it.
fn put(dir: &Path, name: &str) -> PathBuf {
    let (wasm, manifest) = fixture(name);
    let file = dir.join(format!("{name}.wasm"));
    fs::write(&file, wasm).expect("write");
    fs::write(file.with_extension("toml"), manifest).expect("write");
    file
}

#[test]
fn a_component_is_inspected_and_checked_without_a_host() {
    let host = Host::shop(1, "");
    let good = put(host.dir(), "std-hello");
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
fn with_cargo(host: &Host, args: &[&str]) -> Run {
    let mut command = host.command(args);
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let output = command.output().expect("grace");
    Run {
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
