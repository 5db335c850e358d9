//! What is done, and how it is undone, fault by fault. Each deed reaches its target and nothing
//! else: a process by its identity, a declared file, a control group, a relay in Grace's own path.

pub(crate) mod file;
pub(crate) mod flood;
pub mod load;
pub(crate) mod relay;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use grace_os::Signal;

use crate::catalogue::Deed;
use crate::owner::Order;
use crate::record::{self, Undo};

/// What lasts while this lives: threads and processes. Dropping it ends them.
pub(crate) trait Lasting {
    /// How many connections or requests it has met; none where nobody can count them. A fault
    /// that met none was none.
    fn met(&self) -> Option<u64> {
        None
    }
}

/// What lasts, if something does.
pub(crate) type Held = Option<Box<dyn Lasting>>;

/// How it is undone, as far as that is known before it begins.
pub(crate) fn plan(deed: &Deed, order: &Order, copy: &Path) -> Result<Vec<Undo>> {
    Ok(match deed {
        Deed::Signal(Signal::Stop) | Deed::Part(_, Signal::Stop) => {
            vec![Undo::Continue {
                process: order.process.clone(),
            }]
        }
        Deed::File(harm) => vec![file::plan(*harm, order, copy)?],
        Deed::Relay(_) => vec![relay::plan(order)],
        Deed::Signal(_) | Deed::Part(..) | Deed::Load(_) | Deed::Flood(_) => Vec::new(),
    })
}

/// Does it. What more is to be undone is told before it is done.
pub(crate) fn induce(
    deed: &Deed,
    order: &Order,
    undo: &mut dyn FnMut(Undo) -> Result<()>,
) -> Result<Held> {
    match deed {
        Deed::Signal(signal) | Deed::Part(_, signal) => {
            record::signal(&order.process, *signal)?;
            if matches!(signal, Signal::Segmentation | Signal::Bus) {
                // A program with a handler for its own mistakes takes the first for none and puts
                // the handler away; the next one is deadly.
                std::thread::sleep(Duration::from_millis(50));
                record::signal(&order.process, *signal)?;
            }
            Ok(None)
        }
        Deed::File(harm) => file::induce(*harm, order).map(|()| None),
        Deed::Load(load) => load::start(*load, order, undo),
        Deed::Relay(toxic) => relay::start(*toxic, order),
        Deed::Flood(flood) => flood::start(*flood, order),
    }
}
