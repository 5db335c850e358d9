//! grace
fn main() {}
