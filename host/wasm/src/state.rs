//! What a store holds for the length of one call. Each part belongs to one file of `call` or
//! to `wasi`; this one only puts them together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::plugin::PluginError;
use grace_model::port::{HostAnswer, HostCall, HostPort};

use crate::call::log::LogQuota;
use crate::failure::Stop;
use crate::limits::Meter;
use crate::wasi::Wasi;

/// The most that is kept back of a host call's budget, so that the plugin can still answer when
/// the host call used all of it.
const KEPT_BACK: Duration = Duration::from_millis(100);

/// What a call may do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, and ask nothing: a detector's call or an action's `describe`.
    Pure,
    /// Ask, but change nothing: an action's `plan`.
    Plan,
    /// What was granted: `run` and `undo`.
    Run,
}

/// The data of one store.
pub struct CallState {
    /// The plugin's name, for its lines in the log.
    pub plugin: Arc<str>,
    /// Its settings.
    pub config: Arc<BTreeMap<String, String>>,
    /// Memory and tables.
    pub meter: Meter,
    /// WASI's stand-ins and grants.
    pub wasi: Wasi,
    /// Lines left.
    pub log: LogQuota,
    /// The way to the rest of Grace.
    pub host: HostLink,
}

/// The way from a call to the rest of Grace, with its quota and its clock.
pub struct HostLink {
    port: Option<Box<dyn HostPort>>,
    phase: Phase,
    made: u32,
    most: u32,
    deadline: Instant,
    /// Time that passed inside host calls; it is not the plugin's fault.
    pub spent: Duration,
}

impl HostLink {
    /// A link without a port: for pure calls.
    pub fn closed(most: u32, deadline: Instant) -> Self {
        Self {
            port: None,
            phase: Phase::Pure,
            made: 0,
            most,
            deadline,
            spent: Duration::ZERO,
        }
    }

    /// A link through `port`.
    pub fn open(port: Box<dyn HostPort>, phase: Phase, most: u32, deadline: Instant) -> Self {
        Self {
            port: Some(port),
            phase,
            ..Self::closed(most, deadline)
        }
    }

    /// When the call ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Counts one host call.
    pub fn count(&mut self) -> Result<(), Stop> {
        self.made += 1;
        if self.made > self.most {
            return Err(Stop::Quota(format!("more than {} host calls", self.most)));
        }
        Ok(())
    }

    /// Makes a host call: counted, within the phase, within what is left of the time.
    pub fn ask(&mut self, call: HostCall) -> Result<Result<HostAnswer, PluginError>, Stop> {
        self.count()?;
        let Some(port) = self.port.as_mut().filter(|_| self.phase != Phase::Pure) else {
            return Ok(Err(PluginError::Denied(
                "describe is pure: it cannot call the host; do it in plan, run or undo".to_owned(),
            )));
        };
        if self.phase == Phase::Plan && changes_something(&call) {
            return Ok(Err(PluginError::Denied(
                "plan may look and must change nothing; do it in run".to_owned(),
            )));
        }
        let begun = Instant::now();
        let left = self.deadline.saturating_duration_since(begun);
        if left.is_zero() {
            return Err(Stop::Deadline);
        }
        let answer = port.call(call, left - KEPT_BACK.min(left / 10));
        self.spent += begun.elapsed();
        Ok(answer)
    }
}

/// Whether a call has an effect that someone may notice.
fn changes_something(call: &HostCall) -> bool {
    match call {
        HostCall::Restart { .. }
        | HostCall::Pause { .. }
        | HostCall::Resume { .. }
        | HostCall::Scale { .. }
        | HostCall::Drain { .. }
        | HostCall::Quarantine { .. }
        | HostCall::Release { .. }
        | HostCall::ConfigSnapshot { .. }
        | HostCall::ConfigRestore { .. }
        | HostCall::ConfigPutBack { .. }
        | HostCall::Notify { .. } => true,
        HostCall::Now
        | HostCall::Sleep { .. }
        | HostCall::GetInstance { .. }
        | HostCall::ListInstances { .. }
        | HostCall::ConfigFiles { .. }
        | HostCall::ConfigRead { .. }
        | HostCall::ProbeHttp { .. }
        | HostCall::ProbeDeclared { .. }
        | HostCall::Traffic { .. } => false,
    }
}
