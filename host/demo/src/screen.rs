//! What a person sees while the demo runs, on standard error: the story line by line, and on a
//! terminal the fleet below it, painted anew from a thread of its own, so that it goes on while
//! the demo waits for an answer.

use std::collections::HashMap;
use std::io::{Stderr, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::fault::{Fault, Outcome};
use crate::fleet::{Entry, Incident, Instance};
use crate::judge;
use crate::load::Requests;
use crate::pin::Pin;
use crate::story;
use crate::view::{self, Scene};

/// Time between two paintings.
const PAINT: Duration = Duration::from_millis(200);

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// Nothing.
    Nothing,
    /// Lines.
    #[default]
    Lines,
    /// Lines, and the fleet below them, redrawn in place.
    Live {
        /// In colours.
        colour: bool,
    },
}

/// The running commentary.
pub struct Screen {
    board: Option<Arc<Mutex<Board>>>,
    painter: Option<(SyncSender<()>, JoinHandle<()>)>,
    /// Set from outside: the demo is to end.
    stop: Arc<AtomicBool>,
    bold: bool,
    /// Incidents as they were told.
    told: HashMap<String, String>,
    /// The last ledger entry that was told of the current fault.
    last: u64,
    known: Vec<Instance>,
}

/// What is painted.
struct Board {
    pin: Pin<Stderr>,
    live: bool,
    colour: bool,
    fleet: Vec<Instance>,
    load: Option<Arc<Mutex<Requests>>>,
    trouble: Option<(Fault, String, Instant)>,
    incident: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn paint(&mut self) {
        if !self.live || self.fleet.is_empty() {
            return;
        }
        let size = terminal_size::terminal_size_of(stderr());
        let (width, rows) = size.map_or((80, 24), |(width, rows)| {
            (usize::from(width.0), usize::from(rows.0))
        });
        let scene = Scene {
            fleet: self
                .fleet
                .iter()
                .map(|one| (one.clone(), judge::life(one.pid)))
                .collect(),
            requests: self
                .load
                .as_deref()
                .map(|load| locked(load).clone())
                .unwrap_or_default(),
            trouble: self
                .trouble
                .as_ref()
                .map(|(fault, id, since)| (*fault, id.clone(), since.elapsed())),
            incident: self.incident.clone(),
        };
        // The last row and column stay free: what reaches them makes a terminal scroll or wrap.
        let lines = view::lines(
            &scene,
            width.saturating_sub(1),
            rows.saturating_sub(1),
            self.colour,
        );
        self.pin.pin(&lines);
    }

    fn line(&mut self, text: &str) {
        self.pin.line(text);
        self.paint();
    }
}

impl Screen {
    /// A commentary. `stop` ends every wait of the demo.
    ///
    /// # Errors
    /// There is no thread for painting.
    pub fn new(show: Show, stop: Arc<AtomicBool>) -> Result<Self> {
        let colour = show == Show::Live { colour: true };
        let live = matches!(show, Show::Live { .. });
        let board = (show != Show::Nothing).then(|| {
            Arc::new(Mutex::new(Board {
                pin: Pin::new(stderr()),
                live,
                colour,
                fleet: Vec::new(),
                load: None,
                trouble: None,
                incident: None,
            }))
        });
        let mut painter = None;
        if live && let Some(board) = &board {
            let board = Arc::clone(board);
            // Nothing is ever sent: its end is the end.
            let (end, ended) = sync_channel::<()>(0);
            let thread = std::thread::Builder::new()
                .name("painter".to_owned())
                .spawn(move || {
                    while ended.recv_timeout(PAINT) == Err(RecvTimeoutError::Timeout) {
                        locked(&board).paint();
                    }
                })
                .context("no thread for painting")?;
            painter = Some((end, thread));
        }
        Ok(Self {
            board,
            painter,
            stop,
            bold: colour,
            told: HashMap::new(),
            last: 0,
            known: Vec::new(),
        })
    }

