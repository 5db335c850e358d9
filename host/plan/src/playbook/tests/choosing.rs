//! Which playbook is taken, and why not the others.

use grace_model::id::PlaybookId;
use grace_model::playbook::Playbook;
use grace_model::plugin::{Finding, Severity};

use crate::playbook::{Case, Choice, Chosen, choose, read};

fn playbook(id: &str, trigger: &str, rest: &str) -> Playbook {
    let text = format!(
        "id: {id}\nversion: 1\ndescription: d\nsteps: []\ntriggers: [{{ finding: crash{trigger} }}]\n\
         cooldown: 30s\n{rest}"
    );
    read(&text, "p.yaml").unwrap().playbook
}

fn decide(playbooks: &[Playbook], history: &dyn Fn(&str) -> Option<u64>) -> Choice {
    let finding = Finding {
        kind: "crash".into(),
        target: "shop-1".into(),
        severity: Severity::Major,
        confidence_permille: 800,
        summary: String::new(),
        cause: String::new(),
        evidence: vec![],
    };
    let case = Case {
        finding: &finding,
        service: Some("shop"),
        incident: &"inc-1".into(),
        signature: "sig",
        now: 100_000,
    };
    choose(&case, playbooks, &|id: &PlaybookId, signature, target| {
        assert_eq!((signature, target), ("sig", "shop-1"));
        history(id.as_str())
    })
}

fn taken(choice: &Choice) -> &str {
    match &choice.chosen {
        Chosen::Playbook { id } => id.as_str(),
        _ => "",
    }
}

#[test]
fn priority_goes_before_the_most_specific_trigger_and_that_before_the_id() {
    let plain = playbook("b", "", "");
    let other = playbook("a", "", "");
    let severe = playbook("c", ", severity: major", "");
    let service = playbook("d", ", service: shop", "");
    let first = playbook("z", "", "priority: 1\n");
    let order = |list: &[&Playbook]| {
        let list: Vec<Playbook> = list.iter().map(|p| (*p).clone()).collect();
        taken(&decide(&list, &|_| None)).to_owned()
    };
    assert_eq!(order(&[&plain, &other]), "a");
    assert_eq!(order(&[&plain, &other, &severe]), "c");
    assert_eq!(order(&[&plain, &other, &severe, &service]), "d");
    assert_eq!(order(&[&plain, &other, &severe, &service, &first]), "z");
}

#[test]
fn what_does_not_match_is_passed_over_with_the_reason() {
    let list = [
        playbook("a", ", severity: critical", ""),
        playbook("b", ", service: bank", ""),
        playbook("c", "", "preconditions: [\"finding.confidence > 900\"]\n"),
        playbook("d", "", "preconditions: [\"finding.evidence.port == 1\"]\n"),
        playbook("e", "ed", ""),
    ];
    let choice = decide(&list, &|_| None);
    assert_eq!(choice.chosen, Chosen::None);
    let reasons: Vec<String> = choice
        .considered
        .iter()
        .map(|c| format!("{}: {}", c.playbook, c.reason))
        .collect();
    let all = reasons.join("\n");
    assert!(
        all.contains("a: for critical findings and worse, this one is major"),
        "{all}"
    );
    assert!(all.contains("b: only for service `bank`"), "{all}");
    assert!(
        all.contains("c: `finding.confidence > 900` does not hold"),
        "{all}"
    );
    assert!(
        all.contains("d: `finding.evidence.port == 1`: the finding has no evidence"),
        "{all}"
    );
    assert!(
        !all.contains("e:"),
        "another kind of finding is no candidate: {all}"
    );
}

#[test]
fn one_in_cooldown_lets_the_next_go_and_the_first_that_may_run_again_is_named() {
    let list = [playbook("a", "", "priority: 2\n"), playbook("b", "", "")];
    let choice = decide(&list, &|id| (id == "a").then_some(90_000));
    assert_eq!(taken(&choice), "b");
    assert!(
        choice.considered[0]
            .reason
            .contains("in cooldown for another 20s")
    );
    let choice = decide(&list, &|id| Some(if id == "a" { 95_000 } else { 80_000 }));
    assert_eq!(
        choice.chosen,
        Chosen::InCooldown {
            id: "b".into(),
            until: 110_000
        }
    );
    let choice = decide(&list, &|_| Some(70_000));
    assert_eq!(taken(&choice), "a", "the cooldown is over");
    let choice = decide(&list, &|_| Some(9_000_000));
    assert_eq!(
        choice.chosen,
        Chosen::InCooldown {
            id: "a".into(),
            until: 130_000
        },
        "a clock that was set back makes nothing longer"
    );
}
