//! The coding agent's repair search: from a directory and a command that fails to a small change
//! that makes it pass, without a model. It knows no host, no incident and no queue; it runs the
//! command only inside the sandbox and writes to the directory only when told to apply.

mod candidate;
mod court;
mod diff;
mod facts;
mod failure;
mod fix;
mod lang;
mod locate;
mod operators;
mod project;
mod report;
mod search;
mod syntax;
mod workspace;

pub use fix::{Refusal, Request, Stop, fix};
pub use report::{Court, HeldOut, Neighbours, Report, Verdict};
