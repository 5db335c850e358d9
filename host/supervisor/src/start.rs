//! From nothing to a running loop: configuration, locks, what the keeper holds, what runs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grace_journal::{Limits, Operations, Writer};
use grace_model::command::Outcome;
use grace_model::config::Config;
use grace_model::event::What;
use grace_model::id::OpId;
use grace_model::instance::ProcessId;
use grace_model::ipc::{Answer, Table};
use grace_model::layout::Layout;
use grace_os::limit::OpenFiles;
use grace_os::lock::{self, Lock, LockError};
use grace_os::{Signal, inherit, listen, pidfd, process, tree, umask, user};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::clients::{self, Clients};
use crate::confine::Confines;
use crate::core::{Core, MESSAGES, Shutdown, wall_ms};
use crate::deaths::oom_kills;
use crate::error::Error;
use crate::keeper::{LINK, listeners_of_proxy, prepare, raise_open_files};
use crate::link::{Handed, Link};
use crate::parts::Part;
use crate::program::{self, Chosen};
use crate::slot::host_name;
use crate::snapshot;

/// Time that a dying predecessor's lock is waited for.
const LOCK: Duration = Duration::from_secs(2);

/// Time that proxy and healer get to end before they are killed.
const PARTS_END: Duration = Duration::from_secs(2);

/// The operation under which the end of a shutdown is told.
const SHUTDOWN: &str = "shutdown";

/// What a supervisor runs with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program whose `internal NAME --state DIR` are Grace's processes.
    pub exe: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Which of `proxy` and `healer` are started.
    pub parts: Vec<&'static str>,
    /// The time of day in milliseconds since 1970. Only written down, never reckoned with.
    pub wall: fn() -> u64,
}

/// The supervisor's life, as the keeper starts it. Returns after a shutdown.
///
/// # Errors
/// [`Error`] when it cannot begin.
pub fn main(state_dir: &Path) -> Result<(), Error> {
    let parts = vec!["proxy", "healer"];
    run(Setup {
        exe: program::own_path()?,
        state_dir: state_dir.to_owned(),
        parts,
        wall: wall_ms,
    })
}

/// As [`main`], with another program or fewer processes.
///
/// # Errors
/// [`Error`] when it cannot begin.
pub fn run(setup: Setup) -> Result<(), Error> {
    umask::set(0o077);
    let layout = Layout::new(&setup.state_dir);
    prepare(&layout)?;
    let _lock = take_lock(&layout)?;
    let config = read_config(&layout)?;
    let (link, handed) = fetch()?;
    process::set_subreaper()?;
    let files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::file("runtime", "starting it", source))?;
    runtime.block_on(live(setup, layout, config, link, handed, files))
}

async fn live(
    setup: Setup,
    layout: Layout,
    config: Config,
    link: Link,
    handed: Handed,
    files: OpenFiles,
) -> Result<(), Error> {
    let (messages, inbox) = mpsc::channel(MESSAGES);
    link.listen(messages.clone())?;
    let dir = layout.journal("supervisor");
    let operations = Operations::load(&dir)?;
    let journal = Writer::open(&dir, Limits::default())?;
    let proxy = config.proxy.clone();
    let mut core = Core {
        host: host_name(&setup.state_dir),
        exe: setup.exe,
        config,
        journal,
        operations,
        messages: messages.clone(),
        link,
        slots: BTreeMap::new(),
        events: VecDeque::new(),
        squads: BTreeMap::new(),
        fleet_events: VecDeque::new(),
        wide: Vec::new(),
        finished: VecDeque::new(),
        listeners: BTreeMap::new(),
        parts: setup.parts.iter().map(|name| Part::new(name, 0)).collect(),
        keeper: Part::new("keeper", 1),
        clients: Clients::default(),
        waiting: HashMap::new(),
        table: Table {
            version: 0,
            services: Vec::new(),
            proxy,
        },
        ends: HashMap::new(),
        confines: Confines::new(&host_name(&setup.state_dir), &layout.run()),
        oom_kills: oom_kills(),
        oom_at: 0,
        beat_at: Core::now(),
        work: 0,
        beats: 0,
        supervisor_restarts: 0,
        shutdown: Shutdown::No,
        leaving: false,
        self_id: process::own_identity()?,
        files,
        wall: setup.wall,
        layout,
    };
    core.begin_life(handed)?;
    let socket = bind_socket(&core.layout)?;
    let accepting = tokio::spawn(clients::accept(socket, messages));
    let result = core.run(inbox).await;
    accepting.abort();
    core.end_all().await;
    result
}

