//! The thread that notices changes: file events, gathered until they pause, and a scan now and
//! then for what events miss. It loads by asking the registry to scan and knows no plugin.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::registry::Shared;

/// Files that are being copied change again within this time.
const QUIET: Duration = Duration::from_millis(200);
/// However long they go on changing, this is when we look.
const IMPATIENT: Duration = Duration::from_secs(2);

enum Signal {
    Changed,
    Stop,
}

/// The watching thread, which ends when this is dropped.
pub struct Watch {
    signal: SyncSender<Signal>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts watching `dir` for `shared`, with a look at once when `left` says that something
    /// was left for it.
    pub fn start(
        shared: Arc<Shared>,
        dir: Option<PathBuf>,
        rescan: Duration,
        left: bool,
    ) -> std::io::Result<Self> {
        // Two places: a change that waits says all there is to say, and a stop finds room soon.
        let (signal, signals) = sync_channel(2);
        let events = signal.clone();
        let thread = std::thread::Builder::new()
            .name("plugin-loader".to_owned())
            .spawn(move || {
                if left {
                    shared.scan();
                }
                run(&shared, dir.as_deref(), rescan, &signals, &events);
            })?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The receiver drains while it lives; if it is gone, there is nothing to stop.
        let _ = self.signal.send(Signal::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    shared: &Shared,
    dir: Option<&Path>,
    rescan: Duration,
    signals: &Receiver<Signal>,
    events: &SyncSender<Signal>,
) {
    let mut watched: Option<Watched> = None;
    loop {
        watch_again(&mut watched, dir, events);
        match signals.recv_timeout(rescan) {
            Ok(Signal::Changed) => {
                if settle(signals).is_break() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        shared.scan();
    }
}

/// Waits until nothing changes any more.
fn settle(signals: &Receiver<Signal>) -> std::ops::ControlFlow<()> {
    let limit = Instant::now() + IMPATIENT;
    while Instant::now() < limit {
        match signals.recv_timeout(QUIET) {
            Ok(Signal::Changed) => {}
            Err(RecvTimeoutError::Timeout) => break,
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => {
                return std::ops::ControlFlow::Break(());
            }
        }
    }
    std::ops::ControlFlow::Continue(())
}

/// A watcher and the inode of the directory it watches.
struct Watched {
    inode: u64,
    _watcher: RecommendedWatcher,
}

/// Watches `dir` if it is there and is not watched. A new directory of the same name is
/// another one.
fn watch_again(watched: &mut Option<Watched>, dir: Option<&Path>, events: &SyncSender<Signal>) {
    let Some(dir) = dir else { return };
    let Ok(inode) = std::fs::metadata(dir).map(|about| about.ino()) else {
        *watched = None;
        return;
    };
    if watched
        .as_ref()
        .is_some_and(|watched| watched.inode == inode)
    {
        return;
    }
    let events = events.clone();
    let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let matters = event.as_ref().map_or(true, |event| match event.kind {
            // Our own reading is no change.
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        });
        if matters {
            match events.try_send(Signal::Changed) {
                // Full: a change is waiting to be seen already.
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
    })
    .and_then(|mut made| made.watch(dir, RecursiveMode::NonRecursive).map(|()| made));
    match made {
        Ok(made) => {
            *watched = Some(Watched {
                inode,
                _watcher: made,
            })
        }
        Err(error) => {
            tracing::debug!(dir = %dir.display(), "no file events ({error}); scanned instead");
        }
    }
}
