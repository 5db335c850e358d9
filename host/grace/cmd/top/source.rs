//! Where a frame comes from: the supervisor for the fleet, the API for what is measured and for
//! incidents. It answers also while one of the two is away, and says which.

use std::time::Duration;

use grace_api::client::Client;
use grace_model::incident::Incident;
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;
use grace_model::usage::Measured;
use serde::Deserialize;

use crate::supervisor::{Alive, Line, not_up};

/// What was told at one look.
#[derive(Debug)]
pub struct Told {
    /// Where the host's state is.
    pub state: String,
    /// The fleet.
    pub fleet: FleetStatus,
    /// What is measured; none while the healer is away.
    pub measured: Option<Measured>,
    /// All incidents, oldest first.
    pub incidents: Vec<Incident>,
    /// What could not be asked, for a person.
    pub lacks: Option<String>,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// A host.
    Up(Box<Told>),
    /// None, and why.
    Away(String),
}

/// The API's answer.
#[derive(Debug, Deserialize)]
struct Incidents {
    incidents: Vec<Incident>,
}

/// It.
#[derive(Debug)]
pub struct Source {
    layout: Layout,
    api: Client,
    /// Kept open between looks.
    line: Option<Line>,
}

impl Source {
    /// For a host, which need not be up.
    pub fn new(layout: Layout) -> Self {
        // Whoever watches comes again soon: nobody is waited for.
        let api = Client::new(&layout.api_socket(), Duration::ZERO);
        Self {
            layout,
            api,
            line: None,
        }
    }

    /// Looks.
    pub fn look(&mut self) -> Look {
        let fleet = match self.fleet() {
            Ok(fleet) => fleet,
            Err(error) => {
                let why = if Alive::look(&self.layout).any() {
                    format!("the supervisor does not answer: {error}")
                } else {
                    not_up(&self.layout).to_string()
                };
                return Look::Away(why);
            }
        };
        let measured = self.api.get::<Measured>("/v1/measured");
        let incidents = self.api.get::<Incidents>("/v1/incidents");
        let lacks = match (&measured, &incidents) {
            (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
            _ => None,
        };
        Look::Up(Box::new(Told {
            state: self.layout.root().display().to_string(),
            fleet,
            measured: measured.ok(),
            incidents: incidents.map(|it| it.incidents).unwrap_or_default(),
            lacks,
        }))
    }

    fn fleet(&mut self) -> std::io::Result<FleetStatus> {
        // A kept connection may be that of a supervisor that died since: try once more anew.
        if let Some(mut line) = self.line.take()
            && let Ok(status) = line.status()
        {
            self.line = Some(line);
            return Ok(status);
        }
        let mut line = Line::connect(&self.layout)?;
        let status = line.status()?;
        self.line = Some(line);
        Ok(status)
    }
}
