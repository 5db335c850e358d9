//! Secrets planted in every part of a capsule, looked for in every byte of what comes out.

use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::ExitCause;

use super::*;
use crate::capsule::{Build, Coverage, Exit, HostFacts, Kind, Outcome};
use crate::format::encode;

/// Each in one place only, by its number, so that the one that leaks is named.
fn secret(number: u32) -> String {
    format!("s3cr3t{number:04}x")
}

fn headers(all: &[(&str, String)]) -> Vec<(String, Blob)> {
    all.iter()
        .map(|(name, value)| ((*name).to_owned(), Blob::from(value.as_str())))
        .collect()
}

fn answered(target: String, of: Vec<(String, Blob)>, body: &[u8], answer: Answer) -> Request {
    Request {
        at_us: 0,
        method: "POST".to_owned(),
        target,
        headers: of,
        body: Blob::from(body),
        body_bytes: body.len() as u64,
        outcome: Outcome::Answered,
        suspect: false,
        answer: Some(answer),
    }
}

fn answer(of: Vec<(String, Blob)>, body: &[u8]) -> Answer {
    Answer {
        status: 200,
        headers: of,
        body: Blob::from(body),
        body_bytes: body.len() as u64,
        after_us: 1,
    }
}

/// A capsule with secrets 0 to [`PLANTED`].
pub(crate) fn planted() -> Capsule {
    let json = "application/json".to_owned();
    let form = "application/x-www-form-urlencoded".to_owned();
    let requests = vec![
        answered(
            format!("/a?token={}&page=2&own={}", secret(0), secret(1)),
            headers(&[
                ("authorization", format!("Bearer {}", secret(2))),
                ("cookie", format!("a={}; b={}", secret(3), secret(4))),
                ("x-own", secret(5)),
                ("x-api-key", secret(6)),
                ("referer", format!("https://x/y?password={}", secret(7))),
                ("content-type", json.clone()),
            ]),
            format!(
                "{{\"password\":\"{}\",\"deep\":[{{\"user\":{{\"street\":\"{}\"}}}}],\"note\":\"card 4111 1111 1111 1111 and OWN-{}\",\"maiden\":{{\"x\":[\"{}\"]}}}}",
                secret(8), secret(9), secret(10), secret(11)
            )
            .as_bytes(),
            answer(
                headers(&[
                    ("set-cookie", format!("sid={}; Path=/", secret(12))),
                    ("content-type", "text/html".to_owned()),
                    ("location", format!("/b?api_key={}", secret(13))),
                ]),
                // Said again where nothing names it.
                format!("hello {}, {} and {}", secret(8), secret(3), secret(2)).as_bytes(),
            ),
        ),
        answered(
            "/form".to_owned(),
            headers(&[("content-type", form)]),
            format!("name=x&pass%77ord={}&own={}", secret(14), secret(15)).as_bytes(),
            answer(headers(&[("content-encoding", "gzip".to_owned())]), secret(16).as_bytes()),
        ),
        answered(
            "/binary".to_owned(),
            headers(&[("content-type", "image/png".to_owned())]),
            &[b"\xff\xfe".as_slice(), secret(17).as_bytes()].concat(),
            answer(headers(&[("content-type", json)]), format!("{{\"half\":\"{}", secret(18)).as_bytes()),
        ),
    ];
    Capsule {
        form: Form::Raw,
        made_from: None,
        kind: Kind::Crash,
        made_at: 1,
        service: ServiceName::from("shop"),
        instance: InstanceId::from("shop-1"),
        generation: 1,
        build: Build {
            command: vec![
                "shop".to_owned(),
                "--db-password".to_owned(),
                secret(19),
                format!("--token={}", secret(20)),
            ],
            ..Build::default()
        },
        exit: Some(Exit {
            cause: ExitCause::Signal(6),
            uptime_ms: 1,
        }),
        output: format!(
            "panic with {} and {} and db_secret={} at postgres://u:{}@db/",
            secret(8),
            secret(21),
            secret(22),
            secret(23)
        ),
        env: [
            ("DB_PASSWORD".to_owned(), secret(21)),
            ("URL".to_owned(), format!("https://u:{}@x", secret(24))),
        ]
        .into(),
        host: HostFacts::default(),
        snapshot: None,
        coverage: Coverage::default(),
        requests,
        minimised: None,
    }
}

/// How many secrets [`planted`] has.
const PLANTED: u32 = 25;

pub(crate) fn rules() -> Redact {
    let words = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    Redact {
        at_rest: false,
        headers: words(&["X-Own"]),
        query: words(&["own"]),
        json: words(&["maiden", "deep.user.street"]),
        patterns: words(&["OWN-[a-z0-9]+"]),
    }
}

fn unpacked(capsule: &Capsule) -> String {
    serde_json::to_string(capsule).unwrap()
}

#[test]
fn no_planted_secret_is_in_any_part_of_a_redacted_capsule() {
    let raw = planted();
    let before = unpacked(&raw);
    let redacted = Redactor::new(&rules()).unwrap().capsule(&raw, "cap-1");
    let after = unpacked(&redacted);
    for number in 0..PLANTED {
        let secret = secret(number);
        // Those in bytes that are no text stand in base64.
        assert!(
            before.contains(&secret) || number == 17,
            "{number} is not planted"
        );
        assert!(!after.contains(&secret), "{number} is left in {after}");
    }
    assert!(!after.contains("4111"), "{after}");
    assert!(
        !after.contains("base64"),
        "what is no text is left: {after}"
    );
    // And what is no secret stays.
    for harmless in [
        "page=2",
        "\"shop-1\"",
        "panic with",
        "hello ",
        "name=x",
        "/binary",
    ] {
        assert!(after.contains(harmless), "{harmless} is gone from {after}");
    }
    assert_eq!(redacted.form, Form::Redacted);
    assert_eq!(redacted.made_from.as_deref(), Some("cap-1"));
    encode(&redacted).unwrap();
}

#[test]
fn without_the_services_own_rules_its_own_secrets_stay_so_the_test_above_can_fail() {
    let none = Redactor::new(&Redact::default()).unwrap();
    let after = unpacked(&none.capsule(&planted(), "cap-1"));
    for number in [1, 5, 9, 10] {
        assert!(after.contains(&secret(number)), "{number}");
    }
}

#[test]
fn a_redacted_capsule_redacted_again_is_the_same() {
    let redactor = Redactor::new(&rules()).unwrap();
    let once = redactor.capsule(&planted(), "cap-1");
    assert_eq!(redactor.capsule(&once, "cap-1"), once);
}

#[test]
fn a_pattern_that_is_none_is_named() {
    let rules = Redact {
        patterns: vec!["(".to_owned()],
        ..Redact::default()
    };
    let error = Redactor::new(&rules).unwrap_err().to_string();
    assert!(
        error.contains("redact.patterns") && error.contains("\"(\""),
        "{error}"
    );
}
