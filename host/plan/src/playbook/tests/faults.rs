//! Each fault with its place and its help.

use super::catalogue::known;
use crate::playbook::{Catalogue, Diagnostic, Level, load, render};

/// A good playbook whose steps are `steps`.
pub fn with(steps: &str) -> String {
    format!(
        "id: p\nversion: 1\ndescription: Text.\ntriggers: [{{ finding: instance-hang }}]\n\
         parameters: {{ within: 5s, count: 3 }}\nsteps:\n{steps}"
    )
}

pub const RESTART: &str =
    "  - id: again\n    action: fleet.restart\n    params: { target: \"${finding.target}\" }\n";

pub fn faults(text: &str) -> Vec<Diagnostic> {
    let known = known();
    load(text, "p.yaml", &known.catalogue()).diagnostics
}

/// The one fault of a text.
pub fn fault(text: &str) -> Diagnostic {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{text}\n{faults:#?}");
    faults.into_iter().next().unwrap()
}

/// What the fault points at.
pub fn meant(text: &str, fault: &Diagnostic) -> String {
    let line = text
        .lines()
        .nth(fault.line as usize - 1)
        .unwrap_or_default();
    line.chars()
        .skip(fault.column as usize - 1)
        .take(fault.length as usize)
        .collect()
}

#[test]
fn a_good_playbook_has_none() {
    assert_eq!(faults(&with(RESTART)), vec![]);
}

#[test]
fn a_misspelt_required_key_is_told_as_unknown_and_as_missing() {
    let faults = faults(&with(RESTART).replace("version", "verison"));
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code.as_str()).collect();
    assert!(
        codes.contains(&"unknown-key") && codes.contains(&"missing-key"),
        "{faults:?}"
    );
    assert!(
        faults
            .iter()
            .any(|f| f.help.as_deref() == Some("did you mean `version`?"))
    );
}

#[test]
fn a_misspelt_required_parameter_is_told_as_unknown_and_as_missing() {
    let faults = faults(&with(RESTART).replace("target:", "tagret:"));
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code.as_str()).collect();
    assert_eq!(codes, ["missing-parameter", "unknown-parameter"]);
    assert_eq!(faults[1].help.as_deref(), Some("did you mean `target`?"));
}

#[test]
fn warnings_leave_the_playbook_in_use() {
    let target = "params: { target: a }";
    for (text, code) in [
        (format!("{}slo: 5s\n", with(RESTART)), "slo-too-small"),
        (
            with(&RESTART.replace("    params", "    timeout: 10m\n    params")),
            "long-timeout",
        ),
        (with(&format!("{RESTART}    if: 1 == 1\n")), "always-true"),
        (
            format!(
                "{}verify: [{{ action: fleet.pause, {target} }}]\n",
                with(RESTART)
            ),
            "check-changes",
        ),
        (
            with(RESTART).replace("[{ f", "[{ finding: instance-hang }, { f"),
            "double-trigger",
        ),
    ] {
        let known = known();
        let loaded = load(&text, "p.yaml", &known.catalogue());
        let codes: Vec<&str> = loaded
            .diagnostics
            .iter()
            .map(|fault| fault.code.as_str())
            .collect();
        assert_eq!(codes, [code], "{text}");
        assert_eq!(loaded.diagnostics[0].severity, Level::Warning);
        assert!(loaded.playbook.is_some());
    }
}

#[test]
fn all_faults_of_a_file_are_told_in_its_order() {
    let text = with(
        "  - id: a\n    action: fleet.restrat\n    params: { target: \"${finding.taget}\" }\n\
         \x20 - id: b\n    action: fleet.scale\n    params: { service: \"${c.ok}\", instances: x }\n    timeout: 0s\n",
    );
    let faults = faults(&text);
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code.as_str()).collect();
    let all = [
        "unknown-action",
        "unknown-variable",
        "unknown-variable",
        "wrong-type",
        "no-time",
    ];
    assert_eq!(codes, all, "{faults:#?}");
    let text = "id: 3 4\nversion: x\ntriggers: 7\nsteps: [{ id: a }, 5]\n";
    let faults = super::faults::faults(text);
    assert!(faults.len() >= 6, "{faults:#?}");
}

