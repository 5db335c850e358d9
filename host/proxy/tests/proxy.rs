//! The proxy from outside: real listeners, real worker processes, a supervisor that is played.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so and end"
)]

#[path = "proxy/client.rs"]
mod client;
#[path = "proxy/stage.rs"]
mod stage;
#[path = "proxy/supervisor.rs"]
mod supervisor;
#[path = "proxy/worker.rs"]
mod worker;

#[path = "proxy/clients.rs"]
mod clients;
#[path = "proxy/counts.rs"]
mod counts;
#[path = "proxy/deaths.rs"]
mod deaths;
#[path = "proxy/drains.rs"]
mod drains;
#[path = "proxy/grpc.rs"]
mod grpc;
#[path = "proxy/journals.rs"]
mod journals;
#[path = "proxy/limits.rs"]
mod limits;
#[path = "proxy/overload.rs"]
mod overload;
#[path = "proxy/passing.rs"]
mod passing;
#[path = "proxy/peers.rs"]
mod peers;
#[path = "proxy/process.rs"]
mod process;
#[path = "proxy/queues.rs"]
mod queues;
#[path = "proxy/rotation.rs"]
mod rotation;
#[path = "proxy/slowness.rs"]
mod slowness;
#[path = "proxy/tcp.rs"]
mod tcp;
#[path = "proxy/tls.rs"]
mod tls;
#[path = "proxy/tunnels.rs"]
mod tunnels;
#[path = "proxy/two.rs"]
mod two;
