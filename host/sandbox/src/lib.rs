//! Isolation as a policy over `os`: what this machine gives, what is put on a process, what was
//! really done, and cleaning up. It starts no process but its own trials and knows no fleet.

mod apply;
mod copy;
mod errand;
mod home;
mod machine;
mod usage;

pub use apply::{Prepared, Refused, Target, prepare};
pub use copy::{Shell, filters, shell};
pub use errand::{Confined, Errand};
pub use home::Home;
pub use machine::{Machine, Primitive};
pub use usage::{OneProcess, Usages, of_process};
