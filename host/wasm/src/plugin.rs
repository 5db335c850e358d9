//! A loaded plugin and its calls: a fresh instance each, within fuel, memory, time and quota.
//! Knows no file, and does not decide what follows from a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::manifest::{Limits, World};
use grace_model::plugin::{ActionCall, ActionInfo, Batch, Observed, PluginError, Receipt};
use grace_model::port::{CallFailure, HostPort};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::action::ActionPre;
use crate::bindings::detector::DetectorPre;
use crate::call::log::LogQuota;
use crate::convert::{action, detector, types};
use crate::drive;
use crate::engine::Machine;
use crate::failure::{self, Stop};
use crate::grant::Capability;
use crate::limits::Meter;
use crate::state::{CallState, HostLink, Phase};
use crate::wasi::{Wasi, WasiGrants};

/// Fuel between two looks of the caller's thread at the clock: about a millisecond.
const SLICE: u64 = 1_000_000;

/// Where the system does not tell how long a thread had a processor: who used less than this
/// share of its fuel by its deadline did not run, or waited.
const IDLE_SHARE: u64 = 20;

/// Time for the first call of a plugin, whatever its own limit: it must not be refused because
/// the machine was busy when it came.
const TRIAL: Duration = Duration::from_secs(2);

/// The linked form of a component.
pub enum Code {
    /// World `detector`.
    Detector(DetectorPre<CallState>),
    /// World `action`.
    Action(ActionPre<CallState>),
}

/// A plugin that can be called.
pub struct Plugin {
    /// As its file is named.
    pub name: Arc<str>,
    /// `builtin`, or the component's path.
    pub origin: String,
    /// Whether it came inside the program.
    pub shipped: bool,
    /// BLAKE3 of the component.
    pub hash: String,
    /// BLAKE3 of the manifest.
    pub manifest_hash: String,
    /// Its world.
    pub world: World,
    /// What it asks.
    pub wants: Vec<Capability>,
    /// What it holds.
    pub granted: Vec<Capability>,
    /// What is enforced.
    pub limits: Limits,
    /// Its settings.
    pub config: Arc<BTreeMap<String, String>>,
    /// The settings that its manifest declares.
    pub declared: BTreeSet<String>,
    /// What `describe` answered; empty for a detector.
    pub actions: Vec<ActionInfo>,
    /// Whether it is being called for the first time.
    pub(crate) trial: bool,
    pub(crate) wasi: WasiGrants,
    pub(crate) code: Code,
    pub(crate) machine: Arc<Machine>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Called<T> {
    /// The answer, the plugin's error or the host's verdict.
    pub result: Result<T, CallFailure>,
    /// Fuel spent. The same for the same input.
    pub fuel: u64,
    /// Whether a failure is held against the plugin.
    pub strike: bool,
    /// Lines that were logged, and lines that were cut.
    pub lines: (u32, u32),
}

/// What a call may do and how long.
struct Frame {
    port: Option<Box<dyn HostPort>>,
    phase: Phase,
    /// Whether directories that were granted for writing can be written.
    writable: bool,
    wall: Duration,
    /// The wall clock as WASI shows it.
    now: Duration,
}

impl Plugin {
    /// One call of a detector.
    pub fn observe(&self, state: &[u8], batch: &Batch) -> Called<Observed> {
        let Code::Detector(code) = &self.code else {
            return self.of_other_world("detector");
        };
        self.call(self.pure(batch.now, true), async |store| {
            let instance = code.instantiate_async(&mut *store).await?;
            let (state, batch) = (state.to_vec(), detector::batch_out(batch));
            let answer = instance
                .grace_plugin_detect()
                .call_observe(&mut *store, &state, &batch)
                .await?;
            Ok(match answer {
                Ok(observed) => Ok(detector::observed_in(observed)?),
                Err(error) => Err(types::error_in(error)),
            })
        })
    }

    /// What every call costs before its guest runs: a store and an instance, made and dropped.
    pub fn instantiate(&self) -> Called<()> {
        self.call(self.pure(0, false), async |store| {
            match &self.code {
                Code::Detector(code) => code.instantiate_async(store).await.map(|_| ())?,
                Code::Action(code) => code.instantiate_async(store).await.map(|_| ())?,
            }
            Ok(Ok(()))
        })
    }

    /// What the actions of this pack say of themselves.
    pub fn describe(&self) -> Called<Vec<ActionInfo>> {
        let Code::Action(code) = &self.code else {
            return self.of_other_world("action");
        };
        self.call(self.pure(0, false), async |store| {
            let instance = code.instantiate_async(&mut *store).await?;
            let infos = instance
                .grace_plugin_act()
                .call_describe(&mut *store)
                .await?;
            Ok(Ok(infos.into_iter().map(action::info_in).collect()))
        })
    }

    /// What an action would do.
    pub fn plan(&self, call: &ActionCall, port: Box<dyn HostPort>) -> Called<Vec<String>> {
        let Code::Action(code) = &self.code else {
            return self.of_other_world("action");
        };
        self.call(self.frame(port, Phase::Plan, None), async |store| {
            let instance = code.instantiate_async(&mut *store).await?;
            let call = action::call_out(call);
            let answer = instance
                .grace_plugin_act()
                .call_plan(&mut *store, &call)
                .await?;
            Ok(answer.map_err(types::error_in))
        })
    }

