//! `grace artifacts`: snapshot declared artifacts, and hold them against their snapshots.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use grace_model::port::ArtifactView;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};

/// Files of services that must be what was snapshotted
#[derive(Debug, Args)]
pub struct Artifacts {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the bytes as they are the ones that are right from now on
    Snapshot {
        /// Only those of this service
        service: Option<String>,
    },
    /// Whether each is what was snapshotted; 1 if one is not
    Verify {
        /// Only those of this service
        service: Option<String>,
    },
}

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    artifacts: Vec<ArtifactView>,
}

impl Artifacts {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let api = globals.api()?;
        let answer: Answer = match self.what {
            What::Snapshot { service } => {
                let body = json!({ "service": service });
                api.post("/v1/artifacts/snapshot", &body)?
            }
            What::Verify { service } => {
                let mut answer: Answer = api.get("/v1/artifacts")?;
                answer
                    .artifacts
                    .retain(|one| service.as_ref().is_none_or(|wanted| one.service == *wanted));
                answer
            }
        };
        let good = answer.artifacts.iter().all(|one| one.problem.is_none());
        show::either(globals.json, &answer, || {
            let mut table = Table::new(
                ["TARGET", "ARTIFACT", "BYTES", "SNAPSHOT", "PROBLEM"],
                "no artifact is declared",
            );
            for one in &answer.artifacts {
                table.row([
                    one.target.clone(),
                    one.path.clone(),
                    short(&one.hash),
                    short(&one.snapshot),
                    one.problem
                        .as_ref()
                        .map_or_else(String::new, |what| show::paint(show::BAD, what)),
                ]);
            }
            table
        })?;
        Ok(ExitCode::from(u8::from(!good)))
    }
}

fn short(hash: &str) -> String {
    if hash.is_empty() {
        return "-".to_owned();
    }
    hash.get(..12).unwrap_or(hash).to_owned()
}
