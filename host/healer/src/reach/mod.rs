//! What the healer can reach: the supervisor, instances, files, people. Blocking, each call with
//! a budget; what it is for, the callers know.

pub mod blobs;
pub mod herald;
pub mod http;
pub mod mail;
pub mod notify;
pub mod proxy;
pub mod supervisor;
pub mod webhook;
