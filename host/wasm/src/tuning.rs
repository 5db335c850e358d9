//! How the engine is set up. Names nothing else of this crate, so that `examples/call_cost.rs`
//! measures bare wasmtime under the very same settings.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Calls that may run at once. Few: each may hold a memory of 32 MiB, or 128 if its manifest
/// asks, and a host makes a handful of calls at a time.
pub const SLOTS: u32 = 16;

/// Bytes of a slot that stay resident between calls, so that a reset needs no system call.
const KEEP_RESIDENT: usize = 64 << 10;

/// No world allows more memory than this.
const MAX_MEMORY: usize = 128 << 20;

/// What compiled code depends on. What is compiled under these settings runs under them only.
pub fn code() -> Config {
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

/// For a machine with address space for a pool.
pub fn pooled() -> Config {
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    config
}

/// For a machine that does not give the address space of a pool: each memory takes what it may
/// hold and no more. Such code checks its bounds itself, so it is compiled anew.
pub fn cramped() -> Config {
    let mut config = code();
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
