//! Bytes to and from one endpoint on one thread, both ways. It knows no socket; probes are not
//! counted, since no client asked for them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by one thread; atomic because hyper wants sockets that may change threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    written: AtomicU64,
    read: AtomicU64,
}

impl Tally {
    /// So many bytes went to it.
    pub(crate) fn wrote(&self, count: usize) {
        bump(&self.written, count);
    }

    /// So many bytes came from it.
    pub(crate) fn read(&self, count: usize) {
        bump(&self.read, count);
    }

    /// Bytes written and read since the last time. Only its thread may call this.
    pub(crate) fn take(&self) -> (u64, u64) {
        let take = |cell: &AtomicU64| cell.swap(0, Ordering::Relaxed);
        (take(&self.written), take(&self.read))
    }
}

/// Without a locked instruction: nobody else writes.
fn bump(cell: &AtomicU64, count: usize) {
    let more = u64::try_from(count).unwrap_or(u64::MAX);
    let sum = cell.load(Ordering::Relaxed).wrapping_add(more);
    cell.store(sum, Ordering::Relaxed);
}
