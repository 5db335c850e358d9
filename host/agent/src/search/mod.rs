//! The search: candidates in order of their likelihood, run in parallel copies, decided in that
//! order, so that which run ends first changes nothing. Singles first, then pairs.

mod hunt;
mod lab;
mod list;
mod pairs;

pub use hunt::{Found, Hunt};
pub use lab::{Lab, LabError, Task};
pub use list::{LEAST, order, ranked};
pub use pairs::pairs;
