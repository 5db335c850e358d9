//! Carries out the host calls of one call of an action. Calls that change something carry an
//! operation id of run, step, attempt and count, so that the same call after a crash is
//! recognised by whoever carries it out.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use grace_model::command::{Command, Outcome};
use grace_model::config::Ready;
use grace_model::id::{IncidentId, InstanceId, OpId, RunId, ServiceName};
use grace_model::instance::{InstanceView, State};
use grace_model::plugin::{PluginError, Severity};
use grace_model::port::{HostAnswer, HostCall, HostPort};

use super::Reach;
use crate::files::Cause;
use crate::reach::http::{self, Probed};
use crate::reach::notify::{self, Message};
use crate::reach::supervisor::Unreached;

/// One call of an action on its way.
pub struct CallPort {
    reach: Arc<Reach>,
    incident: IncidentId,
    purpose: Purpose,
}

enum Purpose {
    /// A step of a run.
    Step {
        run: RunId,
        key: String,
        attempt: u32,
        changes: u32,
    },
    /// Only to tell what it would do.
    DryRun,
}

type Answered = Result<HostAnswer, PluginError>;

impl CallPort {
    /// For a step.
    #[must_use]
    pub fn of_step(
        reach: Arc<Reach>,
        incident: IncidentId,
        run: RunId,
        key: String,
        attempt: u32,
    ) -> Self {
        Self {
            reach,
            incident,
            purpose: Purpose::Step {
                run,
                key,
                attempt,
                changes: 0,
            },
        }
    }

    /// For a dry run: whatever would change something is refused.
    #[must_use]
    pub fn dry(reach: Arc<Reach>, incident: IncidentId) -> Self {
        Self {
            reach,
            incident,
            purpose: Purpose::DryRun,
        }
    }

    /// The id of the next change. Only changes count: how often a plugin looks may depend on
    /// the moment, what it changes does not.
    fn next_op(&mut self) -> Result<OpId, PluginError> {
        match &mut self.purpose {
            Purpose::DryRun => Err(PluginError::Denied("a dry run changes nothing".to_owned())),
            Purpose::Step {
                run,
                key,
                attempt,
                changes,
            } => {
                let op = OpId::of_step(run, key, *attempt, *changes);
                *changes += 1;
                Ok(op)
            }
        }
    }

    fn change(&mut self, command: Command, budget: Duration) -> Result<u64, PluginError> {
        let op = self.next_op()?;
        match self.reach.supervisor.command(&op, &command, budget) {
            Ok(Outcome::Done { number }) => Ok(number),
            Ok(Outcome::Refused {
                unknown_target: true,
                reason,
            }) => Err(PluginError::NotApplicable(reason)),
            Ok(Outcome::Refused {
                unknown_target: false,
                reason,
            }) => Err(PluginError::Unavailable(reason)),
            Ok(Outcome::TimedOut { reason }) => Err(PluginError::TimedOut(reason)),
            Err(e @ Unreached::Away { .. }) => Err(PluginError::TimedOut(e.to_string())),
            Err(e @ Unreached::Refused(_)) => Err(PluginError::Unavailable(e.to_string())),
        }
    }

    fn done(&mut self, command: Command, budget: Duration) -> Answered {
        self.change(command, budget).map(|_number| HostAnswer::Done)
    }

    fn instances(&self) -> Result<Vec<InstanceView>, PluginError> {
        let fleet = self.reach.supervisor.status();
        fleet
            .map(|fleet| fleet.instances)
            .map_err(|e| PluginError::Unavailable(e.to_string()))
    }

    fn instance(&self, id: &str) -> Result<InstanceView, PluginError> {
        let all = self.instances()?;
        all.into_iter()
            .find(|view| view.id.as_str() == id)
            .ok_or_else(|| PluginError::NotApplicable(format!("there is no instance {id}")))
    }

    fn of_service(&self, service: &str) -> Answered {
        if self.reach.ready_of(service).is_none() {
            return Err(PluginError::NotApplicable(format!(
                "there is no service {service}"
            )));
        }
        let mut instances = self.instances()?;
        instances.retain(|view| view.service.as_str() == service);
        Ok(HostAnswer::Instances { instances })
    }

    fn probe(&self, id: &str, path: Option<&str>, limit: Duration) -> Answered {
        let view = self.instance(id)?;
        let Probed {
            status,
            latency_us,
            problem,
        } = match path {
            Some(path) => with_port(&view, |port| http::get(port, path, limit)),
            None => match self.reach.ready_of(view.service.as_str()) {
                Some(Ready::Http(path)) => with_port(&view, |port| {
                    let mut probed = http::get(port, path, limit);
                    if probed.problem.is_none() && !(200..400).contains(&probed.status) {
                        let status = probed.status;
                        probed.problem = Some(format!("answered {status}, not 200 to 399"));
                    }
                    probed
                }),
                Some(Ready::Tcp) => with_port(&view, |port| http::connect(port, limit)),
                Some(Ready::Notify | Ready::Process) | None => by_state(&view),
            },
        };
        Ok(HostAnswer::Probe {
            status,
            latency_us,
            problem,
        })
    }

    fn write_cause(&mut self) -> Result<Cause, PluginError> {
        Ok(Cause {
            op: self.next_op()?,
            incident: Some(self.incident.clone()),
        })
    }

