//! `grace instances`.

use anstyle::Style;
use clap::Args;
use grace_model::instance::{InstanceView, State};
use serde_json::json;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};
use crate::supervisor;

/// The processes of the services
#[derive(Debug, Args)]
pub struct Instances {
    /// Only of this service
    service: Option<String>,
}

impl Instances {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let fleet = supervisor::status(&globals.layout()?)?;
        let wanted: Vec<&InstanceView> = fleet
            .instances
            .iter()
            .filter(|one| {
                self.service
                    .as_ref()
                    .is_none_or(|name| name == one.service.as_str())
            })
            .collect();
        if let Some(name) = &self.service
            && !fleet
                .services
                .iter()
                .any(|service| service.name.as_str() == name)
        {
            let known: Vec<&str> = fleet.services.iter().map(|one| one.name.as_str()).collect();
            return Err(crate::problem::Problem::no(
                format!("there is no service {name:?}"),
                format!("there are: {}", known.join(", ")),
            ));
        }
        show::either(globals.json, &json!({ "instances": wanted }), || {
            table(&wanted)
        })
    }
}

/// The state's colour.
pub fn style(state: State) -> Style {
    match state {
        State::Ready => show::GOOD,
        State::Failed => show::BAD,
        State::Stopped => show::DIM,
        _ => show::BUSY,
    }
}

/// Instances as rows.
pub fn table(instances: &[&InstanceView]) -> Table {
    let mut table = Table::new(
        [
            "INSTANCE", "PID", "PORT", "STATE", "UPTIME", "RESTARTS", "WHY",
        ],
        "no instance",
    );
    let number = |number: u64| {
        if number == 0 {
            "-".to_owned()
        } else {
            number.to_string()
        }
    };
    for one in instances {
        table.row([
            one.id.to_string(),
            number(one.pid.into()),
            number(one.port.into()),
            show::paint(style(one.state), one.state.word()),
            if one.pid == 0 {
                "-".to_owned()
            } else {
                show::age(one.uptime_ms)
            },
            one.restarts.to_string(),
            one.reason
                .clone()
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    table
}
