//! HTTP + JSON on a Unix socket: what a person, the command line and `curl --unix-socket` may ask
//! of a host. It shows and starts; it decides nothing and must not know where views come from.

mod artifacts;
pub mod client;
mod govern;
mod listener;
mod metrics;
mod problem;
mod route;
mod serve;
mod watch;

pub use problem::Problem;
pub use serve::{ServeError, serve, serve_metrics};
