//! Tests of the whole language.

mod catalogue;
mod choosing;
mod faults;
mod language;
mod random;
mod shipped;
