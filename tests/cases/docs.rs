//! The documents stay true: what they name exists.

use std::fs;
use std::path::PathBuf;

use crate::harness::Host;

fn read(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_grace_command_in_the_readme_exists() {
    let host = Host::shop(1, "");
    let text = read("README.md") + &read("ARCHITECTURE.md");
    let mut seen = 0;
    for piece in text.split('`').skip(1).step_by(2) {
        let Some(rest) = piece.trim().strip_prefix("grace ") else {
            continue;
        };
        let words: Vec<&str> = rest
            .split_whitespace()
            .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
            .collect();
        let Some(first) = words.first() else { continue };
        let mut args = vec![*first];
        if matches!(*first, "incidents" | "playbook" | "plugin")
            && let Some(second) = words.get(1)
        {
            args.push(second);
        }
        args.push("--help");
        let run = host.run(&args);
        assert_eq!(
            run.code, 0,
            "`{piece}` is in the documents and no command: {run:?}"
        );
        seen += 1;
    }
    assert!(seen > 5, "the README names {seen} commands");
}

#[test]
fn the_playbook_reference_names_every_shipped_playbook() {
    let reference = read("playbooks/README.md");
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    for entry in fs::read_dir(dir).expect("playbooks").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(id) = name.strip_suffix(".yaml") {
            assert!(
                reference.contains(id),
                "playbooks/README.md does not name {id}"
            );
        }
    }
}

#[test]
fn the_playbook_reference_names_every_fault_and_campaign() {
    let host = Host::shop(1, "");
    let reference = read("playbooks/README.md");
    let listed = host.json(&["chaos", "list"]);
    for kind in ["faults", "campaigns"] {
        for one in listed[kind].as_array().expect("a list") {
            let name = one["name"].as_str().expect("a name");
            assert!(
                reference.contains(&format!("| `{name}` |")),
                "playbooks/README.md does not name {name}"
            );
        }
    }
}

#[test]
fn every_plugin_setting_in_the_example_exists() {
    let mut plugin = None;
    let mut seen = 0;
    for line in read("host/grace/config/example.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            let name = line.strip_prefix("[plugins.config.");
            plugin = name.map(|name| name.trim_end_matches(']').to_owned());
        } else if let (Some(plugin), Some((key, _))) = (&plugin, line.split_once(" = ")) {
            let manifest = read(&format!("plugins/out/{plugin}.toml"));
            let settings = manifest.split("[config]").nth(1).unwrap_or_default();
            assert!(
                settings
                    .lines()
                    .any(|line| line.starts_with(&format!("{key} = "))),
                "{plugin} has no setting {key}: {settings}"
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "the example shows no setting");
}
