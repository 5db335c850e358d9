//! Recordings on their way to the disk, by a thread of its own: a slow or full one holds up
//! nobody. What has no room is counted and gone.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use grace_capsule::Recording;

/// Recordings that wait for the disk: as many as a host full of instances that die together.
const WAITING: usize = 64;
/// Recordings that lie on the disk until somebody makes capsules of them.
const FILES: usize = 128;
/// Their size together.
const BYTES: u64 = 128 << 20;

/// Time between two signs of life.
const BEAT: Duration = Duration::from_millis(500);

/// Takes recordings.
#[derive(Debug)]
pub(crate) struct Disk {
    recordings: SyncSender<Recording>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
    /// Milliseconds since the proxy's start at the last sign of life.
    beat: AtomicU64,
}

impl Disk {
    /// Starts writing into `dir`, which need not exist yet.
    pub(crate) fn start(dir: PathBuf, born: Instant) -> io::Result<Self> {
        let (recordings, waiting) = sync_channel(WAITING);
        let counts = Arc::new(Counts::default());
        let own = Arc::clone(&counts);
        thread::Builder::new()
            .name("recordings".to_owned())
            .spawn(move || write_all(&dir, &waiting, &own, born))?;
        Ok(Self { recordings, counts })
    }

    pub(crate) fn keep(&self, recording: Recording) {
        if self.recordings.try_send(recording).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Recordings that were written.
    pub(crate) fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Milliseconds since the proxy's start when the thread last lived.
    pub(crate) fn beat(&self) -> u64 {
        self.counts.beat.load(Ordering::Relaxed)
    }

    /// Recordings that were not.
    pub(crate) fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

fn write_all(dir: &Path, waiting: &Receiver<Recording>, counts: &Counts, born: Instant) {
    loop {
        let beat = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
        counts.beat.store(beat, Ordering::Relaxed);
        let recording = match waiting.recv_timeout(BEAT) {
            Ok(recording) => recording,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match write(dir, &recording) {
            Ok(()) => counts.written.fetch_add(1, Ordering::Relaxed),
            Err(problem) => {
                let instance = &recording.subject.instance;
                tracing::error!(%instance, problem, "a recording is lost");
                counts.lost.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

fn write(dir: &Path, recording: &Recording) -> Result<(), String> {
    let named = |error: io::Error| format!("{}: {error}", dir.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(named)?;
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).map_err(named)?.flatten() {
        files += 1;
        bytes += entry.metadata().map_or(0, |meta| meta.len());
    }
    if files >= FILES || bytes >= BYTES {
        return Err(format!(
            "{} holds {files} recordings that nobody has made capsules of: is the healer up?",
            dir.display()
        ));
    }
    let text = serde_json::to_vec(recording).map_err(|error| error.to_string())?;
    let subject = &recording.subject;
    let name = format!(
        "{}.{}.{}.json",
        subject.instance, subject.generation, recording.at
    );
    grace_os::file::write_atomic(&dir.join(name), &text, 0o600).map_err(|e| e.to_string())
}
