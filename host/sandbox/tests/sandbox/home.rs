//! Groups of one state directory: made, found again, swept, removed.

use std::path::PathBuf;

use grace_os::cgroup::{self, Place};
use grace_sandbox::Home;

use crate::stage::{Stage, host, service, until};

fn tops(host: &str) -> Vec<PathBuf> {
    let own = cgroup::own().unwrap_or_default();
    own.iter()
        .map(|place: &Place| place.dir.join(format!("grace-{host}")))
        .filter(|dir| dir.is_dir())
        .collect()
}

#[test]
fn groups_that_belong_to_nobody_are_ended_and_others_are_not_touched() {
    let stage = Stage::new("sweep");
    let mut kept = stage.run(&service(|_| {}), "sleep 600");
    let stray = stage.run(
        &service(|_| {}),
        "setsid sleep 600 & setsid sleep 600 & wait",
    );
    let Some(group) = stray.group.clone() else {
        let test = "groups_that_belong_to_nobody_are_ended_and_others_are_not_touched";
        grace_needs::not_run(test, "no control groups can be made here");
        return;
    };
    until("its family", || group.pids().len() == 3);
    // As another start of the same host would.
    let again = Home::open(&host("sweep"), None);
    let name = |group: &grace_os::cgroup::Group| {
        let dir = &group.places()[0].dir;
        dir.file_name().unwrap().to_str().unwrap().to_owned()
    };
    let (gone, faults) = again.sweep(&[name(kept.group())]);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(gone, [name(&group)]);
    assert!(group.pids().is_empty());
    assert!(!stray.is_alive() && kept.is_alive());
    // Another host's groups are not its own.
    let other = Home::open(&host("sweep-other"), None);
    assert_eq!(other.sweep(&[]).0, Vec::<String>::new());
    other.close();
    assert!(kept.is_alive());
    assert!(kept.group().kill(crate::stage::LONG).is_empty());
    kept.ended();
}

#[test]
fn a_closed_home_leaves_no_directory_and_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("cgroups.json");
    let name = host("close");
    let home = Home::open(&name, Some(&record));
    let group = home.make("shop-1.1", true).unwrap();
    assert_eq!(group.is_some(), !tops(&name).is_empty());
    home.close();
    assert_eq!(tops(&name), Vec::<PathBuf>::new());
    assert!(!record.exists());
}

#[test]
fn what_an_earlier_start_left_in_another_group_is_swept_too() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("cgroups.json");
    let name = host("moved");
    let Some(place) = cgroup::own().unwrap().into_iter().next() else {
        return;
    };
    let Ok(outer) = grace_os::cgroup::Group::make(&[place], &host("moved-outer")) else {
        let test = "what_an_earlier_start_left_in_another_group_is_swept_too";
        grace_needs::not_run(test, "no control groups can be made here");
        return;
    };
    let old = outer.places()[0].dir.join(format!("grace-{name}"));
    std::fs::create_dir_all(old.join("shop-1.7")).unwrap();
    // A damaged record must not have anything else removed.
    let strange = outer.places()[0].dir.clone();
    let text = serde_json::to_vec(&[&old, &strange]).unwrap();
    std::fs::write(&record, text).unwrap();
    let home = Home::open(&name, Some(&record));
    let (gone, _) = home.sweep(&[]);
    assert_eq!(gone, ["shop-1.7"]);
    assert!(!old.exists() && strange.exists());
    home.close();
    outer.remove().unwrap();
}
