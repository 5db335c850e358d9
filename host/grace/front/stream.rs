//! Staying in front: a line for every change of an incident, until a signal or `grace down`. A
//! host that loses keeper and supervisor at once is started again, around what still runs.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grace_api::client::Client;
use grace_model::layout::Layout;
use serde_json::{Value, json};

use super::signals::Signals;
use super::start::{self, Mark};
use super::{Front, end, ready, succeed};
use crate::cmd::incidents;
use crate::problem::{Outcome, Problem};
use crate::show;
use crate::supervisor::Alive;

/// Time between two looks at the host.
const LOOK: Duration = Duration::from_millis(200);
/// Both dead for this long: neither can bring back the other.
const BOTH_DEAD: Duration = Duration::from_millis(600);
/// Starts after a loss of both, within `WINDOW`.
const STARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// Stays until the host is to end, then ends it. `ready`: that it is was told already.
pub fn stay(
    front: &Front,
    layout: &Layout,
    signals: &Signals,
    mark: &Mark,
    mut ready: bool,
) -> Outcome {
    let json = front.json;
    let over = Arc::new(AtomicBool::new(false));
    // The first document says that the host is ready; a person wants to know why it is not.
    let waiting = json && !ready;
    if !waiting {
        tell_incidents(layout, json, &over)?;
    }
    let mut dead_since: Option<Instant> = None;
    let mut starts: Vec<Instant> = Vec::new();
    loop {
        if signals.wait(LOOK) {
            over.store(true, Ordering::Relaxed);
            end(layout)?;
            mark.remove();
            return told_end(json, "a signal");
        }
        succeed::if_upgraded(front, layout);
        if Alive::look(layout).any() {
            dead_since = None;
            if !ready && let Some(fleet) = ready::now(layout) {
                front.tell_ready(layout, &fleet)?;
                ready = true;
                if waiting {
                    tell_incidents(layout, json, &over)?;
                }
            }
            continue;
        }
        if mark.is_gone() {
            over.store(true, Ordering::Relaxed);
            return told_end(json, "grace down");
        }
        if dead_since.get_or_insert_with(Instant::now).elapsed() < BOTH_DEAD {
            continue;
        }
        starts.retain(|at| at.elapsed() < WINDOW);
        if starts.len() >= STARTS {
            return Err(Problem::new(
                format!("keeper and supervisor died {STARTS} times within a minute"),
                start::with_log(layout),
            ));
        }
        starts.push(Instant::now());
        tell(
            json,
            json!({ "event": "restarted", "what": "keeper and supervisor" }),
            || "keeper and supervisor are gone; starting them again around what runs".to_owned(),
        );
        start::begin(layout, &front.config)?;
        dead_since = None;
    }
}

/// From a thread of its own: the API's client blocks.
fn tell_incidents(layout: &Layout, json: bool, over: &Arc<AtomicBool>) -> Result<(), Problem> {
    let api = Client::new(&layout.api_socket(), Duration::ZERO);
    let over = over.clone();
    let told = move || {
        let _ = incidents::watch(
            &api,
            &mut |incident, value| {
                if over.load(Ordering::Relaxed) {
                    return ControlFlow::Break(());
                }
                tell(json, with_event(value), || show::incident_line(incident));
                ControlFlow::Continue(())
            },
            &|| !over.load(Ordering::Relaxed),
        );
    };
    std::thread::Builder::new()
        .name("incidents".to_owned())
        .spawn(told)
        .map(drop)
        .map_err(|error| Problem::new(format!("cannot watch incidents: {error}"), ""))
}

fn with_event(value: &Value) -> Value {
    json!({ "event": "incident", "incident": value })
}

fn tell(json: bool, document: Value, text: impl FnOnce() -> String) {
    if json {
        show::line(&document.to_string());
    } else {
        show::line(&text());
    }
}

fn told_end(json: bool, by: &str) -> Outcome {
    tell(json, json!({ "event": "down", "by": by }), || {
        format!("ended by {by}")
    });
    Ok(ExitCode::SUCCESS)
}
