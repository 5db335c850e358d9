//! The engine and what stands before it: pool, permits, epoch ticker and the small runtime that
//! WASI's waits need. Knows no plugin.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use wasmtime::Engine;

use crate::permits::Permits;
use crate::ticker::Ticker;
use crate::tuning::{self, SLOTS};

/// Threads for file access of guests that were granted files. A stuck file system can hold
/// each of them for ever, so they are few and bounded.
const FILE_THREADS: usize = 4;

/// An engine with everything that a call needs beside the plugin.
pub struct Machine {
    /// Compiles and runs.
    pub engine: Engine,
    /// Taken for the length of a call.
    pub permits: Permits,
    /// Runs while a call does.
    pub ticker: Ticker,
    /// Timers, sockets and files of WASI.
    pub runtime: tokio::runtime::Handle,
    owned: Option<tokio::runtime::Runtime>,
    /// Whether instances come from a pool.
    pub pooled: bool,
    /// Components that were compiled, and not loaded from what was compiled before.
    pub compiled: AtomicU64,
    /// Linkers that were filled, each for one plugin that was loaded.
    pub linked: AtomicU64,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime refuses this machine.
    #[error(
        "the WebAssembly engine does not start: {0:#}; is this CPU supported and is address space left (ulimit -v)?"
    )]
    Engine(wasmtime::Error),
    /// No thread.
    #[error(
        "cannot start a thread for plugins: {0}; is the limit of processes reached (ulimit -u)?"
    )]
    Thread(#[from] std::io::Error),
}

impl Machine {
    /// An engine for this machine, pooled where the address space allows it.
    pub fn new() -> Result<Self, EngineError> {
        let (engine, pooled) = match Engine::new(&tuning::pooled()) {
            Ok(engine) => (engine, true),
            Err(problem) => {
                tracing::warn!(
                    problem = format!("{problem:#}"),
                    "no pool of instances on this machine; each call maps its own memory, which is slower"
                );
                (
                    Engine::new(&tuning::cramped()).map_err(EngineError::Engine)?,
                    false,
                )
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(FILE_THREADS)
            .thread_keep_alive(Duration::from_secs(1))
            .thread_name("wasm-wasi")
            .enable_time()
            .enable_io()
            .build()?;
        let ticker = Ticker::start(engine.weak())?;
        Ok(Self {
            engine,
            permits: Permits::new(SLOTS),
            ticker,
            runtime: runtime.handle().clone(),
            owned: Some(runtime),
            pooled,
            compiled: AtomicU64::new(0),
            linked: AtomicU64::new(0),
        })
    }
}

impl Machine {
    /// Component instances that the pool has given out at this moment; none without a pool.
    pub fn pooled_instances(&self) -> Option<u64> {
        let metrics = self.engine.pooling_allocator_metrics()?;
        Some(metrics.component_instances())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Waiting for a thread that is stuck in a dead file system would hold up the host.
        if let Some(runtime) = self.owned.take() {
            runtime.shutdown_background();
        }
    }
}