impl Core {
    fn begin_life(&mut self, handed: Handed) -> Result<(), Error> {
        let now = Core::now();
        let keeper = handed.keeper_pid;
        if let Some(id) = process::identity(keeper) {
            let handle = pidfd::open(keeper)?;
            self.keeper.watch(id, handle, &self.messages.clone(), now)?;
        }
        let mut held = handed.held;
        self.take_listeners(&mut held);
        self.take_parts(now);
        let kept = snapshot::load(&snapshot::path(&self.layout.run()));
        let adopted = self.adopt(kept, held, handed.first);
        self.link.stands();
        let pid = std::process::id();
        self.record(What::Started {
            process: "supervisor".to_owned(),
            pid,
            adopted,
        });
        if self.supervisor_restarts > 0 {
            self.record(What::ProcessRestarted {
                process: "supervisor".to_owned(),
                pid,
            });
        }
        tracing::info!(pid, adopted, "the supervisor stands");
        if self.shutdown == Shutdown::No {
            self.start_parts(now);
        }
        Ok(())
    }

    /// Listening sockets: the keeper's, else the proxy's, else new ones.
    fn take_listeners(&mut self, held: &mut BTreeMap<String, OwnedFd>) {
        let names: Vec<String> = held
            .keys()
            .filter(|name| name.starts_with("listen:"))
            .cloned()
            .collect();
        let mut known: BTreeMap<String, OwnedFd> = names
            .into_iter()
            .filter_map(|name| held.remove_entry(&name))
            .collect();
        let services = self.config.services.clone();
        let lacks = services.iter().any(|service| {
            service.listen.is_some() && !known.contains_key(&format!("listen:{}:0", service.name))
        });
        if lacks {
            match listeners_of_proxy(self.layout.root()) {
                Ok(found) => {
                    for (name, fd) in found {
                        known.entry(name).or_insert(fd);
                    }
                }
                Err(error) => tracing::error!(%error, "the proxy gives no listening sockets"),
            }
        }
        for service in &services {
            let Some(addr) = service.listen else { continue };
            let prefix = format!("listen:{}:", service.name);
            let own: BTreeMap<String, OwnedFd> = known
                .keys()
                .filter(|name| name.starts_with(&prefix))
                .cloned()
                .collect::<Vec<_>>()
                .into_iter()
                .filter_map(|name| known.remove_entry(&name))
                .collect();
            if own.values().next().is_some_and(|fd| listens_on(fd, addr)) {
                self.listeners.extend(own);
                continue;
            }
            drop(own);
            let count = usize::try_from(self.config.proxy.threads)
                .unwrap_or(1)
                .max(1);
            match listen::bind_exclusive_then_reuseport(addr, count) {
                Ok(listeners) => {
                    for (number, listener) in listeners.into_iter().enumerate() {
                        self.listeners
                            .insert(format!("{prefix}{number}"), listener.into());
                    }
                }
                Err(source) => {
                    let error = Error::Listen {
                        service: service.name.to_string(),
                        source,
                    };
                    tracing::error!(%error, "no traffic");
                }
            }
        }
        for name in known.keys() {
            self.link.drop_held(name);
        }
        for (name, fd) in &self.listeners {
            self.link.store(name, fd);
        }
    }

    /// Takes a proxy and a healer that still run; has the others started.
    fn take_parts(&mut self, now: u64) {
        let messages = self.messages.clone();
        let run = self.layout.run();
        let mut others = Vec::new();
        for part in &mut self.parts {
            let file = run.join(format!("{}.pid", part.name));
            let written: Option<ProcessId> = fs::read(file)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let living = |id: ProcessId| {
                let handle = pidfd::open_same(&id).ok().flatten()?;
                (!pidfd::is_dead(&handle).unwrap_or(true)).then_some((id, handle))
            };
            // The file is missing when the disk was full, or when a supervisor was killed
            // right after the start.
            let mut all: Vec<_> = find_parts(part.name, self.layout.root())
                .into_iter()
                .filter_map(living)
                .collect();
            let found = written.and_then(living).or_else(|| all.pop());
            all.retain(|(id, _)| found.as_ref().is_none_or(|(kept, _)| kept != id));
            others.push((part.name, all));
            let watched = found.map(|(id, handle)| part.watch(id, handle, &messages, now));
            if let Some(Err(error)) = &watched {
                tracing::error!(%error, process = part.name, "cannot be watched");
            }
            part.want(now);
        }
        for (name, all) in others {
            self.dismiss(name, all);
        }
    }

