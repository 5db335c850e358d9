//! What a good file is read into, and what becomes of its texts.

use grace_model::playbook::{Expression, OnFailure, StepFailure, Undo};
use grace_model::plugin::{Field, Finding, Receipt, Severity, Value};

use super::catalogue::known;
use crate::playbook::{EvalError, Scope, arguments, explain, fill, load, read, typed};

const FULL: &str = "\
id: all-of-it
version: 3
description: Uses every key.
triggers:
  - finding: error-rate
    severity: major
    service: shop
preconditions: [\"finding.confidence > 500\"]
parameters: { goal: 0.995, time: 2s, many: 3, sure: true }
steps:
  - id: restart
    action: fleet.restart
    params: { target: \"${finding.target}\" }
    if: finding.severity == 'major'
    timeout: 10s
    retries: 2
    backoff: 250ms
    on_failure: continue
    verify:
      - action: probe.smoke
        params: { target: \"${finding.target}\", attempts: \"${params.many}\" }
    undo: none
  - id: scale
    action: fleet.scale
    params: { service: shop, instances: 4 }
    undo: { action: fleet.scale, params: { service: shop, instances: \"${scale.before}\" } }
branches:
  critical:
    - { id: pause, action: fleet.pause, params: { target: \"${finding.target}\" } }
verify:
  - { id: slo, action: probe.slo, params: { target: shop, success: \"${params.goal}\", for: \"${params.time}\" } }
on_failure: [{ rollback: all }, { escalate: log }, { playbook: restart-instance }]
cooldown: 1m
slo: 90s
priority: 7
";

fn finding() -> Finding {
    Finding {
        kind: "error-rate".into(),
        target: "shop-1".into(),
        severity: Severity::Major,
        confidence_permille: 900,
        summary: "it is \"bad\"".into(),
        cause: "5xx".into(),
        evidence: vec![
            Field::new("port", 8080_u32),
            Field::new("text", "${finding.target}"),
        ],
    }
}

fn scope() -> Scope {
    let playbook = read(FULL, "p.yaml").unwrap().playbook;
    Scope::of(&finding(), &"inc-1".into(), "sig", &playbook)
}

#[test]
fn every_key_is_read() {
    let loaded = load(FULL, "p.yaml", &known().catalogue());
    assert_eq!(loaded.diagnostics, vec![]);
    let playbook = loaded.playbook.unwrap();
    assert_eq!(
        (playbook.id.as_str(), playbook.version, playbook.priority),
        ("all-of-it", 3, 7)
    );
    assert_eq!(
        (playbook.cooldown_ms, playbook.slo_ms),
        (60_000, Some(90_000))
    );
    let trigger = &playbook.triggers[0];
    assert_eq!(trigger.severity, Some(Severity::Major));
    assert_eq!(trigger.service.as_deref(), Some("shop"));
    assert_eq!(
        playbook.preconditions,
        vec![Expression("finding.confidence > 500".into())]
    );
    assert_eq!(
        playbook.parameters["goal"],
        Value::from("0.995"),
        "there are no floats"
    );
    assert_eq!(playbook.parameters["many"], Value::Integer(3));
    assert_eq!(playbook.parameters["sure"], Value::Flag(true));
    let step = &playbook.steps[0];
    assert_eq!(
        (step.timeout_ms, step.retries, step.backoff_ms),
        (10_000, 2, 250)
    );
    assert_eq!(step.on_failure, StepFailure::Continue);
    assert_eq!(step.verify[0].id, "verify-1");
    assert_eq!(step.undo, Undo::None);
    match &playbook.steps[1].undo {
        Undo::Step(undo) => assert_eq!(undo.action, "fleet.scale"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        playbook.branches[&Severity::Critical][0].undo,
        Undo::Auto,
        "fleet.pause can"
    );
    assert_eq!(
        playbook.verify[0].undo,
        Undo::None,
        "probe.slo has nothing to undo"
    );
    assert_eq!(
        playbook.on_failure,
        vec![
            OnFailure::Rollback,
            OnFailure::Escalate("log".into()),
            OnFailure::Playbook("restart-instance".into()),
        ]
    );
}

#[test]
fn a_playbook_survives_json() {
    let playbook = read(FULL, "p.yaml").unwrap().playbook;
    let json = serde_json::to_string(&playbook).unwrap();
    assert_eq!(
        serde_json::from_str::<grace_model::playbook::Playbook>(&json).unwrap(),
        playbook
    );
}

#[test]
fn templates_keep_types_and_join_texts() {
    let scope = scope();
    let filled = |text: &str| fill(&Value::from(text), &scope);
    assert_eq!(filled("${finding.evidence.port}"), Ok(Value::Integer(8080)));
    assert_eq!(
        filled("port ${finding.evidence.port}!"),
        Ok(Value::from("port 8080!"))
    );
    assert_eq!(
        filled("$${finding.target} $5"),
        Ok(Value::from("${finding.target} $5"))
    );
    assert_eq!(filled("${ params.sure }"), Ok(Value::Flag(true)));
    assert_eq!(
        filled("${finding.evidence.text}"),
        Ok(Value::from("${finding.target}"))
    );
    assert!(matches!(
        filled("${finding.evidence.nix}"),
        Err(EvalError::Missing { .. })
    ));
    assert!(matches!(filled("${a"), Err(EvalError::Syntax { .. })));
    assert_eq!(fill(&Value::Integer(3), &scope), Ok(Value::Integer(3)));
}

#[test]
fn arguments_have_the_types_that_the_action_declares() {
    let known = known();
    let slo = known
        .actions
        .iter()
        .find(|action| action.name == "probe.slo")
        .unwrap();
    let playbook = read(FULL, "p.yaml").unwrap().playbook;
    let fields = arguments(&playbook.verify[0].params, &scope(), slo).unwrap();
    assert_eq!(
        fields,
        vec![
            Field::new("for", 2_000_i64),
            Field::new("success", "0.995"),
            Field::new("target", "shop"),
        ]
    );
    let error = typed(
        &[("target".to_owned(), Value::from("a"))].into(),
        &known.actions[3],
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("has no parameter `target`")
    );
    let error = typed(
        &[("service".to_owned(), Value::from("a"))].into(),
        &known.actions[3],
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("needs a parameter `instances`")
    );
    let params = [
        ("target".to_owned(), "a".into()),
        ("for".to_owned(), "soon".into()),
    ]
    .into();
    assert!(
        typed(&params, slo)
            .unwrap_err()
            .to_string()
            .contains("parameter `for`")
    );
}

#[test]
fn evidence_is_never_taken_for_a_template() {
    let known = known();
    let notify = known
        .actions
        .iter()
        .find(|action| action.name == "notify.send")
        .unwrap();
    let params = [(
        "subject".to_owned(),
        Value::from("${finding.evidence.text}"),
    )]
    .into();
    let fields = arguments(&params, &scope(), notify).unwrap();
    assert_eq!(fields, vec![Field::new("subject", "${finding.target}")]);
}

#[test]
fn a_step_leaves_its_outcome_and_its_outputs() {
    let mut scope = scope();
    let receipt = Receipt {
        changed: true,
        summary: "done".into(),
        outputs: vec![Field::new("generation", 2_u32)],
        undo: vec![],
    };
    scope.insert_step("restart", &receipt);
    scope.insert_outcome("check", false, false, "no answer");
    assert_eq!(scope.get("restart.generation"), Some(&Value::Integer(2)));
    assert_eq!(scope.get("restart.ok"), Some(&Value::Flag(true)));
    assert_eq!(scope.get("check.summary"), Some(&Value::from("no answer")));
}

#[test]
fn an_explanation_is_plain_english() {
    let playbook = load(FULL, "p.yaml", &known().catalogue()).playbook.unwrap();
    let text = explain(&playbook).join("\n");
    for part in [
        "all-of-it (version 3): Uses every key.",
        "Started by a finding `error-rate` that is at least major in service `shop`.",
        "Only if finding.confidence > 500.",
        "  1. if finding.severity == 'major': fleet.restart (target ${finding.target}), within 10s, \
         tried again up to 2 times from 250ms on, go on if it fails.",
        "     and check: probe.smoke",
        "undone by fleet.scale (instances ${scale.before}, service shop).",
        "When the finding is critical, instead:",
        "Then all of this must hold:",
        "If that fails: undo what was done, last first, then tell `log`, then try playbook \
         `restart-instance`.",
        "The whole run may take 90s.",
        "within 1m.",
    ] {
        assert!(text.contains(part), "{part}\n--\n{text}");
    }
}