#[test]
fn branches_and_steps_that_nothing_reaches_are_told() {
    let step = |id: &str| format!("[{{ id: {id}, action: fleet.pause, params: {{ target: a }} }}]");
    let all = ["minor", "moderate", "major", "critical"]
        .map(|word| format!("  {word}: {}\n", step(word)))
        .concat();
    let text = format!("{}branches:\n{all}", with(RESTART));
    assert_eq!(fault(&text).code, "unreachable");
    let text = text.replace("hang }", "hang, severity: major }");
    let found: Vec<(String, u32)> = faults(&text)
        .into_iter()
        .map(|fault| (fault.code, fault.line))
        .collect();
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_check_may_use_only_what_every_branch_leaves_behind() {
    let branch =
        "branches: { critical: [{ id: other, action: fleet.pause, params: { target: a } }] }\n";
    let verify = "verify: [{ action: probe.smoke, params: { target: a }, if: again.changed }]\n";
    assert_eq!(faults(&format!("{}{verify}", with(RESTART))), vec![]);
    let text = format!("{}{branch}{verify}", with(RESTART));
    assert_eq!(fault(&text).code, "unknown-variable");
}

#[test]
fn what_is_not_known_is_not_checked() {
    let known = known();
    let catalogue = Catalogue {
        actions: &known.actions,
        ..Catalogue::default()
    };
    let text = format!(
        "{}on_failure: [{{ escalate: anywhere }}, {{ playbook: any }}]\n",
        with(RESTART).replace("instance-hang", "anything")
    );
    assert_eq!(load(&text, "p.yaml", &catalogue).diagnostics, vec![]);
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    for (text, line) in [
        ("id: [", 1),
        ("id: p\nid: q\n", 2),
        ("id: p\n  version: 1\n", 2),
        ("a: \"x\n", 1),
        ("id: *nobody\n", 1),
        ("id: p\n---\nid: q\n", 2),
    ] {
        let found = fault(text);
        assert_eq!(found.code, "yaml", "{text:?} {found:?}");
        assert!(
            found.line >= 1 && found.line <= line + 1,
            "{text:?} {found:?}"
        );
        assert!(
            !found.message.is_empty() && !found.message.contains('\n'),
            "{found:?}"
        );
    }
    assert_eq!(
        fault("id: p\nid: q\n").message,
        "the key `id` is there twice"
    );
    assert_eq!(
        fault("a: &a [*a]\n").message,
        "an alias cannot contain itself"
    );
    assert_eq!(fault("").code, "wrong-kind");
    assert_eq!(fault("just text").code, "wrong-kind");
}

#[test]
fn a_bomb_is_refused_soon() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            before.trim_end_matches(", ")
        ));
    }
    assert_eq!(fault(&text).code, "yaml");
    assert_eq!(fault(&"[".repeat(100_000)).code, "yaml");
    assert_eq!(fault(&" ".repeat(300_000)).code, "yaml");
}

#[test]
fn a_rendered_fault_looks_like_a_compilers() {
    let text = with(RESTART).replace("fleet.restart", "fleet.restrat");
    let rendered = render(&fault(&text), &text, false);
    assert_eq!(
        rendered,
        "error: there is no action `fleet.restrat`\n\
         \x20--> p.yaml:8:13\n\
         \x20 |\n\
         8 |     action: fleet.restrat\n\
         \x20 |             ^^^^^^^^^^^^^\n\
         \x20 = help: did you mean `fleet.restart`?\n"
    );
    assert!(render(&fault(&text), &text, true).contains("\u{1b}[1;31m"));
}

#[test]
fn a_fault_in_the_middle_of_a_long_or_hostile_line_is_shown() {
    let text = with(RESTART).replace(
        "\"${finding.target}\"",
        &format!(
            "\"{}${{finding.taget}}{}\u{1b}\"",
            "ä".repeat(400),
            "b".repeat(400)
        ),
    );
    let found = faults(&text);
    for fault in &found {
        let rendered = render(fault, &text, false);
        assert!(!rendered.contains('\u{1b}'), "{rendered:?}");
        assert!(
            rendered.lines().all(|line| line.chars().count() < 200),
            "{rendered}"
        );
    }
    let text = text.replace('\u{1b}', "");
    assert_eq!(meant(&text, &fault(&text)), "finding.taget");
}

#[test]
fn diagnostics_go_into_json() {
    let text = with(RESTART).replace("fleet.restart", "fleet.restrat");
    let json = serde_json::to_value(fault(&text)).unwrap();
    assert_eq!(json["severity"], "error");
    assert_eq!(
        (json["line"].as_u64(), json["column"].as_u64()),
        (Some(8), Some(13))
    );
    assert_eq!(json["help"], "did you mean `fleet.restart`?");
}
