//! The list of files that `grace plugin new` writes is whole: a source file of the SDK that is
//! missing there would break every new plugin.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn listed() -> Vec<(String, String, String)> {
    let list = std::fs::read_to_string(root().join("plugins/template/embed.txt")).unwrap();
    list.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(
            |line| match line.split(' ').collect::<Vec<_>>().as_slice() {
                [world, source, destination] => {
                    ((*world).into(), (*source).into(), (*destination).into())
                }
                _ => panic!("not world, source, destination: {line}"),
            },
        )
        .collect()
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path.strip_prefix(root()).unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_of_the_sdk_the_contract_and_the_templates_is_listed_and_no_other() {
    let mut there = BTreeSet::new();
    for folder in [
        "plugins/sdk/src",
        "wit",
        "plugins/template/detector",
        "plugins/template/action",
    ] {
        files(&root().join(folder), &mut there);
    }
    there.insert("plugins/sdk/Cargo.toml".into());
    let listed: BTreeSet<PathBuf> = listed()
        .into_iter()
        .map(|(_, source, _)| source.into())
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn a_world_is_detector_action_or_both_and_no_destination_leaves_the_folder() {
    for (world, _, destination) in listed() {
        assert!(
            ["detector", "action", "both"].contains(&world.as_str()),
            "{world}"
        );
        assert!(
            !destination.starts_with('/') && !destination.contains(".."),
            "{destination}"
        );
    }
}
