//! From what is written to what is meant: defaults, absolute paths, and the checks that need more
//! than one value. Every fault is collected; only a file without any becomes a `Config`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use grace_model::config::{Config, Healing, Metrics, Plugins, Proxy, Service};
use grace_model::id::{InstanceId, PluginName};
use grace_model::layout::Layout;
use toml::Spanned;

use super::fault::Fault;
use super::file::{File, HealingTable, LedgerTable, MetricsTable, PluginsTable, ProxyTable};
use super::units::Millis;
use super::{Surroundings, govern, literal, people, runner, service};
use crate::capability;

/// Longest path of a Unix socket, without its final zero.
const SOCKET_PATH: usize = 107;
/// Most instances of a service.
pub const MOST_INSTANCES: u32 = 256;

/// Largest request body that is kept for a second try.
const RETRY_BODY_MOST: u64 = 16 << 20;
/// Smallest bound of the ledger: below it a single incident may not fit.
const LEDGER_LEAST: u64 = 1 << 20;

/// Where the state directory is.
pub fn state_dir(base: &Path, written: Option<&Path>) -> PathBuf {
    base.join(written.unwrap_or(Path::new(".grace")))
        .components()
        .collect()
}

/// Resolves a file whose relative paths start at `base`. With a fault it is not for use.
pub fn resolve(file: File, base: &Path, around: &Surroundings) -> (Config, Vec<Fault>) {
    let mut faults = Vec::new();
    if file.service.is_empty() {
        faults.push(Fault::new(
            0..0,
            "no service is declared; add a [[service]] with `name` and `command`",
        ));
    }
    let mut services = Vec::new();
    for table in file.service {
        services.extend(service::resolve(
            table,
            base,
            around,
            &services,
            &mut faults,
        ));
    }
    let state_span = file.state.as_ref().map_or(0..0, Spanned::span);
    if let Some(state) = &file.state
        && let Some(what) = literal::wrong_path(state.get_ref(), "state")
    {
        faults.push(Fault::new(state_span.clone(), what));
    }
    let written = file.state.map(Spanned::into_inner);
    let state_dir = match &around.state {
        Some(given) => given.clone(),
        None => state_dir(base, written.as_deref()),
    };
    if let Err(what) = fits_sockets(&state_dir, &services) {
        faults.push(Fault::new(state_span, what));
    }
    if around.root {
        for service in &mut services {
            runner::settle(service, &state_dir);
        }
    }
    let metrics = metrics(file.metrics, &services, &mut faults);
    let config = Config {
        state_dir,
        services,
        plugins: plugins(file.plugins, base, &mut faults),
        healing: Healing {
            governance: govern::resolve(file.governance, &mut faults),
            ..healing(file.healing, file.ledger, base, &mut faults)
        },
        proxy: proxy(file.proxy, &mut faults),
        notify: people::channels(file.notify, base, around, &mut faults),
        metrics,
    };
    (config, faults)
}

/// Whether every socket below the state directory has a path that a socket may have.
pub fn fits_sockets(state_dir: &Path, services: &[Service]) -> Result<(), String> {
    let layout = Layout::new(state_dir);
    let longest = services
        .iter()
        .map(|service| layout.notify_socket(&InstanceId::of(&service.name, MOST_INSTANCES)))
        .chain([layout.supervisor_socket()])
        .max_by_key(|path| path.as_os_str().len());
    match longest {
        Some(path) if path.as_os_str().len() > SOCKET_PATH => Err(format!(
            "the state directory's path is too long: {} has {} bytes, and a Unix socket's path may have {SOCKET_PATH}; \
             set `state` (or `--state`) to a shorter path, such as \"/var/lib/grace\" or \"/tmp/grace\"",
            path.display(),
            path.as_os_str().len()
        )),
        _ => Ok(()),
    }
}

/// The value in milliseconds, or a fault when it is zero.
pub fn not_zero(
    value: Option<Spanned<Millis>>,
    default: u64,
    key: &str,
    faults: &mut Vec<Fault>,
) -> u64 {
    let Some(value) = value else { return default };
    if value.get_ref().0 == 0 {
        faults.push(Fault::new(
            value.span(),
            format!("`{key}` cannot be 0; leave it out for {default}ms"),
        ));
    }
    value.get_ref().0
}

/// The number, or a fault when it is outside the range.
pub fn within(
    value: Option<Spanned<u32>>,
    default: u32,
    range: std::ops::RangeInclusive<u32>,
    key: &str,
    faults: &mut Vec<Fault>,
) -> u32 {
    let Some(value) = value else { return default };
    if !range.contains(value.get_ref()) {
        faults.push(Fault::new(
            value.span(),
            format!(
                "`{key}` is {} to {}; leave it out for {default}",
                range.start(),
                range.end()
            ),
        ));
    }
    *value.get_ref()
}

/// The path of a directory that need not exist yet.
fn path_or(value: Option<Spanned<PathBuf>>, default: &str, faults: &mut Vec<Fault>) -> PathBuf {
    let Some(value) = value else {
        return default.into();
    };
    if let Some(what) = literal::wrong_path(value.get_ref(), "dir") {
        faults.push(Fault::new(value.span(), what));
    }
    value.into_inner()
}

/// Whether two services cannot both listen.
pub fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_host
}

fn metrics(table: MetricsTable, services: &[Service], faults: &mut Vec<Fault>) -> Metrics {
    let Some(listen) = table.listen else {
        return Metrics::default();
    };
    let addr = listen.get_ref().0;
    if !addr.ip().is_loopback() {
        faults.push(Fault::new(
            listen.span(),
            format!(
                "metrics are for this machine only, and {addr} is not of its loopback; write \"127.0.0.1:{}\", and put \
                 what asks for a password in front of it",
                addr.port()
            ),
        ));
    }
    let taken = services
        .iter()
        .find(|service| service.listen.is_some_and(|other| collide(addr, other)));
    if let Some(service) = taken {
        faults.push(Fault::new(
            listen.span(),
            format!(
                "the service {} listens on {addr} already; use another port",
                service.name
            ),
        ));
    }
    Metrics { listen: Some(addr) }
}