    /// After the last instance: proxy, healer, keeper, and what they leave in `run`.
    async fn end_all(&mut self) {
        let clean = self.shutdown != Shutdown::No;
        if !clean {
            return;
        }
        for part in &self.parts {
            if let Some(process) = &part.process {
                let _ = pidfd::send_signal(&process.handle, Signal::Terminate);
            }
            part.beside.end();
        }
        let end = Instant::now() + PARTS_END;
        for part in &self.parts {
            part.beside
                .wait(|| end.saturating_duration_since(Instant::now()));
            let Some(process) = &part.process else {
                continue;
            };
            let left = end.saturating_duration_since(Instant::now());
            if !pidfd::wait_dead(&process.handle, left).unwrap_or(true) {
                part.kill();
                let _ = pidfd::wait_dead(&process.handle, PARTS_END);
            }
            let _ = fs::remove_file(self.layout.run().join(format!("{}.pid", part.name)));
        }
        self.confines.home.close();
        let path = snapshot::path(&self.layout.run());
        if let Err(error) = snapshot::save(&path, &self.snapshot(true)) {
            tracing::error!(%error, "{} cannot be written", path.display());
        }
        if let Shutdown::Instances(waiting) = std::mem::take(&mut self.shutdown) {
            let (op, outcome) = (OpId::from(SHUTDOWN), Outcome::Done { number: 0 });
            for client in waiting {
                self.clients.send(
                    client,
                    &Answer::Reply {
                        op: op.clone(),
                        outcome: outcome.clone(),
                    },
                );
            }
        }
        // The writers of connections are tasks of this thread.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = fs::remove_file(self.layout.supervisor_socket());
        // The next host runs what it is started with.
        Chosen::forget(&self.layout);
        self.link.bye();
    }
}

/// Processes of Grace by their command line, which the supervisor gave them; the oldest last.
fn find_parts(name: &str, state_dir: &Path) -> Vec<ProcessId> {
    let mut wanted = format!("\0internal\0{name}\0--state\0").into_bytes();
    wanted.extend_from_slice(state_dir.as_os_str().as_encoded_bytes());
    wanted.push(0);
    let is_it = |pid: u32| {
        let own = fs::metadata(format!("/proc/{pid}"))
            .is_ok_and(|meta| meta.uid() == user::effective_uid());
        own && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(&wanted))
    };
    let mut found: Vec<_> = tree::snapshot()
        .into_iter()
        .filter(|stat| !stat.is_gone() && is_it(stat.pid))
        .collect();
    found.sort_by_key(|stat| std::cmp::Reverse(stat.start_time));
    found
        .into_iter()
        .filter_map(|stat| process::identity(stat.pid))
        .collect()
}

fn listens_on(fd: &OwnedFd, addr: std::net::SocketAddr) -> bool {
    let local = fd
        .try_clone()
        .and_then(|fd| std::net::TcpListener::from(fd).local_addr());
    local.is_ok_and(|local| local.ip() == addr.ip() && (addr.port() == 0 || local == addr))
}

fn fetch() -> Result<(Link, Handed), Error> {
    let found = inherit::listen_fds()?
        .into_iter()
        .find(|inherited| inherited.name == LINK);
    let Some(found) = found else {
        let text = "nothing: only the keeper can start a supervisor".to_owned();
        return Err(Error::Protocol {
            with: "who started this process",
            text,
        });
    };
    Link::fetch(found.fd)
}

fn take_lock(layout: &Layout) -> Result<Lock, Error> {
    let end = Instant::now() + LOCK;
    loop {
        match lock::try_lock(&layout.supervisor_lock()) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(source) => {
                return Err(Error::Lock {
                    process: "supervisor",
                    source,
                });
            }
        }
    }
}

fn read_config(layout: &Layout) -> Result<Config, Error> {
    let path = layout.config();
    // It may hold secrets of services.
    let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
    let bytes = fs::read(&path).map_err(|source| Error::file(&path, "reading it", source))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Config {
        path,
        reason: error.to_string(),
    })
}

fn bind_socket(layout: &Layout) -> Result<UnixListener, Error> {
    let path = layout.supervisor_socket();
    let _ = fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|source| Error::file(&path, "listening on it", source))
}
