//! WASI 0.2 as a plugin sees it: fixed clocks, a seeded generator, no arguments, no
//! environment, no input, output that goes nowhere; files and one kind of socket only as
//! granted. Two calls with the same input see the same world.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{
    Deterministic, FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder,
    WasiCtxView, WasiView,
};

use crate::state::CallState;

/// Handles that a call may hold at once.
const MAX_HANDLES: usize = 256;
/// Bytes of standard error that are kept: a panic's message, not a log.
const KEPT_OUTPUT: usize = 1 << 10;
/// Random bytes that a guest may ask for at once.
const MAX_RANDOM: u64 = 64 << 10;

/// What was granted beyond the stand-ins.
#[derive(Debug, Clone, Default)]
pub struct WasiGrants {
    /// Directories, and whether they may be written.
    pub dirs: Vec<(PathBuf, bool)>,
    /// Where a connection may go.
    pub peers: Arc<[SocketAddr]>,
    /// Whether a granted host is a name, which the guest must look up.
    pub names: bool,
}

impl WasiGrants {
    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.peers.is_empty()
    }
}

/// WASI in one store. Made when the guest first asks, because most calls never do.
pub struct Wasi {
    context: Option<WasiCtx>,
    table: ResourceTable,
    now: Duration,
    stderr: Tail,
}

impl Wasi {
    /// The stand-ins alone, with the wall clock at `now` since the epoch.
    pub fn empty(now: Duration) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            context: None,
            table,
            now,
            stderr: Tail::default(),
        }
    }

    /// The stand-ins with what was granted; `writable` false makes every directory read only.
    pub fn granted(grants: &WasiGrants, now: Duration, writable: bool) -> Result<Self, String> {
        let mut wasi = Self::empty(now);
        if grants.is_empty() {
            return Ok(wasi);
        }
        let mut builder = stand_ins(now, wasi.stderr.clone());
        for (dir, write) in &grants.dirs {
            let perms = if *write && writable {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            };
            builder
                .preopened_dir(dir, dir.to_string_lossy(), perms)
                .map_err(|error| {
                    format!(
                        "the granted directory {} cannot be opened: {error:#}",
                        dir.display()
                    )
                })?;
        }
        if !grants.peers.is_empty() {
            let peers = Arc::clone(&grants.peers);
            builder
                .allow_tcp(true)
                .allow_ip_name_lookup(grants.names)
                .socket_addr_check(move |address, use_| {
                    let allowed = match use_ {
                        SocketAddrUse::TcpConnect => peers.contains(&address),
                        // What the system binds by itself before it connects.
                        SocketAddrUse::TcpBind => {
                            address.ip().is_unspecified() && address.port() == 0
                        }
                        _ => false,
                    };
                    Box::pin(async move { allowed })
                });
        }
        wasi.context = Some(builder.build());
        Ok(wasi)
    }

    /// The end of what the guest wrote to standard error: its panic message, if it has one.
    pub fn last_words(&self) -> String {
        let kept = self.stderr.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi {
            context,
            table,
            now,
            stderr,
        } = &mut self.wasi;
        let ctx = context.get_or_insert_with(|| stand_ins(*now, stderr.clone()).build());
        WasiCtxView { ctx, table }
    }
}

fn stand_ins(now: Duration, stderr: Tail) -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stderr(stderr)
        .secure_random(Deterministic::new(seed()))
        .insecure_random(Deterministic::new(seed()))
        .insecure_random_seed(0x6772_6163_6500_0001)
        .max_random_size(MAX_RANDOM)
        .wall_clock(Fixed(now))
        .monotonic_clock(Fixed(Duration::ZERO))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder
}

/// Bytes that look random and are always the same.
fn seed() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 10];
    blake3::Hasher::new_derive_key("grace plugin randomness, the same for every call")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A clock that stands still.
struct Fixed(Duration);

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1_000_000
    }
    fn now(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Takes everything and keeps the end.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&bytes);
        let over = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..over);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(KEPT_OUTPUT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}