fn plugins(table: PluginsTable, base: &Path, faults: &mut Vec<Fault>) -> Plugins {
    let default = Plugins::default();
    for grant in table.grants.values().flatten() {
        if let Err(what) = capability::check(grant.get_ref()) {
            faults.push(Fault::new(grant.span(), what));
        }
    }
    let text = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
    Plugins {
        builtin: table.builtin.unwrap_or(default.builtin),
        dir: base.join(path_or(table.dir, "plugins.d", faults)),
        grants: table
            .grants
            .into_iter()
            .map(|(name, list)| (PluginName(name), text(list)))
            .collect(),
        config: table
            .config
            .into_iter()
            .map(|(name, keys)| {
                (
                    PluginName(name),
                    keys.into_iter()
                        .map(|(key, value)| (key, value.0))
                        .collect(),
                )
            })
            .collect(),
        disable: table.disable.into_iter().map(PluginName).collect(),
        strikes: within(table.strikes, default.strikes, 1..=1000, "strikes", faults),
        rescan_ms: not_zero(table.rescan, default.rescan_ms, "rescan", faults),
    }
}

fn healing(
    table: HealingTable,
    ledger: LedgerTable,
    base: &Path,
    faults: &mut Vec<Fault>,
) -> Healing {
    let default = Healing::default();
    Healing {
        playbooks: table.playbooks.unwrap_or(default.playbooks),
        builtin: table.builtin.unwrap_or(default.builtin),
        dir: base.join(path_or(table.dir, "playbooks", faults)),
        tick_ms: not_zero(table.tick, default.tick_ms, "tick", faults),
        sample_ms: not_zero(table.sample, default.sample_ms, "sample", faults),
        reopen_ms: table.reopen.map_or(default.reopen_ms, |time| time.0),
        quiet_ms: not_zero(table.quiet, default.quiet_ms, "quiet", faults),
        escalate_ms: not_zero(table.escalate, default.escalate_ms, "escalate", faults),
        ledger_keep_ms: not_zero(ledger.keep, default.ledger_keep_ms, "keep", faults),
        ledger_max_bytes: match ledger.max_size {
            None => default.ledger_max_bytes,
            Some(size) if size.get_ref().0 < LEDGER_LEAST => {
                faults.push(Fault::new(
                    size.span(),
                    "`max_size` is at least \"1MiB\"; leave it out for \"1GiB\"",
                ));
                default.ledger_max_bytes
            }
            Some(size) => size.get_ref().0,
        },
        ..default
    }
}

fn proxy(table: ProxyTable, faults: &mut Vec<Fault>) -> Proxy {
    let default = Proxy::default();
    let mut ms = |value, default, key: &str| not_zero(value, default, key, faults);
    let suspect_ms = ms(table.suspect, default.suspect_ms, "suspect");
    let hedge_ms = ms(table.hedge, default.hedge_ms, "hedge");
    let connect_timeout_ms = ms(
        table.connect_timeout,
        default.connect_timeout_ms,
        "connect_timeout",
    );
    let answer_timeout_ms = ms(
        table.answer_timeout,
        default.answer_timeout_ms,
        "answer_timeout",
    );
    let head_timeout_ms = ms(table.head_timeout, default.head_timeout_ms, "head_timeout");
    let idle_timeout_ms = ms(table.idle_timeout, default.idle_timeout_ms, "idle_timeout");
    // 0 is no limit, no ramp, no waiting.
    let or_none = |value: Option<Millis>, default| value.map_or(default, |time: Millis| time.0);
    Proxy {
        threads: within(table.threads, default.threads, 1..=64, "threads", faults),
        retry: table.retry.unwrap_or(default.retry),
        retry_percent: within(
            table.retry_percent,
            default.retry_percent,
            0..=100,
            "retry_percent",
            faults,
        ),
        retry_body_bytes: match table.retry_body {
            None => default.retry_body_bytes,
            Some(size) if size.get_ref().0 > RETRY_BODY_MOST => {
                faults.push(Fault::new(
                    size.span(),
                    "`retry_body` is at most \"16MiB\": every request in flight may hold so much",
                ));
                default.retry_body_bytes
            }
            Some(size) => size.get_ref().0,
        },
        suspect_ms,
        hedge_ms,
        connect_timeout_ms,
        answer_timeout_ms,
        head_timeout_ms,
        idle_timeout_ms,
        upload_timeout_ms: or_none(table.upload_timeout, default.upload_timeout_ms),
        download_timeout_ms: or_none(table.download_timeout, default.download_timeout_ms),
        slow_bytes: table.slow_bytes.map_or(default.slow_bytes, |size| size.0),
        stall_timeout_ms: or_none(table.stall_timeout, default.stall_timeout_ms),
        ramp_ms: or_none(table.ramp, default.ramp_ms),
        queue_timeout_ms: or_none(table.queue_timeout, default.queue_timeout_ms),
        queue_requests: within(
            table.queue_requests,
            default.queue_requests,
            0..=1_000_000,
            "queue_requests",
            faults,
        ),
        queue_bytes: table.queue_bytes.map_or(default.queue_bytes, |size| size.0),
        eject_failures: within(
            table.eject_failures,
            default.eject_failures,
            1..=1000,
            "eject_failures",
            faults,
        ),
        limit: table.limit.unwrap_or(default.limit),
        limit_wait_ms: or_none(table.limit_wait, default.limit_wait_ms),
    }
}
