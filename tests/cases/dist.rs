//! The packed binary. Ignored in a plain run, because it is built by itself: `cargo xtask test
//! dist` packs it and runs these.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Host, alone, as_root, eventually, grace, pids_with_marker};

/// Runs a command where the checkout, cargo's home and rustup's are empty directories, in a
/// mount namespace of its own, with nothing in its environment and nothing on its PATH.
const HIDDEN: &str = r#"
set -e
for dir in "$CHECKOUT" "$CARGO_HOME" "$RUSTUP_HOME"; do
  [ ! -d "$dir" ] || mount -t tmpfs none "$dir"
done
[ ! -e "$CHECKOUT/Cargo.toml" ]
cd /
exec env -i PATH=/nonexistent TMPDIR="$ROOM" "$ROOM/grace" "$@"
"#;

fn hidden(room: &Path, args: &[&str]) -> Command {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let of_home =
        |name: &str, dir: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{dir}"));
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HIDDEN,
            "sh",
        ])
        .args(args)
        .env("CHECKOUT", env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_HOME", of_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", of_home("RUSTUP_HOME", ".rustup"))
        .env("ROOM", room);
    command
}

#[test]
#[ignore = "cargo xtask test dist packs the binary and runs it"]
fn the_packed_binary_demonstrates_itself_where_neither_checkout_nor_toolchain_is() {
    if !as_root("the_packed_binary_demonstrates_itself_where_neither_checkout_nor_toolchain_is") {
        return;
    }
    let _alone = alone();
    let room = tempfile::Builder::new()
        .prefix("grace-p-")
        .tempdir()
        .expect("tempdir");
    // As root, services run as nobody.
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::copy(grace(), room.path().join("grace")).expect("copy");
    let output = hidden(room.path(), &["demo", "--json"])
        .output()
        .expect("unshare");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    let faults = report["faults"].as_array().expect("faults");
    // By plugins and playbooks, which can only have come from inside.
    let by: Vec<_> = faults
        .iter()
        .filter(|fault| fault["healed"] == true)
        .filter_map(|fault| fault["playbook"].as_str())
        .collect();
    assert_eq!(
        by,
        [
            "instance-crash",
            "instance-hang",
            "config-corrupt",
            "instance-hang"
        ],
        "{told}"
    );
    assert_eq!(report["requests"]["failed"], 0, "{told}");
    let marker = room.path().display().to_string();
    eventually("nothing of it runs", || {
        pids_with_marker(&marker).is_empty()
    });
}

#[test]
#[ignore = "cargo xtask test dist packs the binary and runs it"]
fn the_packed_binary_compiles_none_of_its_components_and_any_other() {
    let host = Host::shop(
        1,
        "[plugins.grants]\nstd-hello = [\"events:read\"]\n\
         [plugins]\ndir = \"plugins.d\"\nrescan = \"500ms\"\n",
    );
    let drop_in = host.dir().join("plugins.d");
    fs::create_dir(&drop_in).expect("mkdir");
    host.up();
    let live = || {
        let list = host.json(&["plugin", "list"]);
        let all = list["plugins"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| one["state"] == "live").count()
    };
    // What is compiled is kept.
    let kept = || -> usize {
        let entries = fs::read_dir(host.state().join("cache/components"));
        let files = entries.into_iter().flatten().flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|end| end == "cwasm"))
            .count()
    };
    eventually("the shipped plugins are live", || live() >= 10);
    assert_eq!(kept(), 0);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/out/fixtures");
    for end in ["toml", "wasm"] {
        let file = format!("std-hello.{end}");
        fs::copy(fixtures.join(&file), drop_in.join(&file)).expect("copy");
    }
    eventually("another is compiled and kept", || kept() == 1);
    host.down();
}
