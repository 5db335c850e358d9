//! `grace fleet`: roles, shares and versions of services, and what an operator does to them.

pub mod line;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use grace_model::command::{self, Command, StopMode};
use grace_model::config::Roles;
use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::{InstanceView, Role};
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;
use grace_os::port;
use serde_json::json;

use crate::config::{self, Surroundings};
use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show::{self, Table};
use crate::supervisor;

/// Instances that a service may have at most, as in `grace.toml`.
const MOST: u32 = 256;

/// Why, in journals, a command of the command line changes something.
const REASON: &str = "asked for with `grace fleet`";

/// Roles, shares and versions of the services' instances
#[derive(Debug, Args)]
pub struct Fleet {
    #[command(subcommand)]
    what: Option<What>,
    /// Seconds that a change is waited for
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show or set the instances' shares of the traffic
    Weights {
        /// Of which service
        service: String,
        /// INSTANCE=SHARE, in 1/10000; those that are not named get none
        #[arg(value_name = "INSTANCE=SHARE")]
        shares: Vec<String>,
        /// Equal shares again
        #[arg(long, conflicts_with = "shares")]
        equal: bool,
    },
    /// Make a hot instance active; the one it replaces leaves first
    Promote {
        /// Which, as SERVICE-N
        instance: String,
    },
    /// No new requests for an instance; done when those in flight have ended
    Drain {
        /// Which, as SERVICE-N
        instance: String,
    },
    /// Take an instance from the traffic and keep it, as evidence
    Quarantine {
        /// Which, as SERVICE-N
        instance: String,
    },
    /// End a drain or a quarantine
    Release {
        /// Which, as SERVICE-N
        instance: String,
    },
    /// Restart an instance, gracefully
    Restart {
        /// Which, as SERVICE-N
        instance: String,
        /// Kill it instead
        #[arg(long)]
        kill: bool,
    },
    /// Set the number of instances
    Scale {
        /// Of which service
        service: String,
        /// To how many, all active
        #[arg(conflicts_with_all = ["active", "hot", "warm"])]
        instances: Option<u32>,
        /// That take traffic
        #[arg(long)]
        active: Option<u32>,
        /// Running standbys
        #[arg(long)]
        hot: Option<u32>,
        /// Prepared, not running
        #[arg(long)]
        warm: Option<u32>,
    },
    /// Bring in what grace.toml says now; back by itself when that does badly
    Rollout {
        /// Of which service
        service: String,
        /// How
        #[arg(long, value_enum, default_value_t = Way::Rolling)]
        strategy: Way,
    },
    /// Go back to the version before
    Rollback {
        /// Of which service
        service: String,
    },
}

/// How a new version comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// One instance after another.
    Rolling,
    /// New ones beside the old ones, then all the traffic at once.
    BlueGreen,
    /// One instance watched, then the others.
    Canary,
}

