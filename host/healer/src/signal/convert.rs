//! Journalled events as observations, exactly as `wit/README.md` lists them. Pure.

use grace_model::event::{Event, ProcessState, RestartBy, Subject, What};
use grace_model::plugin::{Field, Observation};

/// The target of observations about the machine.
pub const HOST: &str = "host";

/// Which capability shows an observation of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `events:read`
    Events,
    /// `metrics:read`
    Metrics,
}

/// Which capability shows this kind. What is in no table is shown to nobody.
#[must_use]
pub fn capability_of(kind: &str) -> Option<Capability> {
    match kind {
        "instance.spawned" | "instance.state" | "instance.exited" | "instance.restart"
        | "instance.budget" | "instance.ejected" | "instance.returned" | "config.file"
        | "artifact.file" | "host.stalled" => Some(Capability::Events),
        "instance.process" | "instance.probe" | "instance.heartbeat" | "instance.traffic"
        | "instance.resources" | "host.resources" => Some(Capability::Metrics),
        _ => None,
    }
}

/// The observation that an event is, if it is one.
///
/// An end that Grace wanted is none: it is no symptom, and its `instance.state` tells of it.
#[must_use]
pub fn observation(event: &Event) -> Option<Observation> {
    let (kind, fields) = match &event.what {
        What::Spawned { process, .. } => ("instance.spawned", vec![Field::new("pid", process.pid)]),
        What::StateChanged { from, to, .. } => (
            "instance.state",
            vec![Field::new("from", from.word()), Field::new("to", to.word())],
        ),
        What::Exited { wanted: true, .. } => return None,
        What::Exited {
            pid,
            cause,
            uptime_ms,
            tail,
            ..
        } => (
            "instance.exited",
            vec![
                Field::new("pid", *pid),
                Field::new("cause", cause.text()),
                Field::new("external", cause.external()),
                Field::new("uptime_ms", *uptime_ms),
                Field::new("tail", tail.as_str()),
            ],
        ),
        What::RestartPlanned { by, delay_ms, .. } => {
            let by = match by {
                RestartBy::Reflex => "reflex",
                RestartBy::Operation => "operation",
            };
            (
                "instance.restart",
                vec![Field::new("by", by), Field::new("delay_ms", *delay_ms)],
            )
        }
        What::BudgetExhausted {
            restarts,
            window_ms,
            ..
        } => (
            "instance.budget",
            vec![
                Field::new("restarts", *restarts),
                Field::new("window_ms", *window_ms),
            ],
        ),
        What::ProcessState { state, for_ms, .. } => {
            let state = match state {
                ProcessState::Running => "running",
                ProcessState::Stopped => "stopped",
                ProcessState::Gone => "gone",
            };
            (
                "instance.process",
                vec![Field::new("state", state), Field::new("for_ms", *for_ms)],
            )
        }
        What::Probe {
            ok,
            status,
            latency_us,
            problem,
            consecutive,
            judge_late_ms,
            ..
        } => (
            "instance.probe",
            vec![
                Field::new("ok", *ok),
                Field::new("status", u32::from(*status)),
                Field::new("latency_us", *latency_us),
                Field::new("problem", problem.as_str()),
                Field::new("consecutive", *consecutive),
                Field::new("judge_late_ms", *judge_late_ms),
            ],
        ),
        What::Heartbeat {
            age_ms, limit_ms, ..
        } => (
            "instance.heartbeat",
            vec![
                Field::new("age_ms", *age_ms),
                Field::new("limit_ms", *limit_ms),
            ],
        ),
        What::Traffic {
            window_ms,
            requests,
            errors,
            unanswered,
            p50_us,
            p99_us,
            inflight,
            ..
        } => (
            "instance.traffic",
            vec![
                Field::new("window_ms", *window_ms),
                Field::new("requests", *requests),
                Field::new("errors", *errors),
                Field::new("unanswered", *unanswered),
                Field::new("p50_us", *p50_us),
                Field::new("p99_us", *p99_us),
                Field::new("inflight", *inflight),
            ],
        ),
        What::Ejected { reason, .. } => (
            "instance.ejected",
            vec![Field::new("reason", reason.as_str())],
        ),
        What::Returned { .. } => ("instance.returned", Vec::new()),
        What::Stalled { late_ms, .. } => return Some(stalled(event.at, *late_ms)),
        What::Started { .. }
        | What::ProcessRestarted { .. }
        | What::SpawnIntent { .. }
        | What::Isolated { .. }
        | What::OperationBegun { .. }
        | What::OperationDone { .. }
        | What::Fleet { .. }
        | What::Suspects { .. } => return None,
    };
    let subject = event.what.subject()?;
    Some(of_instance(event.at, kind, subject, fields))
}

/// The judge itself did not run.
#[must_use]
pub fn stalled(at: u64, late_ms: u64) -> Observation {
    Observation {
        at,
        target: HOST.to_owned(),
        kind: "host.stalled".to_owned(),
        fields: vec![Field::new("late_ms", late_ms)],
    }
}

/// An observation of an instance: service and generation come before its own fields.
#[must_use]
pub fn of_instance(at: u64, kind: &str, subject: &Subject, fields: Vec<Field>) -> Observation {
    let mut all = vec![
        Field::new("service", subject.service.as_str()),
        Field::new("generation", subject.generation),
    ];
    all.extend(fields);
    Observation {
        at,
        target: subject.instance.0.clone(),
        kind: kind.to_owned(),
        fields: all,
    }
}

#[cfg(test)]
mod tests {
    use grace_model::instance::{ExitCause, State};

    use super::*;

    fn subject() -> Subject {
        Subject {
            instance: "shop-3".into(),
            service: "shop".into(),
            generation: 4,
        }
    }

    fn exited(wanted: bool) -> Event {
        let what = What::Exited {
            subject: subject(),
            pid: 77,
            cause: ExitCause::Signal(9),
            uptime_ms: 12,
            tail: "last words".into(),
            wanted,
        };
        Event { at: 5, what }
    }

    #[test]
    fn a_death_carries_every_field_of_the_table() {
        let seen = observation(&exited(false)).unwrap();
        assert_eq!((seen.at, seen.target.as_str()), (5, "shop-3"));
        let names: Vec<&str> = seen.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "service",
                "generation",
                "pid",
                "cause",
                "external",
                "uptime_ms",
                "tail"
            ]
        );
        assert_eq!(seen.fields[3].value, "signal:9".into());
        assert_eq!(seen.fields[4].value, true.into());
    }

    #[test]
    fn an_end_that_was_wanted_is_no_symptom() {
        assert_eq!(observation(&exited(true)), None);
    }

    #[test]
    fn every_observation_has_a_capability() {
        let events = [
            exited(false).what,
            What::StateChanged {
                subject: subject(),
                from: State::Starting,
                to: State::Ready,
                reason: String::new(),
            },
            What::BudgetExhausted {
                subject: subject(),
                restarts: 5,
                window_ms: 1,
            },
            What::ProcessState {
                subject: subject(),
                state: ProcessState::Stopped,
                for_ms: 1,
            },
            What::Heartbeat {
                subject: subject(),
                age_ms: 1,
                limit_ms: 1,
            },
            What::Ejected {
                subject: subject(),
                reason: "server errors 3 times in a row".into(),
            },
            What::Returned { subject: subject() },
            What::Stalled {
                process: "proxy".into(),
                late_ms: 1,
            },
        ];
        for what in events {
            let seen = observation(&Event { at: 0, what }).unwrap();
            assert!(capability_of(&seen.kind).is_some(), "{}", seen.kind);
        }
        assert_eq!(capability_of("made.up"), None);
    }
}
