//! The table of observations in `wit/README.md`, held against what the healer makes of each
//! event, sample and file. For tests.

use std::collections::BTreeMap;

use grace_model::event::{Event, ProcessState, RestartBy, Subject, What};
use grace_model::instance::{ExitCause, ProcessId, State};
use grace_model::plugin::{Observation, Value};

use super::convert::{Capability, HOST, capability_of, observation, stalled};
use super::resources::tests::{me, round};
use super::resources::{Meter, of_host, of_usage};

const README: &str = include_str!("../../../../wit/README.md");

/// A row: who may see the kind, and its fields with their types.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    capability: String,
    of_host: bool,
    fields: BTreeMap<String, &'static str>,
}

fn rows() -> BTreeMap<String, Row> {
    let (_, rest) = README.split_once("## Observations").unwrap();
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').splitn(3, '|').collect();
            let word = |cell: &str| cell.trim().trim_matches('`').to_owned();
            let text = without_brackets(cells[2]);
            let of_host = text.contains("target `host`");
            let fields = text
                .split(';')
                .nth(usize::from(of_host))
                .unwrap_or_default();
            // A colon begins what is said of them all.
            let fields = fields.split(": ").next().unwrap_or_default();
            let row = Row {
                capability: word(cells[1]),
                of_host,
                fields: fields_of(fields),
            };
            (word(cells[0]), row)
        })
        .collect()
}

fn without_brackets(text: &str) -> String {
    let mut outside = String::new();
    let mut depth = 0_u32;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(letter),
            _ => {}
        }
    }
    outside
}

/// Names in back-ticks, each with the type that stands behind it.
fn fields_of(text: &str) -> BTreeMap<String, &'static str> {
    text.split(',')
        .filter_map(|piece| {
            let name = piece.split('`').nth(1)?;
            let kind = match piece.split('`').nth(2)?.trim() {
                "text" => "text",
                "flag" => "flag",
                _ => "integer",
            };
            Some((name.to_owned(), kind))
        })
        .collect()
}

fn shape(seen: &Observation) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Text(_) => "text",
        Value::Flag(_) => "flag",
        Value::Integer(_) => "integer",
    };
    let fields = seen.fields.iter();
    fields
        .map(|field| (field.name.clone(), kind(&field.value)))
        .collect()
}

fn subject() -> Subject {
    Subject {
        instance: "shop-3".into(),
        service: "shop".into(),
        generation: 4,
    }
}

/// One event for each kind that journals tell.
fn told() -> Vec<What> {
    let subject = subject();
    vec![
        What::Spawned {
            subject: subject.clone(),
            process: ProcessId {
                pid: 7,
                start_time: 1,
                boot_id: "b".into(),
            },
            port: 80,
        },
        What::StateChanged {
            subject: subject.clone(),
            from: State::Starting,
            to: State::Ready,
            reason: "r".into(),
        },
        What::Exited {
            subject: subject.clone(),
            pid: 7,
            cause: ExitCause::Signal(9),
            uptime_ms: 1,
            tail: "t".into(),
            wanted: false,
        },
        What::RestartPlanned {
            subject: subject.clone(),
            by: RestartBy::Reflex,
            delay_ms: 1,
        },
        What::BudgetExhausted {
            subject: subject.clone(),
            restarts: 5,
            window_ms: 1,
        },
        What::Ejected {
            subject: subject.clone(),
            reason: "r".into(),
        },
        What::Returned {
            subject: subject.clone(),
        },
        What::ProcessState {
            subject: subject.clone(),
            state: ProcessState::Stopped,
            for_ms: 1,
        },
        What::Probe {
            subject: subject.clone(),
            ok: false,
            status: 503,
            latency_us: 1,
            problem: "p".into(),
            consecutive: 2,
            judge_late_ms: 0,
        },
        What::Heartbeat {
            subject: subject.clone(),
            age_ms: 2,
            limit_ms: 1,
        },
        What::Traffic {
            subject,
            window_ms: 1_000,
            requests: 9,
            errors: 1,
            unanswered: 1,
            p50_us: 1,
            p99_us: 2,
            inflight: 3,
        },
    ]
}

/// Asserts that an observation is as its row in the table.
pub fn fits_its_row(seen: &Observation) {
    fits(seen, &rows());
}

fn fits(seen: &Observation, rows: &BTreeMap<String, Row>) {
    let row = rows
        .get(&seen.kind)
        .unwrap_or_else(|| panic!("{} is in no table", seen.kind));
    assert_eq!(shape(seen), row.fields, "{}", seen.kind);
    assert_eq!(seen.target == HOST, row.of_host, "{}", seen.kind);
    let word = match capability_of(&seen.kind) {
        Some(Capability::Events) => "events:read",
        Some(Capability::Metrics) => "metrics:read",
        None => "none",
    };
    assert_eq!(word, row.capability, "{}", seen.kind);
}

#[test]
fn every_kind_of_observation_carries_the_fields_of_its_row_and_no_others() {
    let rows = rows();
    let mut kinds: Vec<String> = Vec::new();
    for what in told() {
        let seen = observation(&Event { at: 5, what }).expect("an observation");
        assert_eq!((seen.at, seen.target.as_str()), (5, "shop-3"));
        fits(&seen, &rows);
        kinds.push(seen.kind);
    }
    let late = stalled(1, 2);
    fits(&late, &rows);
    kinds.push(late.kind);
    // Of files the sampler tells, and its own test holds that against the row.
    kinds.push("config.file".to_owned());
    kinds.push("artifact.file".to_owned());

    let mut meter = Meter::default();
    let views = [me(3)];
    // The first look has no difference yet.
    meter.instances(&views, &round(1));
    meter.machine(std::path::Path::new("/"));
    let of_process = meter.instances(&views, &round(2));
    let resources = of_usage(&of_process[0]).expect("this process is seen");
    fits(&resources, &rows);
    kinds.push(resources.kind);
    let machine = meter.machine(std::path::Path::new("/"));
    let machine = of_host(&machine.expect("the machine is seen"), 2);
    fits(&machine, &rows);
    kinds.push(machine.kind);

    kinds.sort();
    let all: Vec<String> = rows.into_keys().collect();
    assert_eq!(kinds, all, "a row without an observation, or the reverse");
}
