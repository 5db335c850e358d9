//! Waiting until every instance is ready, and saying why one is not.

use std::time::{Duration, Instant};

use grace_model::config::Config;
use grace_model::instance::{InstanceView, State};
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;

use super::signals::Signals;
use super::start::with_log;
use crate::cmd::logs;
use crate::problem::Problem;
use crate::show;
use crate::supervisor::{Alive, Line};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(30);
/// Time that keeper and supervisor get to answer at all.
const SUPERVISOR: Duration = Duration::from_secs(15);
/// Time beyond an instance's own, for the spawning of all of them.
const MARGIN: Duration = Duration::from_secs(5);
/// Time that the healer gets when the services are ready already.
const HEALER: Duration = Duration::from_secs(60);
/// Time that the healer gets to take the first good copies of declared files.
const COPIES: Duration = Duration::from_secs(10);
/// Lines of output that are shown of an instance that does not get ready.
const LINES: usize = 8;

/// Why the host is not ready.
#[derive(Debug)]
pub enum NotReady {
    /// The person who waits has had enough.
    Interrupted,
    /// Something does not work.
    Problem {
        /// What.
        problem: Problem,
        /// Whether no service has an instance that is ready.
        nothing_serves: bool,
    },
}

impl NotReady {
    fn host(problem: Problem) -> Self {
        NotReady::Problem {
            problem,
            nothing_serves: true,
        }
    }
}

/// Waits for all instances, then for the healer.
pub fn wait(layout: &Layout, config: &Config, signals: &Signals) -> Result<FleetStatus, NotReady> {
    let begun = Instant::now();
    let longest = config
        .services
        .iter()
        .map(|one| one.start_timeout_ms)
        .max()
        .unwrap_or(0);
    let longest = Duration::from_millis(longest) + MARGIN;
    let mut progress = Progress::default();
    let mut seen: Option<FleetStatus> = None;
    let fleet = loop {
        let status = Line::connect(layout).and_then(|mut line| line.status());
        match status {
            Ok(fleet) => {
                progress.show(&fleet);
                let waiting: Vec<&InstanceView> = fleet
                    .instances
                    .iter()
                    .filter(|one| one.state != State::Ready)
                    .collect();
                let ready = fleet.services.iter().all(|one| one.ready >= one.instances);
                if ready && fleet.services.len() == config.services.len() {
                    break fleet;
                }
                let hopeless =
                    !waiting.is_empty() && waiting.iter().all(|one| one.state == State::Failed);
                if hopeless || begun.elapsed() > longest {
                    progress.clear();
                    return Err(not_ready(layout, &fleet));
                }
                seen = Some(fleet);
            }
            Err(error) => {
                let late = seen.is_none() && begun.elapsed() > SUPERVISOR;
                if late || begun.elapsed() > longest + SUPERVISOR || !Alive::look(layout).any() {
                    progress.clear();
                    let text = format!("the supervisor did not begin to answer: {error}");
                    return Err(NotReady::host(Problem::new(text, with_log(layout))));
                }
            }
        }
        if signals.wait(LOOK) {
            progress.clear();
            return Err(NotReady::Interrupted);
        }
    };
    progress.clear();
    healer(layout, signals)?;
    guarded(layout, config, &fleet, signals)?;
    Ok(fleet)
}

/// The fleet, if every instance is ready now.
pub fn now(layout: &Layout) -> Option<FleetStatus> {
    let fleet = Line::connect(layout)
        .and_then(|mut line| line.status())
        .ok()?;
    fleet
        .services
        .iter()
        .all(|one| one.ready >= one.instances)
        .then_some(fleet)
}

/// Services that are up without a healer are up; but ready means that they are looked after.
fn healer(layout: &Layout, signals: &Signals) -> Result<(), NotReady> {
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(layout.api_socket()).is_err() {
        if begun.elapsed() > HEALER {
            let problem = Problem::no(
                "the services are ready, and the healer does not answer: nothing will be healed but dead processes",
                with_log(layout),
            );
            return Err(NotReady::Problem {
                problem,
                nothing_serves: false,
            });
        }
        if signals.wait(LOOK) {
            return Err(NotReady::Interrupted);
        }
    }
    Ok(())
}

