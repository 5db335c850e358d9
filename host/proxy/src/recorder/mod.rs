//! The recorder: per service and thread a bounded ring of the latest requests and answers, with
//! more of rare routes than of busy ones, handed over when an instance fails. A thread writes its
//! own rings only, so nothing is locked; whatever has no room is counted and left out. It decides
//! nothing about requests and waits for nobody.

mod disk;
mod gather;
mod head;
mod ring;
mod take;

pub(crate) use disk::Disk;
pub(crate) use gather::{Order, Part, Recordings};
pub(crate) use take::{Asked, Taken, Tape};
