//! The resolved configuration: every default filled in, every path absolute, every
//! duration in milliseconds. `grace` makes it from `grace.toml` and writes it to the state
//! directory; the other processes read it there and never see TOML.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::govern::Governance;
use crate::id::{PluginName, ServiceName};
use crate::isolation::{Isolation, Limits};
use crate::net::Net;
use crate::record::Record;

/// All that a host is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The services, in the file's order.
    pub services: Vec<Service>,
    /// Plugins and their grants.
    pub plugins: Plugins,
    /// Playbooks and the loop's waiting times.
    pub healing: Healing,
    /// The data plane.
    pub proxy: Proxy,
    /// Where messages to people go.
    pub notify: BTreeMap<String, Channel>,
    /// Where scrapers may come.
    #[serde(default)]
    pub metrics: Metrics,
}

/// Prometheus metrics beside those on the API's socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// An address of the loopback. None: nowhere.
    pub listen: Option<SocketAddr>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Program and arguments. `{port}`, `{data}` and `{instance}` are filled in for each
    /// instance.
    pub command: Vec<String>,
    /// Where the command runs.
    pub work_dir: PathBuf,
    /// Added to the environment; the rest is PATH, HOME, LANG, TZ, USER and what Grace sets.
    pub env: BTreeMap<String, String>,
    /// Where clients connect. None: a service without traffic.
    pub listen: Option<SocketAddr>,
    /// How an instance gets its socket.
    pub socket: Socket,
    /// How many instances, of all roles.
    pub instances: u32,
    /// How many of each role. None: all are active.
    #[serde(default)]
    pub roles: Option<Roles>,
    /// Time of one step of the ramp by which a returning instance gets its share of the traffic
    /// back (10, 25, 50, 100 %). 0: all of it at once.
    #[serde(default)]
    pub ramp_step_ms: u64,
    /// How readiness and health are told.
    pub ready: Ready,
    /// Time from start to ready before a start counts as failed.
    pub start_timeout_ms: u64,
    /// Time from SIGTERM to SIGKILL.
    pub stop_timeout_ms: u64,
    /// Time that a drain waits for requests in flight.
    pub drain_timeout_ms: u64,
    /// Time between health probes of a ready instance.
    pub probe_interval_ms: u64,
    /// Time a health probe may take.
    pub probe_timeout_ms: u64,
    /// Failed probes in a row before the instance is degraded.
    pub probe_failures: u32,
    /// The instance must send `WATCHDOG=1` at least this often. None: no heartbeat asked.
    pub heartbeat_ms: Option<u64>,
    /// Bytes of an instance's newest output that are kept in memory, beside the files.
    #[serde(default = "output_ring_bytes")]
    pub output_ring_bytes: u64,
    /// The reflex and its two budgets.
    pub restart: Restart,
    /// Unprivileged user to run as when Grace is root. None: `nobody` as root, oneself else.
    pub user: Option<String>,
    /// Why it runs as root though it names no user: what an unprivileged one cannot reach.
    #[serde(default)]
    pub root_because: Option<String>,
    /// Declared configuration files.
    pub config: Vec<ConfigFile>,
    /// Actions that playbooks may run for it without asking, `pack.verb` or `pack.*`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// How its clients and instances are spoken to.
    #[serde(default)]
    pub front: Front,
    /// How much an instance may use.
    #[serde(default)]
    pub limits: Limits,
    /// What an instance can reach.
    #[serde(default)]
    pub isolation: Isolation,
    /// What of its traffic is recorded.
    #[serde(default)]
    pub record: Record,
    /// Whether faults may be induced on it.
    #[serde(default)]
    pub chaos: bool,
}

/// How the proxy speaks with a service's clients and instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Front {
    /// What is balanced.
    pub protocol: Protocol,
    /// Instances listen on this Unix socket instead of a port; `{data}` and `{instance}` are
    /// filled in for each.
    pub unix: Option<String>,
    /// Clients come through a balancer that sends a PROXY header of version 1 or 2 first; a
    /// connection without one is closed.
    pub proxy_in: bool,
    /// Instances get a PROXY header of this version first. Only for plain TCP: connections of
    /// HTTP are shared by many clients, whom X-Forwarded-For tells.
    pub proxy_out: Option<ProxyVersion>,
    /// Clients speak TLS, which ends at the proxy.
    pub tls: Option<Tls>,
    /// Proxies in front of this one, whose word on the client behind them (`X-Forwarded-*`,
    /// `Forwarded`, `X-Real-IP`) is passed on. Of all others it is taken out.
    pub trusted_proxies: Vec<Net>,
    /// What becomes of a request's trace context.
    pub trace: Trace,
    /// Which requests come first when not all can be served. The first rule that fits decides.
    pub priority: Vec<Priority>,
}

/// What becomes of a request's trace context (W3C Trace Context).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trace {
    /// `traceparent` goes on with a parent id of this hop, and is made where there is no valid one.
    #[default]
    Hop,
    /// Passed on as it came.
    Pass,
}

/// How important a request is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Served as long as anything is.
    High,
    /// What no rule speaks of.
    #[default]
    Normal,
    /// The first to be sent away.
    Low,
}

