//! The process that owns a fault: writes down how it is undone, induces it, waits for its
//! deadline or for a word, undoes it. Killed at any moment, it leaves a record that says it all.

use std::fs;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use grace_model::instance::ProcessId;
use grace_model::layout::Layout;
use grace_os::process;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::catalogue::{Deed, fault};
use crate::deed::{self, Held};
use crate::record::Record;

/// What an owner is told: one line of JSON on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The fault.
    pub fault: String,
    /// `shop-1`, or the name of a process of Grace.
    pub target: String,
    /// That process.
    pub process: ProcessId,
    /// The port that the instance listens on; 0: none.
    pub port: u16,
    /// Where clients connect.
    pub front: Option<SocketAddr>,
    /// What readiness is probed by.
    pub probe: Option<String>,
    /// What clients ask for.
    pub path: String,
    /// Declared configuration files of the instance.
    pub files: Vec<PathBuf>,
    /// When it ends by itself.
    pub lasts_ms: u64,
    /// The host's state directory.
    pub state: PathBuf,
    /// The `grace` binary.
    pub grace: PathBuf,
}

/// A deadline at the latest, whatever an order says: ten minutes.
const LONGEST: Duration = Duration::from_secs(600);

/// Owns the fault that standard input names. Says on standard output when it is induced, and
/// when it is over.
#[must_use]
pub fn main() -> ExitCode {
    match own() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&json!({ "refused": format!("{error:#}") }));
            ExitCode::from(2)
        }
    }
}

/// Nobody may be listening any more.
fn say(value: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

fn own() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).context("the order is not understood")?;
    let fault = fault(&order.fault).context("there is no such fault")?;
    // A terminal's interrupt is for who looks on: the fault ends in order.
    process::set_session()?;
    let layout = Layout::new(&order.state);
    fs::create_dir_all(layout.chaos())
        .with_context(|| format!("cannot make {}", layout.chaos().display()))?;
    let name = format!("{}-{}", order.fault, std::process::id());
    let file = layout.chaos().join(format!("{name}.fault"));
    let mut record = Record {
        fault: order.fault.clone(),
        target: order.target.clone(),
        owner: process::own_identity()?,
        undo: deed::plan(
            &fault.deed,
            &order,
            &layout.chaos().join(format!("{name}.copy")),
        )?,
    };
    record.write(&file)?;
    let induced = induce(&fault.deed, &order, &mut record, &file);
    let held = match induced {
        Ok(held) => held,
        Err(error) => {
            record.undo(&file)?;
            return Err(error);
        }
    };
    say(&json!({ "induced": true }));
    wait(Duration::from_millis(order.lasts_ms).min(LONGEST));
    let met = held.as_ref().and_then(|held| held.met());
    drop(held);
    record.undo(&file)?;
    say(&json!({ "over": true, "met": met }));
    Ok(())
}

fn induce(deed: &Deed, order: &Order, record: &mut Record, file: &std::path::Path) -> Result<Held> {
    deed::induce(deed, order, &mut |undo| {
        record.undo.insert(0, undo);
        record.write(file)
    })
}

/// Until the deadline, or the word `end`. Who gave the order may have died: then the deadline.
fn wait(lasts: Duration) {
    let (word, said) = sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line.trim() == "end" {
                let _ = word.try_send(());
            }
        }
    });
    let begun = Instant::now();
    while let Some(left) = lasts
        .checked_sub(begun.elapsed())
        .filter(|it| !it.is_zero())
    {
        match said.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left),
        }
    }
}
