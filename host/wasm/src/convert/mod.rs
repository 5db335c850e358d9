//! Between the worlds' generated types and the model's. One file a world, one for what they
//! share. No decisions here, only shapes and their limits.

pub mod action;
pub mod detector;
pub mod host;
pub mod types;