/// Which requests are of a class: those that have everything that is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Priority {
    /// Of which class they are.
    pub class: Class,
    /// Their path is this one or below it; begins with `/`.
    pub path: Option<String>,
    /// Their method is one of these. None: any.
    pub methods: Vec<String>,
    /// They have this header, in lower case.
    pub header: Option<String>,
    /// And it has this value.
    pub value: Option<String>,
}

/// Files with a certificate. Read again whenever they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The certificate and those between it and its root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// What is balanced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Requests.
    #[default]
    Http,
    /// Requests; instances speak HTTP/2 in the clear, as gRPC servers do.
    H2c,
    /// Connections; nobody looks at what passes.
    Tcp,
}

/// A version of the PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How many instances of each role a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// That take traffic; never more than so many may answer at once.
    pub active: u32,
    /// Running standbys.
    pub hot: u32,
    /// Prepared, not running.
    pub warm: u32,
}

/// How an instance gets its listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Socket {
    /// It binds the port it is told by `$PORT` and `{port}`.
    Port,
    /// It inherits a listening socket as fd 3 (`LISTEN_FDS=1`, `LISTEN_PID`).
    Inherit,
    /// It has none.
    None,
}

/// How readiness (and, but for `Notify` and `Process`, health) is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// GET of this path is answered 200 to 399.
    Http(String),
    /// A connection is accepted. Tells readiness only: a stopped process accepts too.
    Tcp,
    /// `READY=1` on `$NOTIFY_SOCKET`.
    Notify,
    /// The process runs.
    Process,
}

/// The reflex: what the supervisor does about a dead process without asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Whether there is a reflex at all.
    pub reflex: bool,
    /// Restarts allowed in `window_ms` for deaths from outside.
    pub external_max: u32,
    /// Restarts allowed in `window_ms` for all other deaths.
    pub own_max: u32,
    /// The window of both budgets.
    pub window_ms: u64,
    /// First delay after a death of its own.
    pub backoff_min_ms: u64,
    /// The delay doubles up to this.
    pub backoff_max_ms: u64,
    /// Ready for this long, the delay starts from the beginning.
    pub healthy_ms: u64,
}

/// A declared configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Absolute, or with `{data}`: then every instance has its own.
    pub path: String,
    /// Copied to `path` before the first start of an instance when `path` does not exist.
    pub seed: Option<PathBuf>,
    /// What it must parse as.
    pub format: ConfigFormat,
}

/// What a declared configuration file must parse as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigFormat {
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// Any bytes.
    Text,
    /// Exactly the bytes that were snapshotted: declared as `[[service.artifact]]`.
    Artifact,
}

/// Plugins and grants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugins {
    /// Whether the plugins inside the binary are used.
    pub builtin: bool,
    /// Drop-in directory of the operator's own plugins. May not exist yet.
    pub dir: PathBuf,
    /// Grants from `grace.toml`, by plugin. `grace plugin grant` writes to `grants.toml` in
    /// the state directory, which is read beside these.
    pub grants: BTreeMap<PluginName, Vec<String>>,
    /// Settings that override a manifest's `[config]`, by plugin.
    pub config: BTreeMap<PluginName, BTreeMap<String, String>>,
    /// Plugins that are not loaded.
    pub disable: Vec<PluginName>,
    /// Failures in a row after which a plugin is disabled.
    pub strikes: u32,
    /// Time between scans of the directory, beside file events.
    pub rescan_ms: u64,
}

/// The loop's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healing {
    /// Whether playbooks run. Off: detectors and incidents go on.
    pub playbooks: bool,
    /// Whether the playbooks inside the binary are used.
    pub builtin: bool,
    /// Directory of the operator's playbooks; one with a built-in's id replaces it.
    pub dir: PathBuf,
    /// Time between two looks at the journals and batches to detectors.
    pub tick_ms: u64,
    /// Time between two looks at declared configuration files and resources.
    pub sample_ms: u64,
    /// A resolved incident whose signature comes back within this time is opened again.
    pub reopen_ms: u64,
    /// An incident without a run, not seen for this long while its target is ready, is over.
    pub quiet_ms: u64,
    /// One that nothing heals is a person's after this.
    pub escalate_ms: u64,
    /// The ledger keeps entries for so long; older ones go once their incidents are over.
    pub ledger_keep_ms: u64,
    /// The ledger's oldest entries go, whatever they belong to, while it is larger than this.
    pub ledger_max_bytes: u64,
    /// When playbooks may run, how many at once, and what is asked first.
    pub governance: Governance,
}

