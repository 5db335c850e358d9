//! Interface `probe`: requests to instances and figures of their traffic.

use grace_model::port::{HostAnswer, HostCall};

use crate::bindings::probe::{Answer, Host, Traffic};
use crate::call::Answered;
use crate::state::CallState;

fn answer_of(answer: HostAnswer) -> Option<Answer> {
    match answer {
        HostAnswer::Probe {
            status,
            latency_us,
            problem,
        } => Some(Answer {
            status,
            latency_us,
            problem,
        }),
        _ => None,
    }
}

impl Host for CallState {
    fn http(&mut self, id: String, path: String, timeout_ms: u32) -> Answered<Answer> {
        self.ask(
            HostCall::ProbeHttp {
                id,
                path,
                timeout_ms,
            },
            answer_of,
        )
    }

    fn declared(&mut self, id: String, timeout_ms: u32) -> Answered<Answer> {
        self.ask(HostCall::ProbeDeclared { id, timeout_ms }, answer_of)
    }

    fn traffic_of(&mut self, target: String, window_ms: u32) -> Answered<Traffic> {
        self.ask(
            HostCall::Traffic { target, window_ms },
            |answer| match answer {
                HostAnswer::Traffic {
                    window_ms,
                    requests,
                    failures,
                    p50_us,
                    p99_us,
                } => Some(Traffic {
                    window_ms,
                    requests,
                    failures,
                    p50_us,
                    p99_us,
                }),
                _ => None,
            },
        )
    }
}
