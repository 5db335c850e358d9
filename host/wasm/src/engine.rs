//! The engine and what stands before it: pool, permits, epoch ticker and the small runtime that
//! WASI's waits need. Knows no plugin.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::permits::Permits;
use crate::ticker::Ticker;

/// Calls that may run at once. Few: each may hold a memory of 32 MiB, and a host makes a
/// handful of calls at a time.
const SLOTS: u32 = 16;

/// Bytes of a slot that stay resident between calls, so that a reset needs no system call.
const KEEP_RESIDENT: usize = 64 << 10;

/// No world allows more memory than this.
const MAX_MEMORY: usize = 32 << 20;

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
        let (engine, pooled) = match Engine::new(&pooled()) {
            Ok(engine) => (engine, true),
            Err(problem) => {
                tracing::warn!(
                    problem = format!("{problem:#}"),
                    "no pool of instances on this machine; each call maps its own memory, which is slower"
                );
                (Engine::new(&cramped()).map_err(EngineError::Engine)?, false)
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
        })
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

/// What compiled code depends on. What is compiled under these settings runs under them only.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .generate_address_map(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .memory_init_cow(true);
    config
}

fn pooled() -> Config {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    config
}

/// For a machine that does not give the address space of a pool: each memory takes what it may
/// hold and no more. Such code checks its bounds itself, so it is compiled anew.
fn cramped() -> Config {
    let mut config = config();
    config
        .memory_reservation(MAX_MEMORY as u64)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_core_instances(SLOTS * 16)
        .total_memories(SLOTS * 2)
        .total_tables(SLOTS * 4)
        .total_stacks(SLOTS)
        .max_core_instances_per_component(16)
        .max_memories_per_component(2)
        .max_tables_per_component(8)
        .max_memory_size(MAX_MEMORY)
        .table_elements(20_000)
        .max_unused_warm_slots(SLOTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(4 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}
