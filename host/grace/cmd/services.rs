//! `grace services`.

use clap::Args;
use serde_json::json;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};
use crate::supervisor;

/// The services: where they listen and how many instances are ready
#[derive(Debug, Args)]
pub struct Services {}

impl Services {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let fleet = supervisor::status(&globals.layout()?)?;
        show::either(globals.json, &json!({ "services": fleet.services }), || {
            let mut table = Table::new(["SERVICE", "LISTEN", "READY"], "no service");
            for service in &fleet.services {
                let good = service.ready >= service.instances;
                table.row([
                    service.name.to_string(),
                    service
                        .listen
                        .map_or("-".to_owned(), |addr| addr.to_string()),
                    show::paint(
                        if good { show::GOOD } else { show::BUSY },
                        &format!("{}/{}", service.ready, service.instances),
                    ),
                ]);
            }
            table
        })
    }
}
