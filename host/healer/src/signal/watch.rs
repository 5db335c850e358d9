//! The kernel `resources`: looks at what everything uses, in rounds of bounded cost, on a thread
//! of its own, so that neither detectors nor the supervisor ever wait for a slow `/proc`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use grace_model::layout::Layout;
use grace_model::usage::ProcessUsage;

use super::measured::Found;
use super::resources::{Meter, Round};
use crate::heal::Reach;
use crate::kernel::Pulse;
use crate::reach::proxy::Proxy;

/// Between two rounds, in looks at declared files: resources cost more and change slower.
pub const EVERY: u64 = 4;

/// The kernel's body.
pub fn live(pulse: &Pulse, reach: &Arc<Reach>, layout: &Layout, sample_ms: u64) {
    let every = Duration::from_millis(sample_ms.saturating_mul(EVERY).max(1));
    let mut meter = Meter::default();
    let mut proxy = Proxy::at(layout.proxy_socket());
    while !pulse.stopping() {
        let begun_ms = reach.clock.steady_ms();
        let found = look(reach, layout, &mut meter, &mut proxy);
        pulse.worked(found.instances.len() as u64);
        let mut gauges = reach.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.put(found);
        drop(gauges);
        pulse.rest(every.saturating_sub(since(reach, begun_ms)));
    }
}

fn look(reach: &Reach, layout: &Layout, meter: &mut Meter, proxy: &mut Proxy) -> Found {
    let report = proxy.report();
    let instances = reach.instances();
    let processes = reach.fleet().map_or_else(Vec::new, |fleet| fleet.processes);
    let (at, steady_ms) = (reach.clock.wall_ms(), reach.clock.steady_ms());
    let round = Round {
        at,
        steady_ms,
        taken: &|| since(reach, steady_ms),
    };
    Found {
        at,
        host: meter.machine(layout.root()),
        processes: processes
            .into_iter()
            .filter(|one| one.pid != 0)
            .filter_map(|one| {
                let used = grace_sandbox::of_process(one.pid)?;
                Some(ProcessUsage {
                    name: one.name,
                    pid: one.pid,
                    cpu_us: used.cpu_us,
                    rss_bytes: used.rss_bytes,
                    threads: used.threads,
                    open_files: used.open_files,
                })
            })
            .collect(),
        running: instances
            .iter()
            .filter(|view| view.pid != 0)
            .map(|view| (view.id.clone(), view.generation))
            .collect(),
        instances: meter.instances(&instances, &round),
        proxy: report,
    }
}

fn since(reach: &Reach, begun_ms: u64) -> Duration {
    Duration::from_millis(reach.clock.steady_ms().saturating_sub(begun_ms))
}
