//! What a person sees while the demo runs, on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use crate::fault::{Fault, Outcome};
use crate::fleet::{Incident, Instance};
use crate::load::Requests;

/// The running commentary.
pub struct Screen {
    quiet: bool,
    colour: bool,
    shown: HashMap<String, String>,
}

impl Screen {
    /// A commentary, or none when the answer is JSON and nobody looks.
    pub fn new(json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            quiet: json && !terminal,
            colour: terminal,
            shown: HashMap::new(),
        }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The first line.
    pub fn title(&self, text: &str) {
        self.line(&self.bold(text));
    }

    /// The fleet as it is.
    pub fn fleet(&self, instances: &[Instance]) {
        for instance in instances {
            self.line(&format!(
                "  {:<8} pid {:<8} port {:<6} {}",
                instance.id, instance.pid, instance.port, instance.state
            ));
        }
    }

    /// A fault begins.
    pub fn fault(&self, fault: Fault, id: &str) {
        self.line(&format!(
            "\n{} {id}: {}",
            self.bold(fault.name()),
            fault.deed()
        ));
    }

    /// An incident changed.
    pub fn incident(&mut self, incident: &Incident, since: Duration) {
        let playbook = incident.playbook.as_deref().unwrap_or("-");
        let now = format!("{} {} playbook {playbook}", incident.id, incident.state);
        if self.shown.insert(incident.id.clone(), now.clone()).as_ref() != Some(&now) {
            self.note(&now, since);
        }
    }

    /// Something worth a line.
    pub fn note(&self, text: &str, since: Duration) {
        self.line(&format!("  {:>8.3} s  {text}", since.as_secs_f64()));
    }

    /// A fault is over.
    pub fn outcome(&self, outcome: &Outcome, requests: Requests) {
        let verdict = match outcome.healed_ms {
            Some(ms) => format!("healed in {ms} ms"),
            None => "NOT healed".to_owned(),
        };
        self.line(&format!(
            "  {}; {} requests sent, {} failed",
            self.bold(&verdict),
            requests.sent,
            requests.failed
        ));
    }
}
