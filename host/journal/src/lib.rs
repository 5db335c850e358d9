//! Events on disk: one writer, any number of readers in any process, no locks between them.
//! Frames with checksums in append-only segments, bounded in size. What had to be dropped is
//! seen by a reader as a gap, never as silence. It knows no database and gives events no
//! meaning beyond what [`Operations`] remembers.

mod error;
mod frame;
mod operations;
mod reader;
mod segment;
mod writer;

pub use error::JournalError;
pub use frame::LONGEST_PAYLOAD;
pub use operations::{Operations, REMEMBERED, Remembered};
pub use reader::{Entry, GapReason, Reader};
pub use segment::Cursor;
pub use writer::{Limits, Writer};
