//! Action pack `probe`: looks whether an instance or a service works. Changes nothing. It must
//! not know how to make it work.

#![cfg_attr(target_family = "wasm", no_std)]

mod slo;
mod smoke;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::host::{Answer, Instance, State};
use grace_plugin_sdk::prelude::*;

/// The pack.
pub struct Probe;

struct Settings {
    timeout_ms: u32,
    every_ms: u32,
}

impl Settings {
    fn read() -> Result<Self> {
        let ms = |key: &str, default: &str| {
            let ms = config::duration_ms(key, default)?.clamp(1, 10_000);
            Ok(u32::try_from(ms).unwrap_or(10_000))
        };
        Ok(Self {
            timeout_ms: ms("probe_timeout", "1s")?,
            every_ms: ms("probe_every", "200ms")?,
        })
    }
}

impl ActionPack for Probe {
    fn describe() -> Vec<ActionInfo> {
        let target = || required("target", ParamType::Target, "an instance or a service");
        vec![
            action("probe.smoke", "Wait until it is ready and answers", Risk::None)
                .taking([
                    target(),
                    optional("path", ParamType::Text, "GET this instead of the declared probe"),
                    optional(
                        "attempts",
                        ParamType::Integer,
                        "bad answers of a ready instance before it has failed (default 5)",
                    ),
                    optional("within", ParamType::Duration, "time for all of it (default 10s)"),
                ])
                .giving(&["instances", "attempts", "latency_us"]),
            action("probe.slo", "Watch traffic and probes, and fail if they are not good", Risk::None)
                .taking([
                    target(),
                    optional(
                        "success",
                        ParamType::Text,
                        "share of requests that must succeed: 0.99, 99% or 990 (permille); default 0.99",
                    ),
                    optional("p99", ParamType::Duration, "99th percentile of latency at most"),
                    optional("for", ParamType::Duration, "how long to watch (default 2s)"),
                ])
                .giving(&["decided_by", "requests", "success_permille", "p99_us", "probes", "probes_passed"]),
        ]
    }

    fn plan(call: &Call) -> Result<Vec<String>> {
        match call.action.as_str() {
            "probe.smoke" => smoke::plan(call),
            "probe.slo" => slo::plan(call),
            other => Err(unknown(other)),
        }
    }

    fn run(call: &Call) -> Result<Receipt> {
        let settings = Settings::read()?;
        match call.action.as_str() {
            "probe.smoke" => smoke::run(call, &settings),
            "probe.slo" => slo::run(call, &settings),
            other => Err(unknown(other)),
        }
    }

    /// Nothing was changed, so nothing is taken back.
    fn undo(_action: &str, _receipt: &Receipt) -> Result<()> {
        Ok(())
    }
}

/// What one look at an instance came to.
struct Look {
    good: bool,
    latency_us: u64,
    problem: String,
}

/// Probes an instance once: the given path, or what the service declares. Where it declares
/// none that can be made from outside (`sd_notify`, or just a process), its state decides.
fn look(instance: &Instance, path: Option<&str>, timeout_ms: u32) -> Result<Look> {
    let answer = match path {
        Some(path) => host::probe::http(&instance.id, path, timeout_ms),
        None => host::probe::declared(&instance.id, timeout_ms),
    };
    match answer {
        Ok(answer) => Ok(judge(&answer)),
        Err(PluginError::NotApplicable(_)) if path.is_none() => {
            let now = host::fleet::get_instance(&instance.id)?;
            Ok(Look {
                good: now.state == State::Ready && now.generation == instance.generation,
                latency_us: 0,
                problem: format!("it is {}", grace_plugin_sdk::fleet::word(now.state)),
            })
        }
        // The host could not ask: no verdict on the instance, but not a good one either.
        Err(PluginError::Unavailable(problem)) => Ok(Look {
            good: false,
            latency_us: 0,
            problem,
        }),
        Err(error) => Err(error),
    }
}

fn judge(answer: &Answer) -> Look {
    let problem = match (&answer.problem, answer.status) {
        (Some(problem), _) => problem.clone(),
        (None, status) => format!("status {status}"),
    };
    let good =
        answer.problem.is_none() && (answer.status == 0 || (200..400).contains(&answer.status));
    Look {
        good,
        latency_us: answer.latency_us,
        problem,
    }
}

export_action!(Probe);
