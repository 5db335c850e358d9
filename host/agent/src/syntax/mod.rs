//! Text that cannot be read: source code and configuration. Small edits near the place of the
//! error, kept when less of the text is unreadable than before, until all of it is readable.

mod config;
mod edits;
mod import;
mod source;
mod suggestion;
mod value;

pub use config::broken;
pub use import::imports;
pub use source::{source, unreadable};
pub use suggestion::suggestions;
pub use value::values;