    /// Runs an action.
    pub fn run(
        &self,
        call: &ActionCall,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Called<Receipt> {
        let Code::Action(code) = &self.code else {
            return self.of_other_world("action");
        };
        self.call(self.frame(port, Phase::Run, Some(timeout)), async |store| {
            let instance = code.instantiate_async(&mut *store).await?;
            let call = action::call_out(call);
            let answer = instance
                .grace_plugin_act()
                .call_run(&mut *store, &call)
                .await?;
            Ok(match answer {
                Ok(receipt) => Ok(action::receipt_in(receipt)?),
                Err(error) => Err(types::error_in(error)),
            })
        })
    }

    /// Takes back what a receipt says.
    pub fn undo(
        &self,
        name: &str,
        receipt: &Receipt,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Called<()> {
        let Code::Action(code) = &self.code else {
            return self.of_other_world("action");
        };
        self.call(self.frame(port, Phase::Run, Some(timeout)), async |store| {
            let instance = code.instantiate_async(&mut *store).await?;
            let receipt = action::receipt_out(receipt);
            let answer = instance
                .grace_plugin_act()
                .call_undo(&mut *store, name, &receipt)
                .await?;
            Ok(answer.map_err(types::error_in))
        })
    }

    fn pure(&self, now_ms: u64, writable: bool) -> Frame {
        let own = Duration::from_millis(self.limits.wall_ms);
        Frame {
            port: None,
            phase: Phase::Pure,
            writable,
            wall: if self.trial { TRIAL } else { own },
            now: Duration::from_millis(now_ms),
        }
    }

    fn frame(&self, port: Box<dyn HostPort>, phase: Phase, timeout: Option<Duration>) -> Frame {
        let most = Duration::from_millis(self.limits.wall_ms);
        let wall = timeout.map_or(most, |timeout| timeout.min(most));
        Frame {
            port: Some(port),
            phase,
            writable: phase == Phase::Run,
            wall,
            now: Duration::ZERO,
        }
    }

    fn of_other_world<T>(&self, world: &str) -> Called<T> {
        not_called(format!("{} is no {world}", self.name))
    }

    /// The one way into a guest: takes a permit, makes a store, runs `body` in it within the
    /// limits and judges how it ended.
    fn call<T>(
        &self,
        frame: Frame,
        body: impl AsyncFnOnce(&mut Store<CallState>) -> wasmtime::Result<Result<T, PluginError>>,
    ) -> Called<T> {
        let Frame {
            port,
            phase,
            writable,
            wall,
            now,
        } = frame;
        let machine = &*self.machine;
        let Some(_permit) = machine.permits.acquire(Instant::now() + wall) else {
            return not_called("every place for calls is taken; try again later".to_owned());
        };
        let _runtime = machine.runtime.enter();
        let wasi = match Wasi::granted(&self.wasi, now, writable) {
            Ok(wasi) => wasi,
            Err(why) => return not_called(why),
        };
        let deadline = Instant::now() + wall;
        let most = self.limits.host_calls;
        let state = CallState {
            plugin: Arc::clone(&self.name),
            config: Arc::clone(&self.config),
            meter: Meter::new(self.limits.memory_bytes),
            wasi,
            log: LogQuota::default(),
            host: match port {
                Some(port) => HostLink::open(port, phase, most, deadline),
                None => HostLink::closed(most, deadline),
            },
        };
        let mut store = Store::new(&machine.engine, state);
        if let Err(error) = self.arm(&mut store, deadline) {
            return not_called(format!("the engine refuses its limits: {error:#}"));
        }
        // Most calls end before they have used a slice of fuel, and then nothing is woken.
        let driven = drive::until(deadline, body(&mut store), || machine.ticker.run());
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        let result = match driven.value {
            None => Err(CallFailure::Deadline(wall_ms)),
            Some(Ok(answer)) => answer.map_err(CallFailure::Plugin),
            Some(Err(error)) => {
                let state = store.data();
                Err(self.with_last_words(
                    failure::verdict(&error, &self.limits, wall_ms, state.meter.refused),
                    state,
                ))
            }
        };
        let fuel = self
            .limits
            .fuel
            .saturating_sub(store.get_fuel().unwrap_or(0));
        let state = store.data();
        state.log.close(&self.name);
        let strike = match &result {
            // A deadline is held against the plugin only if the plugin used the time: not if
            // the caller gave less than the plugin's own, not if the rest of Grace took it, and
            // not if the machine was so busy that the guest hardly ran.
            Err(CallFailure::Deadline(_)) => {
                let half = wall / 2;
                let ran = driven
                    .ran
                    .map_or_else(|| fuel >= self.limits.fuel / IDLE_SHARE, |ran| ran >= half);
                wall_ms >= self.limits.wall_ms
                    && state.host.spent < half
                    && (driven.waited >= half || ran)
            }
            Err(failure) => failure.is_strike(),
            Ok(_) => false,
        };
        Called {
            result,
            fuel,
            strike,
            lines: state.log.counts(),
        }
    }

    fn arm(&self, store: &mut Store<CallState>, deadline: Instant) -> wasmtime::Result<()> {
        store.limiter(|state| &mut state.meter);
        store.set_fuel(self.limits.fuel)?;
        store.fuel_async_yield_interval(Some(SLICE))?;
        store.set_hostcall_fuel(usize::try_from(self.limits.output_bytes).unwrap_or(usize::MAX));
        store.set_max_component_handles(256);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline {
                return Err(Stop::Deadline.into());
            }
            Ok(UpdateDeadline::Continue(1))
        });
        Ok(())
    }

    fn with_last_words(&self, failure: CallFailure, state: &CallState) -> CallFailure {
        let words = state.wasi.last_words();
        match failure {
            CallFailure::Trap(why) if !words.is_empty() => {
                CallFailure::Trap(format!("{}: {why}", words.replace('\n', " ")))
            }
            other => other,
        }
    }
}

fn not_called<T>(why: String) -> Called<T> {
    Called {
        result: Err(CallFailure::NotCallable(why)),
        fuel: 0,
        strike: false,
        lines: (0, 0),
    }
}