impl Fleet {
    /// Shows it, or changes it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        let status = supervisor::status(&layout)?;
        let Some(what) = self.what else {
            let all: Vec<&InstanceView> = status.instances.iter().collect();
            return show_fleet(globals, &all);
        };
        let command = match what {
            What::Weights {
                service,
                shares,
                equal: false,
            } if shares.is_empty() => {
                let name = known(&status, &service)?;
                let of = status.instances.iter().filter(|one| one.service == name);
                return show_fleet(globals, &of.collect::<Vec<_>>());
            }
            What::Weights {
                service, shares, ..
            } => Command::Weights {
                service: known(&status, &service)?,
                shares: shares
                    .iter()
                    .map(|text| share(text))
                    .collect::<Result<_, _>>()?,
                reason: REASON.to_owned(),
            },
            What::Promote { instance } => Command::Promote {
                instance: there(&status, &instance)?,
                reason: REASON.to_owned(),
            },
            What::Drain { instance } => Command::Drain {
                instance: there(&status, &instance)?,
                reason: REASON.to_owned(),
            },
            What::Quarantine { instance } => Command::Quarantine {
                instance: there(&status, &instance)?,
                reason: REASON.to_owned(),
            },
            What::Release { instance } => Command::Release {
                instance: there(&status, &instance)?,
                reason: REASON.to_owned(),
            },
            What::Restart { instance, kill } => Command::Restart {
                instance: there(&status, &instance)?,
                mode: if kill {
                    StopMode::Kill
                } else {
                    StopMode::Graceful
                },
                reason: REASON.to_owned(),
            },
            What::Scale {
                service,
                instances,
                active,
                hot,
                warm,
            } => scale(&status, &service, instances, [active, hot, warm])?,
            What::Rollout { service, strategy } => {
                rollout(globals, &layout, &status, &service, strategy)?
            }
            What::Rollback { service } => Command::Rollback {
                service: known(&status, &service)?,
                reason: REASON.to_owned(),
            },
        };
        let outcome = line::ask(&layout, command, Duration::from_secs(self.timeout))?;
        tell(globals, &outcome)
    }
}

fn tell(globals: &Globals, outcome: &command::Outcome) -> Outcome {
    match outcome {
        command::Outcome::Done { number } => {
            if globals.json {
                show::document(&json!({ "outcome": "done", "number": number }))?;
            } else {
                show::line("done");
            }
            Ok(ExitCode::SUCCESS)
        }
        command::Outcome::Refused { reason, .. } => Err(Problem::no(
            reason.clone(),
            "nothing was changed; `grace fleet` shows what is there",
        )),
        command::Outcome::TimedOut { reason } => Err(Problem::no(
            reason.clone(),
            "`grace fleet` shows how it is now",
        )),
    }
}

fn known(status: &FleetStatus, name: &str) -> Result<ServiceName, Problem> {
    let found = status.services.iter().find(|one| one.name.as_str() == name);
    found.map(|one| one.name.clone()).ok_or_else(|| {
        let all: Vec<&str> = status
            .services
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        Problem::no(
            format!("there is no service {name:?}"),
            format!("there are: {}", all.join(", ")),
        )
    })
}

fn there(status: &FleetStatus, id: &str) -> Result<InstanceId, Problem> {
    let found = status.instances.iter().find(|one| one.id.as_str() == id);
    found.map(|one| one.id.clone()).ok_or_else(|| {
        let all: Vec<&str> = status.instances.iter().map(|one| one.id.as_str()).collect();
        Problem::no(
            format!("there is no instance {id:?}"),
            format!("there are: {}", all.join(", ")),
        )
    })
}

/// `web-1=7000`.
fn share(text: &str) -> Result<(InstanceId, u32), Problem> {
    let parsed = text
        .split_once('=')
        .and_then(|(id, share)| Some((InstanceId::from(id), share.parse::<u32>().ok()?)));
    parsed.ok_or_else(|| {
        Problem::no(
            format!("{text:?} is no INSTANCE=SHARE"),
            "write for example `web-1=7000 web-2=3000`; the shares sum to 10000",
        )
    })
}

fn scale(
    status: &FleetStatus,
    service: &str,
    instances: Option<u32>,
    [active, hot, warm]: [Option<u32>; 3],
) -> Result<Command, Problem> {
    let name = known(status, service)?;
    let reason = REASON.to_owned();
    if let Some(instances) = instances {
        bounded(&name, instances)?;
        return Ok(Command::Scale {
            service: name,
            instances,
            reason,
        });
    }
    if active.is_none() && hot.is_none() && warm.is_none() {
        return Err(Problem::no(
            "to how many?",
            format!("`grace fleet scale {name} N`, or with --active, --hot and --warm"),
        ));
    }
    let mut now = BTreeMap::new();
    for one in status.instances.iter().filter(|one| one.service == name) {
        *now.entry(one.role.word()).or_insert(0) += 1;
    }
    let of = |role: Role, asked: Option<u32>| {
        asked.unwrap_or_else(|| now.get(role.word()).copied().unwrap_or(0))
    };
    let roles = Roles {
        active: of(Role::Active, active),
        hot: of(Role::Hot, hot),
        warm: of(Role::Warm, warm),
    };
    let total = u64::from(roles.active) + u64::from(roles.hot) + u64::from(roles.warm);
    bounded(&name, u32::try_from(total).unwrap_or(u32::MAX))?;
    Ok(Command::Resize {
        service: name,
        roles,
        reason,
    })
}

