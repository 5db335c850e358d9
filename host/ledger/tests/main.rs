//! The ledger from outside: real files, real processes, real damage.

#![allow(missing_docs)]

mod contents;
mod crash;
mod damage;
mod disk;
mod sample;
