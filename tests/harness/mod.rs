//! What end-to-end tests stand on: a host in a directory of its own, its command line, its
//! clients, and waiting with an end.

mod fixture;
mod host;
mod http;
mod process;
mod pty;
mod room;
mod stream;
mod wait;

pub use fixture::fixture;
pub use grace_needs::{as_root, tool};
pub use host::{Host, Run, grace, worker};
pub use http::{Traffic, get, send};
pub use process::{alive, pids_with_marker, signal, stopped};
pub use pty::Pty;
pub use room::{Alone, Place, alone};
pub use stream::Program;
pub use wait::{PATIENCE, eventually, eventually_some};
