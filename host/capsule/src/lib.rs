//! Capsules: what is known of one failure, in one file. Their form, their address by content,
//! what of them may leave the machine, how a replay is judged, how they are made smaller. It
//! starts no process, opens no socket and knows no fleet; only `store` and `snapshot` touch files.

mod blob;
mod capsule;
mod format;
mod judge;
mod minimise;
mod recording;
mod redact;
mod snapshot;
mod store;

pub use blob::Blob;
pub use capsule::{
    Answer, Build, Capsule, Coverage, Exit, Form, HostFacts, Kind, Minimised, Outcome, Request,
    Snapshot,
};
pub use format::{FormatError, Id, VERSION, decode, encode, hash};
pub use judge::{Observed, Seen, Verdict, judge, reproduces};
pub use minimise::{Ddmin, Fails, Oracle, Shrunk, ddmin, minimise};
pub use recording::{Recording, Why};
pub use redact::{REDACTED, Redactor, RuleError};
pub use snapshot::{SnapshotError, copy_tree, take};
pub use store::{Entry, Store, StoreError, Unreadable};
