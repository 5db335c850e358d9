//! `cargo xtask bench` from outside, as far as it goes without measuring.

use crate::checkout::Checkout;

#[test]
fn a_bench_prints_one_object_with_every_row_and_ends_with_2_naming_those_without_a_figure() {
    let checkout = Checkout::new();
    // The fake grace starts no fleet, so nothing can be measured.
    let run = checkout.xtask(&["bench", "idle_mib", "--json"]);
    assert_eq!(run.code, 2, "{run:?}");
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["bench"], "idle_mib");
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{json}");
    assert_eq!(rows[0]["name"], "idle_mib");
    assert_eq!(rows[0]["goal"], 80.0);
    assert!(rows[0]["ours"].is_null() && rows[0]["error"].is_string());
    assert!(run.stderr.contains("idle_mib was not measured"), "{run:?}");
    // For people a table, with the same row.
    let run = checkout.xtask(&["bench", "idle_mib"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stdout.contains("idle_mib") && run.stdout.contains("NOT MEASURED"));
}

#[test]
fn it_measures_a_release_build_and_an_unknown_name_builds_nothing() {
    let checkout = Checkout::new();
    let run = checkout.xtask(&["bench", "nonsense"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("nonsense"), "{run:?}");
    assert!(checkout.calls().is_empty());
    let _ = checkout.xtask(&["bench", "idle_mib"]);
    let build = "cargo . [target] build --release --package grace --bin grace";
    assert!(checkout.calls().iter().any(|call| call.starts_with(build)));
}
