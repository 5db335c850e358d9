//! Tests of the whole language.

mod catalogue;
mod choosing;
mod fault_table;
mod faults;
mod language;
mod random;
mod shipped;