/// Each instance has a port of its own.
fn bounded(name: &ServiceName, instances: u32) -> Result<(), Problem> {
    if instances == 0 {
        return Err(Problem::no(
            format!("service {name} cannot be scaled to 0 instances: nobody could answer"),
            "take it out of grace.toml, or end everything with `grace down`",
        ));
    }
    let ports = port::instance_range();
    let most = MOST.min(u32::try_from(ports.len()).unwrap_or(MOST));
    if instances > most {
        return Err(Problem::no(
            format!("{instances} instances are too many: at most {most} of a service"),
            format!(
                "each needs a port of its own between {} and {}; run more services, or another host",
                ports.start(),
                ports.end()
            ),
        ));
    }
    Ok(())
}

/// What the file says now, for a service that runs.
fn rollout(
    globals: &Globals,
    layout: &Layout,
    status: &FleetStatus,
    service: &str,
    strategy: Way,
) -> Result<Command, Problem> {
    let name = known(status, service)?;
    let around = Surroundings::here(Some(layout.root().to_owned()));
    let config = config::load(&globals.file(), &around)?;
    let found = config.services.into_iter().find(|one| one.name == name);
    let Some(definition) = found else {
        return Err(Problem::no(
            format!(
                "{} has no service {name} any more",
                globals.file().display()
            ),
            "put it back; a rollout brings in what the file says",
        ));
    };
    Ok(Command::Rollout {
        definition: Box::new(definition),
        strategy: match strategy {
            Way::Rolling => command::Strategy::Rolling,
            Way::BlueGreen => command::Strategy::BlueGreen,
            Way::Canary => command::Strategy::Canary,
        },
        reason: REASON.to_owned(),
    })
}

fn show_fleet(globals: &Globals, instances: &[&InstanceView]) -> Outcome {
    show::either(globals.json, &json!({ "instances": instances }), || {
        let mut table = Table::new(
            [
                "INSTANCE", "ROLE", "STATE", "SHARE", "PID", "PROCESS", "WHY",
            ],
            "no instance",
        );
        for one in instances {
            let why = one.reason.as_deref().unwrap_or_default();
            table.row([
                one.id.to_string(),
                one.role.word().to_owned(),
                show::paint(super::instances::style(one.state), one.state.word()),
                format!("{}.{:02} %", one.weight / 100, one.weight % 100),
                if one.pid == 0 {
                    "-".to_owned()
                } else {
                    one.pid.to_string()
                },
                format!("#{}", one.generation),
                why.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_an_instance_and_a_number() {
        assert_eq!(
            share("web-1=7000").unwrap(),
            (InstanceId::from("web-1"), 7_000)
        );
        for bad in ["web-1", "web-1=", "web-1=-3", "web-1=x"] {
            assert!(share(bad).unwrap_err().what().contains(bad));
        }
    }

    #[test]
    fn no_instances_and_more_than_there_are_ports_are_refused() {
        let name = ServiceName::from("web");
        assert!(bounded(&name, 1).is_ok());
        assert!(
            bounded(&name, 0)
                .unwrap_err()
                .what()
                .contains("0 instances")
        );
        let error = bounded(&name, 100_000).unwrap_err();
        assert!(error.what().contains("100000") && error.remedy().contains("port"));
    }
}
