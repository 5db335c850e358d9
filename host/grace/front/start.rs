//! Beginning a host: one front a state directory, sockets bound before anything is started, and
//! what still runs of a host whose keeper and supervisor are dead taken over, not bound anew.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use grace_model::config::{Config, Service};
use grace_model::layout::Layout;
use grace_os::lock::{self, Lock, LockError};
use grace_os::{file, listen};
use grace_supervisor::keeper;
use grace_supervisor::program::Chosen;

use crate::problem::{OrProblem, Problem};
use crate::supervisor::Alive;
use crate::{show, state};

/// The front's claim on a state directory. Its file stays when a front is killed, which is how
/// the next one knows; it is removed when a front ends or lets go.
#[derive(Debug)]
pub struct Mark {
    layout: Layout,
    /// A front was here and did not say goodbye.
    orphaned: bool,
    _lock: Lock,
}

impl Mark {
    /// The front ends, or lets the host run without one.
    pub fn remove(&self) {
        let _ = fs::remove_file(self.layout.front_lock());
    }

    /// Whether somebody else removed it: `grace down` does, before it ends the host.
    pub fn is_gone(&self) -> bool {
        !self.layout.front_lock().exists()
    }
}

/// How a front finds its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// It runs, and its front was killed.
    Attach,
    /// It must be started; perhaps parts of it still run.
    Begin,
}

/// Prepares the state directory and claims it. Refused while another front has it.
pub fn claim(layout: &Layout) -> Result<Mark, Problem> {
    state::prepare(layout)?;
    let orphaned = layout.front_lock().exists();
    match lock::try_lock(&layout.front_lock()) {
        Ok(lock) => Ok(Mark {
            layout: layout.clone(),
            orphaned,
            _lock: lock,
        }),
        Err(LockError::Held { pid, .. }) => Err(running(layout, pid)),
        Err(LockError::Os(error)) => Err(error.into()),
    }
}

/// Looks at what runs.
pub fn situation(layout: &Layout, mark: &Mark) -> Result<Situation, Problem> {
    let alive = Alive::look(layout);
    match (alive.any(), mark.orphaned) {
        (false, _) => Ok(Situation::Begin),
        (true, true) => Ok(Situation::Attach),
        (true, false) => {
            // The file is ours, and this host has no front.
            mark.remove();
            Err(running(layout, alive.supervisor.or(alive.keeper)))
        }
    }
}

fn running(layout: &Layout, pid: Option<u32>) -> Problem {
    let pid = pid.map_or(String::new(), |pid| format!(", pid {pid}"));
    Problem::new(
        format!(
            "a host is already running on {}{pid}",
            layout.root().display()
        ),
        "`grace status` shows it, `grace down` ends it; another host needs another state directory",
    )
}

/// Starts the keeper, which starts the rest. Answers with the listening sockets that were taken
/// over from a proxy that still runs.
pub fn begin(layout: &Layout, config: &Config) -> Result<Vec<String>, Problem> {
    state::migrate(layout)?;
    let mut config = config.clone();
    let found = keeper::listeners_of_proxy(layout.root())
        .or_problem("taking over the proxy's sockets", "`grace down` ends it")?;
    let mut listeners: Vec<(String, OwnedFd)> = Vec::new();
    let mut taken: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
    for (name, socket) in found {
        let service = service_of(&name).to_owned();
        taken.entry(service).or_default().push(socket);
    }
    let adopted: Vec<String> = taken.keys().cloned().collect();
    let threads = usize::try_from(config.proxy.threads).unwrap_or(1);
    for service in &mut config.services {
        let Some(wanted) = service.listen else {
            continue;
        };
        let sockets = match taken.remove(service.name.as_str()) {
            Some(sockets) => take_over(service, wanted, sockets)?,
            None => bind(service, wanted, threads)?,
        };
        for (number, socket) in sockets.into_iter().enumerate() {
            listeners.push((format!("listen:{}:{number}", service.name), socket));
        }
    }
    let text = serde_json::to_vec_pretty(&config).or_problem("config.json", "")?;
    file::write_atomic(&layout.config(), &text, 0o600)?;
    if !adopted.is_empty() {
        show::note(&format!(
            "parts of a host still run and are taken over: {}",
            adopted.join(", ")
        ));
    }
    // The host runs what it is started with, whatever an upgrade chose for one that is dead.
    Chosen::forget(layout);
    let exe = std::env::current_exe().or_problem("cannot find this program's file", "")?;
    keeper::start(&exe, layout.root(), listeners)
        .map_err(|error| Problem::new(error.to_string(), with_log(layout)))?;
    Ok(adopted)
}

