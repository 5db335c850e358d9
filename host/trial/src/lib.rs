//! Copies of instances in sandboxes, in which what was recorded is sent again. A copy lives inside
//! namespaces of its own with everything that it writes, so that nothing of it outlives its first
//! process, however that ends. It never reaches the network, the fleet or the original's data.

mod copy;
mod inside;
mod job;
mod replay;

pub use copy::{Copier, TrialError};
pub use inside::main as inside;
pub use job::Job;
pub use replay::{Copies, replay};
