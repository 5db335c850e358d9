//! The operating system, safely: the only crate that names system calls. Every call that can
//! fail says in its error which call it was and on what. It decides nothing: budgets, fencing
//! and routing are other rooms' business, and it never waits for another process unless told
//! for how long.

pub mod cgroup;
pub mod clock;
pub mod confine;
pub mod dir;
pub mod error;
pub mod fifo;
pub mod file;
pub mod holder;
pub mod inherit;
pub mod leftovers;
pub mod limit;
pub mod listen;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod pass;
pub mod pidfd;
pub mod poll;
pub mod port;
pub mod process;
pub mod resources;
pub mod signal;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod umask;
pub mod user;
pub mod wait;

pub use error::{OsError, Result};
pub use signal::Signal;
pub use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