/// The data plane's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// Threads, each with its own listener of every service.
    pub threads: u32,
    /// Whether a request may be tried a second time at all.
    pub retry: bool,
    /// Second tries allowed per 100 requests, averaged over ten seconds; at least ten a second
    /// are always allowed, so that a small service has a budget too.
    pub retry_percent: u32,
    /// Bytes of a request body kept for a second try.
    pub retry_body_bytes: u64,
    /// No first byte of an answer after this: the instance's process state is looked at.
    pub suspect_ms: u64,
    /// No first byte of an answer after this: one hedge on a sibling, if resendable.
    pub hedge_ms: u64,
    /// Time to connect to an instance.
    pub connect_timeout_ms: u64,
    /// Time a request may take to its first byte of an answer.
    pub answer_timeout_ms: u64,
    /// Time a client may take to send a request's head.
    pub head_timeout_ms: u64,
    /// Time a connection of a client may stay open without a request.
    pub idle_timeout_ms: u64,
    /// Time waited for a client's body in which `slow_bytes` of it must come; 0: no limit.
    pub upload_timeout_ms: u64,
    /// Time waited for a client to take its answer in which it must take `slow_bytes` of it;
    /// 0: no limit.
    pub download_timeout_ms: u64,
    /// The least a client must move in the two times above.
    pub slow_bytes: u64,
    /// Time an instance may stand still in the middle of a request's body or an answer's; 0: no
    /// limit.
    pub stall_timeout_ms: u64,
    /// Time that each step of an ejected instance's return lasts (10, 25, 50 % of its share, then
    /// all of it); 0: it gets its whole share at once.
    pub ramp_ms: u64,
    /// Time a request waits for an instance when there is none, as while the only one restarts.
    pub queue_timeout_ms: u64,
    /// Requests of one service that may wait so.
    pub queue_requests: u32,
    /// Memory that they may take.
    pub queue_bytes: u64,
    /// Failures in a row that eject an instance until its probe passes.
    pub eject_failures: u32,
    /// Whether the number of requests at once on an instance is limited to what it can use.
    pub limit: bool,
    /// Time a request waits while all instances have as many as they can use; then it is sent
    /// away with 503.
    pub limit_wait_ms: u64,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Grace's own log.
    Log,
    /// A program, run with the message as JSON on its standard input.
    Command(Vec<String>),
    /// A line of JSON appended to a file.
    File(PathBuf),
    /// The message as JSON, POSTed to an address.
    Webhook {
        /// `http://` or `https://`.
        url: String,
        /// A file whose text is sent as `Authorization: Bearer`.
        token_file: Option<PathBuf>,
    },
    /// A mail by SMTP.
    Email(Box<Email>),
}

/// How a mail is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// Name of the server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept secret.
    pub security: MailSecurity,
    /// The sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// Whom to log in as, and the file with the password.
    pub login: Option<(String, PathBuf)>,
}

/// How a connection to a mail server is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS, or nothing is sent.
    Starttls,
    /// None: for a server on this machine.
    None,
}

/// Some hundred lines.
fn output_ring_bytes() -> u64 {
    64 * 1024
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            reflex: true,
            external_max: 30,
            own_max: 5,
            window_ms: 60_000,
            backoff_min_ms: 100,
            backoff_max_ms: 30_000,
            healthy_ms: 10_000,
        }
    }
}

impl Default for Healing {
    fn default() -> Self {
        Self {
            playbooks: true,
            builtin: true,
            dir: PathBuf::new(),
            tick_ms: 100,
            sample_ms: 250,
            reopen_ms: 600_000,
            quiet_ms: 60_000,
            escalate_ms: 300_000,
            ledger_keep_ms: 90 * 24 * 3_600_000,
            ledger_max_bytes: 1 << 30,
            governance: Governance::default(),
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            threads: 2,
            retry: true,
            retry_percent: 20,
            retry_body_bytes: 64 * 1024,
            suspect_ms: 100,
            hedge_ms: 500,
            connect_timeout_ms: 1_000,
            answer_timeout_ms: 30_000,
            head_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            upload_timeout_ms: 30_000,
            download_timeout_ms: 60_000,
            slow_bytes: 512,
            stall_timeout_ms: 60_000,
            ramp_ms: 1_000,
            queue_timeout_ms: 5_000,
            queue_requests: 1_000,
            queue_bytes: 16 << 20,
            eject_failures: 3,
            limit: true,
            limit_wait_ms: 2_000,
        }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            builtin: true,
            dir: PathBuf::new(),
            grants: BTreeMap::new(),
            config: BTreeMap::new(),
            disable: Vec::new(),
            strikes: 5,
            rescan_ms: 2_000,
        }
    }
}

impl Service {
    /// A service with every default, for `grace run`, tests and the demo.
    #[must_use]
    pub fn new(name: ServiceName, command: Vec<String>, work_dir: PathBuf) -> Self {
        Self {
            name,
            command,
            work_dir,
            env: BTreeMap::new(),
            listen: None,
            socket: Socket::Port,
            instances: 1,
            roles: None,
            ramp_step_ms: 0,
            ready: Ready::Tcp,
            start_timeout_ms: 30_000,
            stop_timeout_ms: 10_000,
            drain_timeout_ms: 10_000,
            probe_interval_ms: 500,
            probe_timeout_ms: 500,
            probe_failures: 2,
            heartbeat_ms: None,
            output_ring_bytes: output_ring_bytes(),
            restart: Restart::default(),
            user: None,
            root_because: None,
            config: Vec::new(),
            allow: Vec::new(),
            front: Front::default(),
            limits: Limits::default(),
            isolation: Isolation::default(),
            record: Record::default(),
            chaos: false,
        }
    }
}
