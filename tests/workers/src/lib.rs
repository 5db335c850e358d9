//! Real programs for the demo, the end-to-end tests and the benchmarks: a worker that can be
//! told to fail in every way Grace heals, and a load that counts what clients would see. They
//! know nothing of Grace beyond what any worker may: environment, inherited socket, notify
//! socket.

mod args;
pub mod load;
pub mod shop;