    /// Waits this long.
    ///
    /// # Errors
    /// The demo is to end.
    pub fn rest(&self, time: Duration) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                bail!("it was interrupted");
            }
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn with(&self, change: impl FnOnce(&mut Board)) {
        if let Some(board) = &self.board {
            change(&mut locked(board));
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.bold {
            let bold = anstyle::Style::new().bold();
            format!("{bold}{text}{bold:#}")
        } else {
            text.to_owned()
        }
    }

    /// The first line.
    pub fn title(&self, text: &str) {
        self.with(|board| board.line(&self.bold(text)));
    }

    /// From now on the load's count is shown.
    pub fn load(&self, count: Arc<Mutex<Requests>>) {
        self.with(|board| board.load = Some(count));
    }

    /// The fleet as it is at first.
    pub fn first(&mut self, instances: &[Instance]) {
        self.known = instances.to_vec();
        self.with(|board| {
            for one in instances.iter().filter(|_| !board.live) {
                board.pin.line(&format!(
                    "  {:<8} pid {:<8} port {:<6} {}",
                    one.id, one.pid, one.port, one.state
                ));
            }
            board.fleet = instances.to_vec();
            board.paint();
        });
    }

    /// The fleet as it is now: what changed is a line each.
    pub fn fleet(&mut self, instances: &[Instance], since: Duration) {
        for now in instances {
            let before = self.known.iter().find(|one| one.id == now.id);
            if let Some(before) = before
                && (before.pid, &before.state) != (now.pid, &now.state)
            {
                self.note(&change(before, now), since);
            }
        }
        self.known = instances.to_vec();
        self.with(|board| {
            board.fleet = instances.to_vec();
        });
    }

    /// A fault begins.
    pub fn fault(&mut self, fault: Fault, id: &str) {
        let text = format!("\n{} {id}: {}", self.bold(fault.name()), fault.deed());
        self.with(|board| {
            board.trouble = Some((fault, id.to_owned(), Instant::now()));
            board.incident = None;
            board.line(&text);
        });
    }

    /// An incident as it is now; true when it has changed.
    pub fn incident(&mut self, incident: &Incident) -> bool {
        let mut now = format!("{} {}", incident.id, incident.state);
        if let Some(playbook) = &incident.playbook {
            now = format!("{now}, playbook {playbook}");
        }
        let news = self.told.insert(incident.id.clone(), now.clone()).as_ref() != Some(&now);
        self.with(|board| board.incident = Some(now));
        news
    }

    /// What the ledger says of the current fault, whose time by the wall clock was `at`: every
    /// entry once.
    pub fn story(&mut self, entries: &[Entry], at: u64) {
        for entry in entries {
            // The same failure of the same instance opens an old incident again.
            if entry.seq > self.last && entry.at + 5 >= at {
                let since = Duration::from_millis(entry.at.saturating_sub(at));
                self.note(&story::words(entry), since);
                self.last = entry.seq;
            }
        }
    }

    /// Something worth a line.
    pub fn note(&self, text: &str, since: Duration) {
        self.with(|board| board.line(&format!("  {:>8.3} s  {text}", since.as_secs_f64())));
    }

    /// A fault is over.
    pub fn outcome(&self, outcome: &Outcome, requests: &Requests) {
        let verdict = match outcome.healed_ms {
            Some(ms) => format!("healed in {ms} ms"),
            None => "NOT healed".to_owned(),
        };
        let text = format!(
            "  {}; {} requests sent, {} failed",
            self.bold(&verdict),
            requests.sent,
            requests.failed
        );
        self.with(|board| {
            board.trouble = None;
            board.incident = None;
            board.line(&text);
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.painter.take() {
            drop(end);
            let _ = thread.join();
        }
        self.with(|board| board.pin.clear());
    }
}

fn change(before: &Instance, now: &Instance) -> String {
    if before.pid == now.pid {
        return format!("{} is {}", now.id, now.state);
    }
    match (before.pid, now.pid) {
        (old, 0) => format!("{} is {}; its process {old} is gone", now.id, now.state),
        (0, new) => format!("{} is {} as pid {new}", now.id, now.state),
        (old, new) => format!("{} is {} as pid {new}, it was {old}", now.id, now.state),
    }
}
