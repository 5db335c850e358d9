//! What this process is like: its settings, what it was told to become, and its order book.

use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Options;
use super::settings::SettingsFile;

/// The most that `/bytes` answers with.
const MOST_BYTES: usize = 16 << 20;

/// One process. Whatever it was told to become is gone with it.
pub struct State {
    pub settings: RefCell<SettingsFile>,
    /// Since `/break?errors=1`: every answer but that of a health check is 500.
    pub errors: Cell<bool>,
    /// Since `/break?delay_ms=N`: time before every answer but that of a health check.
    pub delay_ms: Cell<u64>,
    /// Since `/break?hold_mib=N`: memory that is used for nothing.
    held: RefCell<Vec<u8>>,
    /// What `/bytes` was answered with last: the same again costs nothing.
    filler: RefCell<Bytes>,
    orders: Option<PathBuf>,
    places: Option<Semaphore>,
}

impl State {
    pub fn new(options: &Options) -> Self {
        Self {
            settings: RefCell::new(SettingsFile::new(options.config.clone())),
            errors: Cell::new(false),
            delay_ms: Cell::new(0),
            held: RefCell::default(),
            filler: RefCell::default(),
            orders: options.orders.clone(),
            places: options.places.map(|count| Semaphore::new(count.into())),
        }
    }

    /// Waits for a place, first come, first served; none where there is no need of any.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.as_ref()?.acquire().await.ok()
    }

    /// Holds that much memory, all of it written to.
    pub fn hold(&self, mib: u64) {
        let bytes = usize::try_from(mib << 20).unwrap_or(0);
        *self.held.borrow_mut() = vec![1; bytes];
    }

    /// That many bytes, at most [`MOST_BYTES`].
    pub fn filler(&self, count: usize) -> Bytes {
        let count = count.min(MOST_BYTES);
        let mut filler = self.filler.borrow_mut();
        if filler.len() != count {
            *filler = Bytes::from(vec![b'x'; count]);
        }
        filler.clone()
    }

    /// Writes down that something was begun which nobody wants twice.
    pub fn order(&self, what: &str) -> std::io::Result<()> {
        let Some(path) = &self.orders else {
            return Ok(());
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{what}")
    }
}
