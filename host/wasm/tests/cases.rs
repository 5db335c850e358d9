//! What `grace plugin inspect`, `check` and `test` stand on.

use grace_model::manifest::World;
use grace_wasm::{check, inspect, run_cases};

use crate::guests::{SLEEP, action, finder};
use crate::world::{DETECTOR, Yard};

#[test]
fn an_inspection_shows_imports_wants_and_limits_without_compiling() {
    let yard = Yard::new();
    let guest = action(
        "nap1",
        SLEEP,
        "(call $sleep (i32.const 1) (i32.const 5000)) (i32.const 1024)",
        "",
    );
    yard.put(
        "nap",
        &guest,
        "api = \"0.1\"\nworld = \"action\"\nsummary = \"naps\"\nwants = [\"clock\"]\n",
    );
    let inspection = inspect(&yard.file("nap.wasm")).expect("an inspection");
    assert_eq!(inspection.world, Some(World::Action));
    assert!(
        inspection
            .imports
            .contains(&"grace:plugin/clock@0.1.0".to_owned())
    );
    assert_eq!(
        (inspection.wants, inspection.needs),
        (vec!["clock".to_owned()], vec!["clock".to_owned()])
    );
    assert_eq!(
        (inspection.problem, inspection.name.as_str()),
        (None, "nap")
    );
    let checked = check(&yard.file("nap.wasm")).expect("a good plugin");
    assert_eq!(checked.actions.len(), 1);
    assert_eq!(checked.actions[0].name, "nap1.do");
}

#[test]
fn an_inspection_tells_what_would_be_refused() {
    let yard = Yard::new();
    yard.put(
        "odd",
        &finder("all-well", 1),
        "api = \"0.1\"\nworld = \"action\"\n",
    );
    let inspection = inspect(&yard.file("odd.wasm")).expect("an inspection");
    assert!(
        inspection
            .problem
            .is_some_and(|why| why.contains("grace:plugin/detect"))
    );
    assert!(check(&yard.file("odd.wasm")).is_err());
    assert!(inspect(&yard.file("none.wasm")).is_err());
}

#[test]
fn cases_pass_and_fail_by_what_comes_out() {
    let yard = Yard::new();
    yard.put("one", &finder("all-well", 1), DETECTOR);
    let folder = yard.root.path().join("cases");
    std::fs::create_dir(&folder).expect("a folder");
    let batch =
        r#"{"now": 1, "observations": [{"at": 1, "target": "t", "kind": "k", "fields": []}]}"#;
    let put = |name: &str, expect: &str| {
        let text = format!(
            "{{\"batches\": [{{\"now\": 0, \"observations\": []}}, {batch}], \"expect\": {expect}}}"
        );
        std::fs::write(folder.join(name), text).expect("written");
    };
    put(
        "a-good.json",
        r#"[[], [{"kind": "all-well", "target": "t", "severity": "critical"}]]"#,
    );
    put("b-missing.json", r#"[[{"kind": "all-well"}], []]"#);
    put("c-more.json", "[[], []]");
    put("d-length.json", "[[]]");
    put("e-key.json", r#"[[], [{"knid": "all-well"}]]"#);
    let reports = run_cases(&yard.file("one.wasm"), &folder).expect("reports");
    let problems: Vec<_> = reports
        .iter()
        .map(|one| one.problem.as_deref().unwrap_or(""))
        .collect();
    assert_eq!(problems[0], "");
    assert!(
        problems[1].contains("batch 1: no finding all-well"),
        "{problems:?}"
    );
    assert!(problems[2].contains("batch 2: findings that were not expected: all-well of t"));
    assert!(problems[3].contains("2 batches and 1 lists"));
    assert!(problems[4].contains("knid"));
    assert!(reports[0].fuel > 0);
}

#[test]
fn no_cases_are_not_passed_cases() {
    let yard = Yard::new();
    yard.put("one", &finder("all-well", 1), DETECTOR);
    let empty = yard.root.path().join("cases");
    std::fs::create_dir(&empty).expect("a folder");
    assert!(run_cases(&yard.file("one.wasm"), &empty).is_err());
}