/// `listen:NAME:N` is of NAME.
fn service_of(name: &str) -> &str {
    name.strip_prefix("listen:")
        .and_then(|rest| rest.rsplit_once(':'))
        .map_or(name, |(name, _)| name)
}

fn bind(
    service: &mut Service,
    wanted: SocketAddr,
    threads: usize,
) -> Result<Vec<OwnedFd>, Problem> {
    let bound = listen::bind_exclusive_then_reuseport(wanted, threads)
        .map_err(|error| Problem::new(format!("service {}: {error}", service.name), ""))?;
    remember(service, bound.first())?;
    Ok(bound.into_iter().map(OwnedFd::from).collect())
}

/// Sockets of a proxy that still serves. A changed address cannot be taken over quietly.
fn take_over(
    service: &mut Service,
    wanted: SocketAddr,
    sockets: Vec<OwnedFd>,
) -> Result<Vec<OwnedFd>, Problem> {
    let sockets: Vec<TcpListener> = sockets.into_iter().map(TcpListener::from).collect();
    let first = sockets.first();
    let bound = first
        .map(TcpListener::local_addr)
        .transpose()
        .or_problem("a socket", "")?;
    if let Some(bound) = bound
        && (bound.ip() != wanted.ip() || (wanted.port() != 0 && bound.port() != wanted.port()))
    {
        return Err(Problem::new(
            format!(
                "service {} now listens on {wanted}, and parts of its host still serve {bound}",
                service.name
            ),
            "`grace down` ends them; then `grace up`",
        ));
    }
    remember(service, first)?;
    Ok(sockets.into_iter().map(OwnedFd::from).collect())
}

/// The address that port 0 became, so that a later supervisor binds the same one again.
fn remember(service: &mut Service, bound: Option<&TcpListener>) -> Result<(), Problem> {
    if let Some(bound) = bound {
        service.listen = Some(bound.local_addr().or_problem("a socket's address", "")?);
    }
    Ok(())
}

/// Where to read more.
pub fn with_log(layout: &Layout) -> String {
    format!("see {}", layout.logs().join("grace.log").display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn service() -> Service {
        Service::new("shop".into(), vec!["true".into()], "/".into())
    }

    #[test]
    fn a_second_front_is_refused_by_pid_and_a_killed_one_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("s"));
        let mark = claim(&layout).unwrap();
        assert!(!mark.orphaned);
        let second = claim(&layout).unwrap_err();
        assert!(
            second.what().contains(&std::process::id().to_string()),
            "{second}"
        );
        assert!(second.remedy().contains("grace down"), "{second}");
        assert_eq!(situation(&layout, &mark).unwrap(), Situation::Begin);
        // Dropped without a goodbye, as by `kill -9`.
        drop(mark);
        let next = claim(&layout).unwrap();
        assert!(next.orphaned);
        next.remove();
        assert!(next.is_gone());
    }

    #[test]
    fn a_host_without_a_front_is_refused_and_one_whose_front_was_killed_is_attached() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("s"));
        let mark = claim(&layout).unwrap();
        let _supervisor = lock::try_lock(&layout.supervisor_lock()).unwrap();
        let refused = situation(&layout, &mark).unwrap_err();
        assert!(refused.what().contains("already running"), "{refused}");
        assert!(mark.is_gone());
        drop(mark);
        // A front that was killed leaves its file.
        drop(claim(&layout).unwrap());
        let mark = claim(&layout).unwrap();
        assert_eq!(situation(&layout, &mark).unwrap(), Situation::Attach);
    }

    #[test]
    fn a_port_taken_is_told_with_address_and_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let problem = bind(&mut service(), addr, 2).unwrap_err();
        for part in [
            "shop",
            &addr.to_string(),
            &format!("pid {}", std::process::id()),
        ] {
            assert!(problem.what().contains(part), "{part}: {problem}");
        }
    }

    #[test]
    fn port_zero_becomes_the_port_that_was_bound() {
        let mut service = service();
        let sockets = bind(&mut service, "127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(sockets.len(), 2);
        let bound = service.listen.unwrap();
        assert_ne!(bound.port(), 0);
        // The same sockets are taken over for port 0 and for that port, and for no other.
        let again = take_over(&mut service, "127.0.0.1:0".parse().unwrap(), sockets).unwrap();
        let again = take_over(&mut service, bound, again).unwrap();
        let other = SocketAddr::new(bound.ip(), bound.port().wrapping_add(1).max(1));
        let problem = take_over(&mut service, other, again).unwrap_err();
        assert!(problem.remedy().contains("grace down"), "{problem}");
    }

    #[test]
    fn a_listener_is_of_the_service_in_its_name() {
        assert_eq!(service_of("listen:my-shop:12"), "my-shop");
        assert_eq!(service_of("other"), "other");
        assert!(Path::new("/").exists());
    }
}