/// Ready also means that whatever configuration breaks from now on can be put back.
fn guarded(
    layout: &Layout,
    config: &Config,
    fleet: &FleetStatus,
    signals: &Signals,
) -> Result<(), NotReady> {
    let begun = Instant::now();
    loop {
        let left = grace_healer::unguarded(config, layout, &fleet.instances);
        let Some(first) = left.first() else {
            return Ok(());
        };
        if begun.elapsed() > COPIES {
            let text = format!(
                "{} has no good copy yet and could not be put back now; {}",
                first.display(),
                with_log(layout)
            );
            show::note(&text);
            return Ok(());
        }
        if signals.wait(LOOK) {
            return Err(NotReady::Interrupted);
        }
    }
}

/// Which instances are not ready, why, and what they said last.
fn not_ready(layout: &Layout, fleet: &FleetStatus) -> NotReady {
    let mut text = String::from("not every instance got ready");
    let waiting = fleet
        .instances
        .iter()
        .filter(|one| one.state != State::Ready);
    let mut told = 0;
    let mut more = 0;
    for one in waiting {
        // Instances of one service mostly fail alike.
        if told == 3 {
            more += 1;
            continue;
        }
        told += 1;
        let reason = one.reason.as_deref().unwrap_or("no reason is known");
        text.push_str(&format!(
            "\n  {} is {}: {}",
            one.id,
            one.state.word(),
            reason.trim()
        ));
        let lines = logs::tail(&layout.log(&one.id), LINES).unwrap_or_default();
        if lines.is_empty() {
            text.push_str("\n    it wrote nothing");
        }
        for (line, times) in folded(lines) {
            let times = if times > 1 {
                format!(" ({times} times)")
            } else {
                String::new()
            };
            text.push_str(&format!("\n    | {line}{times}"));
        }
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    let problem = Problem::no(
        text,
        "see that the program runs, listens on the port it is told ({port} or $PORT) and answers \
         `ready`; `start_timeout` gives it more time",
    );
    NotReady::Problem {
        problem,
        nothing_serves: fleet.services.iter().all(|one| one.ready == 0),
    }
}

/// Equal lines in a row as one: a program that dies at once says the same each time.
fn folded(lines: Vec<String>) -> Vec<(String, usize)> {
    let mut folded: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match folded.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => folded.push((line, 1)),
        }
    }
    folded
}

/// One line that is rewritten, on a terminal only.
#[derive(Debug, Default)]
struct Progress {
    shown: String,
}

impl Progress {
    fn show(&mut self, fleet: &FleetStatus) {
        use std::io::{IsTerminal, Write};
        if !std::io::stderr().is_terminal() {
            return;
        }
        let counts: Vec<String> = fleet
            .services
            .iter()
            .map(|one| format!("{} {}/{}", one.name, one.ready, one.instances))
            .collect();
        let text = format!("starting: {}", counts.join(", "));
        if text != self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            self.shown = text;
        }
    }

    fn clear(&mut self) {
        use std::io::Write;
        if !self.shown.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_model::instance::Role;
    use grace_model::ipc::ServiceView;

    fn instance(number: u32, state: State) -> InstanceView {
        InstanceView {
            id: format!("shop-{number}").into(),
            service: "shop".into(),
            pid: 0,
            port: 0,
            role: Role::Active,
            state,
            weight: 0,
            generation: 1,
            uptime_ms: 0,
            restarts: 5,
            reason: Some("exited with code 3".into()),
        }
    }

    #[test]
    fn an_instance_that_is_not_ready_is_told_with_its_reason_and_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir(layout.logs()).unwrap();
        std::fs::write(
            layout.log(&"shop-1".into()),
            "one\nno database\nno database\n",
        )
        .unwrap();
        let fleet = FleetStatus {
            processes: Vec::new(),
            instances: (1..=5)
                .map(|number| instance(number, State::Failed))
                .collect(),
            services: vec![ServiceView {
                name: "shop".into(),
                listen: None,
                instances: 5,
                ready: 0,
            }],
            kernels: Vec::new(),
        };
        let NotReady::Problem {
            problem,
            nothing_serves,
        } = not_ready(&layout, &fleet)
        else {
            panic!("interrupted");
        };
        assert!(nothing_serves);
        for part in [
            "shop-1 is failed: exited with code 3",
            "| no database (2 times)",
            "it wrote nothing",
            "and 2 more",
        ] {
            assert!(problem.what().contains(part), "{part}: {problem}");
        }
    }
}
