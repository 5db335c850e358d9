//! Every result there is, each from a trial made for it, and how it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::bail;

use super::*;
use crate::machine::Machine;

fn honest(_: &Stage, variant: Variant) -> Result<Seen> {
    let mut seen = Seen::new();
    seen.look(variant.whole(), "it is <there> & \"seen\"");
    Ok(seen)
}

fn always(_: &Stage, _: Variant) -> Result<Seen> {
    Ok(Seen::new())
}

fn never(_: &Stage, _: Variant) -> Result<Seen> {
    let mut seen = Seen::new();
    seen.look(false, "it is there");
    Ok(seen)
}

fn no_control(_: &Stage, variant: Variant) -> Result<Seen> {
    match variant {
        Variant::Whole => Ok(Seen::new()),
        Variant::Broken => bail!("it did not start"),
    }
}

fn claim(id: &'static str, trial: Trial) -> Claim {
    Claim {
        id,
        claim: "A thing is so",
        control: "the thing broken",
        needs: &["landlock"],
        trial,
    }
}

/// A program in the place of `grace` whose doctor finds Landlock so.
fn doctor(dir: &Path, verdict: &str) -> PathBuf {
    let file = dir.join("grace");
    let text = format!(
        "#!/bin/sh\necho '{{\"good\":true,\"checks\":[{{\"what\":\"landlock\",\"verdict\":\"{verdict}\",\
         \"found\":\"not in this kernel\",\"means\":\"\"}}]}}'\n"
    );
    fs::write(&file, text).expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    file
}

fn row_of(trial: Trial, verdict: &str) -> Row {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options {
        grace: doctor(dir.path(), verdict),
        quick: true,
        ..Options::default()
    };
    let machine = Machine::ask(&options.grace, dir.path()).expect("doctor");
    judge::one(&claim("a.claim", trial), &machine, &Stage::new(&options))
}

fn report(rows: Vec<Row>) -> Report {
    Report { claims: rows }
}

#[test]
fn a_claim_whose_proof_holds_and_whose_control_fails_is_proven() {
    let row = row_of(honest, "good");
    assert_eq!(row.result, Verdict::Proven, "{row:?}");
    assert_eq!(row.control, Some(Control::FailedAsItMust));
    assert_eq!((&row.missing, &row.reason), (&None, &None));
    assert!(
        row.evidence
            .iter()
            .any(|line| line.starts_with("control: not so:")),
        "{row:?}"
    );
    assert_eq!(report(vec![row]).exit(), 0);
}

#[test]
fn a_control_that_does_not_fail_makes_a_claim_not_proven() {
    let row = row_of(always, "good");
    assert_eq!(row.result, Verdict::NotProven);
    assert_eq!(row.control, Some(Control::Passed));
    let reason = row.reason.as_deref().expect("a reason");
    assert!(reason.contains("the thing broken"), "{reason}");
    assert_eq!(report(vec![row]).exit(), 1);
}

#[test]
fn a_proof_that_fails_makes_a_claim_not_proven_and_no_control_is_made() {
    let row = row_of(never, "good");
    assert_eq!((row.result, row.control), (Verdict::NotProven, None));
    assert!(row.evidence.iter().any(|line| line.starts_with("not so:")));
    assert!(row.reason.is_some());
}

#[test]
fn a_control_that_cannot_be_made_makes_a_claim_not_proven() {
    let row = row_of(no_control, "good");
    assert_eq!((row.result, row.control), (Verdict::NotProven, None));
    let reason = row.reason.as_deref().expect("a reason");
    assert!(reason.contains("it did not start"), "{reason}");
}

#[test]
fn what_the_doctor_finds_absent_is_not_possible_here_and_named_as_the_doctor_does() {
    let row = row_of(honest, "less");
    assert_eq!(row.result, Verdict::NotPossibleHere);
    assert_eq!(row.missing.as_deref(), Some("landlock"));
    assert_eq!(row.control, None);
    let reason = row.reason.as_deref().expect("a reason");
    assert!(reason.contains("not in this kernel"), "{reason}");
    assert_eq!(report(vec![row.clone()]).exit(), 3);
    assert_eq!(report(vec![row, row_of(never, "good")]).exit(), 1);
}

#[test]
fn the_document_has_exactly_the_promised_keys() {
    let text = serde_json::to_string(&report(vec![row_of(honest, "good")])).expect("JSON");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let row = value["claims"][0].as_object().expect("a row");
    let keys: Vec<&str> = row.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "claim", "control", "evidence", "id", "missing", "ms", "reason", "result"
        ]
    );
    assert_eq!(value["claims"][0]["result"], "proven");
    assert_eq!(value["claims"][0]["control"], "failed-as-it-must");
    assert!(value["claims"][0]["missing"].is_null());
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_says_every_result() {
    let page = html::page(&report(vec![
        row_of(honest, "good"),
        row_of(always, "good"),
        row_of(honest, "less"),
    ]));
    for word in [
        "proven",
        "not proven",
        "not possible here",
        "failed, as it must",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(page.contains("it is &lt;there&gt; &amp; &quot;seen&quot;"));
    for from in ["http://", "https://", "<script", "<link", "src="] {
        assert!(!page.contains(from), "{from} is in the page");
    }
}

#[test]
fn an_unknown_claim_is_refused_with_those_that_there_are() {
    let error = choose(claims::ALL, &["seed.magic".to_owned()]).expect_err("refused");
    assert!(format!("{error}").contains("seed.six-pids"), "{error}");
    let all = choose(claims::ALL, &[]).expect("all");
    assert_eq!(all.len(), claims::ALL.len());
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), all.len(), "two claims have one id");
}
