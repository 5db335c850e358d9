//! The data plane: balances HTTP/1.1 over a service's instances, tries again what may be tried
//! again, takes dead, stopped and failing instances out of rotation, probes them all, and records what
//! they are asked. It
//! goes by the supervisor's last table and never waits for the supervisor; it starts and kills
//! no process, and knows nothing of incidents.

mod address;
mod answer;
mod body;
mod budget;
mod certs;
mod class;
mod client;
mod control;
mod detour;
mod door;
mod eject;
mod endpoint;
mod fate;
mod flow;
mod forward;
mod forwarded;
mod framing;
mod greeting;
mod head;
mod hub;
mod lane;
mod limit;
mod line;
mod link;
mod meter;
mod overload;
mod pick;
mod probe;
mod queue;
mod ramp;
mod record;
mod recorder;
mod rotation;
mod routes;
mod run;
mod second;
mod socket;
mod speech;
mod stats;
mod table;
mod tally;
mod tcp;
mod thread;
mod trace;
mod validity;
mod wait;
mod watched;
mod wheel;
mod windows;
mod wire;

pub use run::{End, Listener, ProxyError, main, serve};