    fn tell(
        &mut self,
        channel: &str,
        severity: Severity,
        subject: String,
        text: String,
        limit: Duration,
    ) -> Answered {
        let message = Message {
            id: self.next_op()?.0,
            at: self.reach.clock.wall_ms(),
            incident: Some(self.incident.0.clone()),
            severity,
            subject,
            text,
        };
        notify::send(&self.reach.channels, channel, &message, limit)
            .map(|()| HostAnswer::Done)
            .map_err(PluginError::Unavailable)
    }
}

impl HostPort for CallPort {
    fn call(&mut self, call: HostCall, budget: Duration) -> Answered {
        let number = |number| HostAnswer::Number { number };
        let text = |text| HostAnswer::Text { text };
        match call {
            HostCall::Now => Ok(number(self.reach.clock.wall_ms())),
            HostCall::Sleep { ms } => sleep(u64::from(ms), budget),
            HostCall::GetInstance { id } => self
                .instance(&id)
                .map(|instance| HostAnswer::Instance { instance }),
            HostCall::ListInstances { service } => self.of_service(&service),
            HostCall::Restart { id, mode, reason } => {
                let instance = InstanceId(id);
                self.change(
                    Command::Restart {
                        instance,
                        mode,
                        reason,
                    },
                    budget,
                )
                .map(number)
            }
            HostCall::Pause { id, reason } => self.done(
                Command::Pause {
                    instance: InstanceId(id),
                    reason,
                },
                budget,
            ),
            HostCall::Resume { id, reason } => self.done(
                Command::Resume {
                    instance: InstanceId(id),
                    reason,
                },
                budget,
            ),
            HostCall::Scale {
                service,
                instances,
                reason,
            } => {
                let service = ServiceName(service);
                self.change(
                    Command::Scale {
                        service,
                        instances,
                        reason,
                    },
                    budget,
                )
                .map(number)
            }
            HostCall::Drain { id, reason } => self.done(
                Command::Drain {
                    instance: InstanceId(id),
                    reason,
                },
                budget,
            ),
            HostCall::Quarantine { id, reason } => self.done(
                Command::Quarantine {
                    instance: InstanceId(id),
                    reason,
                },
                budget,
            ),
            HostCall::Release { id, reason } => self.done(
                Command::Release {
                    instance: InstanceId(id),
                    reason,
                },
                budget,
            ),
            HostCall::ConfigFiles { id } => {
                let files = self.reach.files.views(&InstanceId(id))?;
                Ok(HostAnswer::Files { files })
            }
            HostCall::ConfigRead { id, path } => {
                let bytes = self.reach.files.read(&InstanceId(id), &path)?;
                Ok(HostAnswer::Bytes { bytes })
            }
            HostCall::ConfigSnapshot { id, path } => {
                let cause = self.write_cause()?;
                let incident = cause.incident.as_ref();
                self.reach
                    .files
                    .snapshot(&InstanceId(id), &path, incident)
                    .map(Some)
                    .map(text)
            }
            HostCall::ConfigRestore { id, path } => {
                let cause = self.write_cause()?;
                self.reach
                    .files
                    .restore(&InstanceId(id), &path, &cause)
                    .map(text)
            }
            HostCall::ConfigPutBack { id, path, hash } => {
                let cause = self.write_cause()?;
                self.reach
                    .files
                    .put_back(&InstanceId(id), &path, &hash, &cause)?;
                Ok(HostAnswer::Done)
            }
            HostCall::ProbeHttp {
                id,
                path,
                timeout_ms,
            } => self.probe(&id, Some(&path), limit(timeout_ms, budget)),
            HostCall::ProbeDeclared { id, timeout_ms } => {
                self.probe(&id, None, limit(timeout_ms, budget))
            }
            HostCall::Traffic { target, window_ms } => {
                let traffic = self
                    .reach
                    .traffic
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let now = self.reach.clock.wall_ms();
                Ok(traffic.answer(&target, u64::from(window_ms), now))
            }
            HostCall::Notify {
                channel,
                severity,
                subject,
                text,
            } => self.tell(&channel, severity, subject, text, budget),
        }
    }
}

/// A probe never outlasts the call it is part of.
fn limit(timeout_ms: u32, budget: Duration) -> Duration {
    Duration::from_millis(u64::from(timeout_ms).max(1)).min(budget)
}

fn sleep(ms: u64, budget: Duration) -> Answered {
    let time = Duration::from_millis(ms);
    if time >= budget {
        return Err(PluginError::TimedOut(format!(
            "{ms} ms is more than is left of this call"
        )));
    }
    std::thread::sleep(time);
    Ok(HostAnswer::Done)
}

fn with_port(view: &InstanceView, probe: impl FnOnce(u16) -> Probed) -> Probed {
    if view.pid == 0 || view.port == 0 {
        let problem = if view.pid == 0 {
            "no process runs"
        } else {
            "it has no port"
        };
        return Probed {
            status: 0,
            latency_us: 0,
            problem: Some(problem.to_owned()),
        };
    }
    probe(view.port)
}

/// Readiness that only the supervisor sees.
fn by_state(view: &InstanceView) -> Probed {
    let problem = (view.state != State::Ready).then(|| {
        let reason = view.reason.as_deref().unwrap_or("no reason known");
        format!("{}: {reason}", view.state.word())
    });
    Probed {
        status: 0,
        latency_us: 0,
        problem,
    }
}
