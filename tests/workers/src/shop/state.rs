//! What this process is like: its settings, what it was told to become, and its order book.

use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Options;
use super::settings::SettingsFile;

/// One process. Whatever it was told to become is gone with it.
pub struct State {
    pub settings: RefCell<SettingsFile>,
    /// Since `/break?errors=1`: every answer but that of a health check is 500.
    pub errors: Cell<bool>,
    /// Since `/break?delay_ms=N`: time before every answer but that of a health check.
    pub delay_ms: Cell<u64>,
    orders: Option<PathBuf>,
    places: Option<Semaphore>,
}

impl State {
    pub fn new(options: &Options) -> Self {
        Self {
            settings: RefCell::new(SettingsFile::new(options.config.clone())),
            errors: Cell::new(false),
            delay_ms: Cell::new(0),
            orders: options.orders.clone(),
            places: options.places.map(|count| Semaphore::new(count.into())),
        }
    }

    /// Waits for a place, first come, first served; none where there is no need of any.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.as_ref()?.acquire().await.ok()
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
