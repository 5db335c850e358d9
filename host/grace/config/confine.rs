//! `limits` and `isolation` of a service: what is written, resolved and checked as far as a file
//! can be. What the machine gives is found out at the start of an instance.

use std::fmt;
use std::path::{Path, PathBuf};

use grace_model::config::{Service, Socket};
use grace_model::isolation::{Isolation, Limits, Network, Signals, Syscalls};
use grace_os::confine::Capabilities;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

use super::fault::Fault;
use super::units::Bytes;

/// Less starts no program.
const LEAST_MEMORY: u64 = 1 << 20;
/// Standard streams, the program, its loader and libraries.
const LEAST_FILES: u64 = 8;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    memory: Option<Spanned<Bytes>>,
    cpu: Option<Cores>,
    pids: Option<Spanned<u32>>,
    files: Option<Spanned<u64>>,
    file_size: Option<Spanned<Bytes>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationTable {
    network: Option<Spanned<Network>>,
    #[serde(default)]
    read_only: Vec<Spanned<PathBuf>>,
    writable: Option<Vec<Spanned<PathBuf>>>,
    private_tmp: Option<Spanned<Bytes>>,
    signals: Option<Signals>,
    syscalls: Option<Syscalls>,
    #[serde(default)]
    drop_capabilities: Vec<Spanned<String>>,
    new_privileges: Option<bool>,
}

/// Processor cores, such as `2` or `0.5`, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Cores(u32);

/// Fills in what both tables say.
pub fn resolve(
    limits: LimitsTable,
    isolation: IsolationTable,
    base: &Path,
    service: &mut Service,
    faults: &mut Vec<Fault>,
) {
    let mut least = |value: Option<(u64, std::ops::Range<usize>)>, least: u64, what: &str| {
        let (value, span) = value?;
        if value < least {
            faults.push(Fault::new(span, what));
        }
        Some(value)
    };
    let bytes = |written: Spanned<Bytes>| (written.get_ref().0, written.span());
    service.limits = Limits {
        memory_bytes: least(
            limits.memory.map(bytes),
            LEAST_MEMORY,
            "no program starts with less than \"1MiB\"",
        ),
        cpu_millicores: limits.cpu.map(|cores| cores.0),
        pids: limits
            .pids
            .map(|count| (u64::from(*count.get_ref()), count.span()))
            .and_then(|count| least(Some(count), 1, "`pids` is at least 1"))
            .and_then(|count| u32::try_from(count).ok()),
        files: least(
            limits.files.map(|count| (*count.get_ref(), count.span())),
            LEAST_FILES,
            "no program starts with less than 8 open files",
        ),
        file_bytes: least(
            limits.file_size.map(bytes),
            1,
            "a file of no bytes is none; leave it out, or see `isolation.writable`",
        ),
    };
    let private_tmp_bytes = least(
        isolation.private_tmp.map(bytes),
        4_096,
        "a directory needs \"4KiB\" at least",
    );
    let network = isolation.network.map(|network| {
        let unreachable = *network.get_ref() == Network::None
            && service.socket == Socket::Port
            && service.front.unix.is_none();
        if unreachable {
            faults.push(Fault::new(
                network.span(),
                "without a network nobody reaches the port it binds; use `socket = \"inherit\"`, \
                 whose socket works all the same",
            ));
        }
        network.into_inner()
    });
    let mut capabilities = Vec::new();
    for name in isolation.drop_capabilities {
        if let Err(what) = name.get_ref().parse::<Capabilities>() {
            faults.push(Fault::new(name.span(), what));
        }
        capabilities.push(name.into_inner());
    }
    let mut paths = |written: Vec<Spanned<PathBuf>>| -> Vec<PathBuf> {
        let each = written.into_iter().map(|path| {
            let full: PathBuf = base.join(path.get_ref()).components().collect();
            if !full.exists() {
                let what = format!(
                    "there is no {}; make it, or correct the path",
                    full.display()
                );
                faults.push(Fault::new(path.span(), what));
            }
            full
        });
        each.collect()
    };
    service.isolation = Isolation {
        network,
        read_only: paths(isolation.read_only),
        writable: isolation.writable.map(&mut paths),
        private_tmp_bytes,
        signals: isolation.signals,
        syscalls: isolation.syscalls,
        drop_capabilities: capabilities,
        new_privileges: isolation.new_privileges,
    };
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Cores;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of cores from 0.01 to 1024, such as 2 or 0.5")
            }
            fn visit_f64<E: Error>(self, cores: f64) -> Result<Cores, E> {
                if !(0.01..=1024.0).contains(&cores) {
                    return Err(E::invalid_value(serde::de::Unexpected::Float(cores), &self));
                }
                // In range, so nothing is cut off.
                Ok(Cores((cores * 1_000.0).round() as u32))
            }
            fn visit_i64<E: Error>(self, cores: i64) -> Result<Cores, E> {
                match u32::try_from(cores) {
                    Ok(cores @ 1..=1_024) => Ok(Cores(cores * 1_000)),
                    _ => Err(E::invalid_value(
                        serde::de::Unexpected::Signed(cores),
                        &self,
                    )),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}
