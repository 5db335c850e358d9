//! A host seen from the terminal that starts it: begin it or take it over, wait until it is
//! ready, tell what happens, end it.

mod end;
mod ready;
mod signals;
mod start;
mod stream;
mod succeed;

use std::process::ExitCode;

use grace_model::config::Config;
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;
use serde_json::json;

use crate::problem::{Outcome, Problem};
use crate::show;
use crate::supervisor::Alive;

pub use end::{Ended, end};
pub use signals::Signals;
pub use start::with_log;

/// What is wanted of a host.
#[derive(Debug)]
pub struct Front {
    /// The resolved configuration.
    pub config: Config,
    /// Return when it is ready.
    pub detach: bool,
    /// One JSON document a line.
    pub json: bool,
    /// The state directory was made for this front and goes with it.
    pub temporary: bool,
}

impl Front {
    /// Starts the host and stays with it.
    pub fn run(&self) -> Outcome {
        let outcome = self.host();
        // What a host that could not be ended still needs is not taken from it.
        if self.temporary && !Alive::look(&Layout::new(&self.config.state_dir)).any() {
            let _ = std::fs::remove_dir_all(&self.config.state_dir);
        }
        outcome
    }

    fn host(&self) -> Outcome {
        let layout = Layout::new(&self.config.state_dir);
        // Before anything is started, so that no signal falls between.
        let signals = signals::Signals::new()?;
        let mark = start::claim(&layout)?;
        crate::cmd::chaos::undo(&layout, grace_chaos::Sweep::Orphans);
        let fresh = match start::situation(&layout, &mark)? {
            start::Situation::Attach => {
                show::note("the host is up and its front was ended; taking its place");
                false
            }
            start::Situation::Begin => start::begin(&layout, &self.config)?.is_empty(),
        };
        let ready = match ready::wait(&layout, &self.config, &signals) {
            Ok(fleet) => {
                self.tell_ready(&layout, &fleet)?;
                true
            }
            Err(ready::NotReady::Interrupted) => {
                // Who only looked in does not end what was there before.
                if fresh || !self.detach {
                    end(&layout)?;
                }
                mark.remove();
                return Ok(ExitCode::from(1));
            }
            Err(ready::NotReady::Problem {
                problem,
                nothing_serves,
            }) => {
                // A fleet that serves at least something is worth more than a clean slate.
                let hopeless = fresh && nothing_serves;
                if hopeless {
                    end(&layout)?;
                }
                if hopeless || self.detach {
                    mark.remove();
                    return Err(problem);
                }
                show::problem(&problem, false);
                false
            }
        };
        if self.detach {
            mark.remove();
            return Ok(ExitCode::SUCCESS);
        }
        stream::stay(self, &layout, &signals, &mark, ready)
    }

    fn tell_ready(&self, layout: &Layout, fleet: &FleetStatus) -> Result<(), Problem> {
        if self.json {
            let services: Vec<_> = fleet
                .services
                .iter()
                .map(|one| json!({ "name": one.name, "listen": one.listen }))
                .collect();
            return show::document(&json!({
                "event": "ready",
                "services": services,
                "socket": layout.api_socket(),
            }));
        }
        let services: Vec<String> = fleet
            .services
            .iter()
            .map(|one| {
                let place = one
                    .listen
                    .map_or(String::new(), |addr| format!(" on {addr}"));
                format!(
                    "{}{place} ({}/{} ready)",
                    one.name, one.ready, one.instances
                )
            })
            .collect();
        show::line(&format!(
            "{} {}",
            show::paint(show::GOOD, "ready"),
            services.join(", ")
        ));
        Ok(())
    }
}
