//! One host under test: made, started, asked, harmed, ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grace_journal::{Cursor, Entry, Reader};
use grace_model::command::{Command, Outcome};
use grace_model::config::{Config, Healing, Plugins, Proxy, Ready, Service, Socket};
use grace_model::event::What;
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::{InstanceView, State};
use grace_model::ipc::{Answer, FleetStatus, Request};
use grace_model::layout::Layout;
use grace_os::{Signal, pidfd, process, tree};

/// Longer than anything takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Host {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub services: Vec<Service>,
}

/// The program in `fixture/`.
pub fn fixture() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join("supervisor-fixture")
}

/// A service of a worker with this habit, ready at once.
pub fn service(name: &str, habit: &[&str]) -> Service {
    let mut command = vec![fixture().display().to_string(), "worker".to_owned()];
    command.extend(habit.iter().map(|word| (*word).to_owned()));
    with_command(name, command)
}

pub fn with_command(name: &str, command: Vec<String>) -> Service {
    let mut service = Service::new(ServiceName::from(name), command, PathBuf::from("/"));
    service.ready = Ready::Process;
    service.socket = Socket::None;
    // Root's own programs may lie where nobody else can go.
    service.user = grace_os::user::is_root().then(|| "root".to_owned());
    service
}

impl Host {
    pub fn new(services: Vec<Service>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        let host = Self {
            dir,
            layout: Layout::new(&state),
            services,
        };
        host.write_config();
        host
    }

    pub fn with_parts(self, parts: &str) -> Self {
        fs::write(self.layout.root().join("fixture-parts"), parts).unwrap();
        self
    }

    pub fn write_config(&self) {
        let config = Config {
            state_dir: self.layout.root().to_owned(),
            services: self.services.clone(),
            plugins: Plugins::default(),
            healing: Healing::default(),
            proxy: Proxy::default(),
            notify: BTreeMap::new(),
            metrics: Default::default(),
        };
        fs::write(self.layout.config(), serde_json::to_vec(&config).unwrap()).unwrap();
    }

    pub fn up(&self) -> u32 {
        let started = grace_supervisor::keeper::start(&fixture(), self.layout.root(), Vec::new());
        started.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.layout.logs().join("grace.log")).unwrap_or_default()
    }

    pub fn ask(&self, request: &Request) -> Option<Answer> {
        let mut stream = UnixStream::connect(self.layout.supervisor_socket()).ok()?;
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        stream.write_all(&line).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    pub fn status(&self) -> Option<FleetStatus> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Some(status),
            other => panic!("{other:?}"),
        }
    }

    /// Asks until the answer is there.
    pub fn command(&self, op: &str, command: Command) -> Outcome {
        let request = Request::Command {
            op: OpId::from(op),
            command,
        };
        match until("an outcome", || self.ask(&request)) {
            Answer::Reply { op: of, outcome } => {
                assert_eq!(of.as_str(), op);
                outcome
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn await_status<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&FleetStatus) -> Option<T>,
    ) -> T {
        let end = Instant::now() + LONG;
        let mut last = None;
        while Instant::now() < end {
            if let Some(status) = self.status() {
                if let Some(found) = look(&status) {
                    return found;
                }
                last = Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("waited in vain for {what}: {last:#?}\n{}", self.log());
    }

    /// The instance, once it is in this state.
    pub fn await_state(&self, id: &str, state: State) -> InstanceView {
        self.await_status(&format!("{id} {}", state.word()), |status| {
            status
                .instances
                .iter()
                .find(|it| it.id.as_str() == id && it.state == state)
                .cloned()
        })
    }

    pub fn await_ready(&self, id: &str) -> InstanceView {
        self.await_state(id, State::Ready)
    }

    pub fn pid_of(&self, name: &str) -> u32 {
        self.await_status(name, |status| {
            status
                .processes
                .iter()
                .find(|it| it.name == name && it.pid != 0)
                .map(|it| it.pid)
        })
    }

    /// Another process under this name than `old`.
    pub fn await_other(&self, name: &str, old: u32) -> u32 {
        self.await_status(&format!("another {name}"), |status| {
            let found = status.processes.iter().find(|it| it.name == name)?;
            (found.pid != 0 && found.pid != old).then_some(found.pid)
        })
    }

    pub fn events(&self) -> Vec<What> {
        let mut reader = Reader::open(&self.layout.journal("supervisor"), Cursor::START);
        let mut all = Vec::new();
        loop {
            let entries = reader.read(256).unwrap();
            if entries.is_empty() {
                return all;
            }
            for (_, entry) in entries {
                match entry {
                    Entry::Event(event) => all.push(event.what),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    pub fn await_event<T>(&self, what: &str, look: impl Fn(&What) -> Option<T>) -> T {
        until_or(
            &format!("event {what}"),
            || self.log(),
            || self.events().iter().find_map(&look),
        )
    }

    pub fn data(&self, id: &str) -> PathBuf {
        self.layout.data(&InstanceId::from(id))
    }

    /// Everything that this host has started and that still lives.
    pub fn remains(&self) -> Vec<u32> {
        let state = self.layout.root().display().to_string();
        let me = std::process::id();
        let ours = |pid: u32| {
            process::environ_value(pid, "GRACE_DATA").is_some_and(|data| data.starts_with(&state))
                || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                    String::from_utf8_lossy(&line).contains(&format!("--state\0{state}\0"))
                })
        };
        let all = tree::snapshot();
        let alive = all.iter().filter(|stat| !stat.is_gone() && stat.pid != me);
        alive
            .map(|stat| stat.pid)
            .filter(|pid| ours(*pid))
            .collect()
    }

    pub fn down(&self) {
        let answer = self.ask(&Request::Shutdown);
        assert!(
            matches!(answer, Some(Answer::Reply { .. })),
            "{answer:?}\n{}",
            self.log()
        );
        until_or(
            "the end of everything",
            || self.log(),
            || self.remains().is_empty().then_some(()),
        );
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // First those that would start others again.
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let remains = self.remains();
            if remains.is_empty() {
                break;
            }
            remains.into_iter().for_each(kill);
        }
        // What was killed has left its control groups, and nobody comes back to sweep them.
        let text = fs::read(self.layout.run().join("cgroups.json")).unwrap_or_default();
        let tops: Vec<PathBuf> = serde_json::from_slice(&text).unwrap_or_default();
        for top in tops {
            while top.is_dir() && Instant::now() < end {
                for inside in fs::read_dir(&top).into_iter().flatten().flatten() {
                    let _ = fs::remove_dir(inside.path());
                }
                let _ = fs::remove_dir(&top);
            }
        }
    }
}

pub fn kill(pid: u32) {
    signal(pid, Signal::Kill);
}

pub fn signal(pid: u32, signal: Signal) {
    if let Ok(handle) = pidfd::open(pid) {
        let _ = pidfd::send_signal(handle, signal);
    }
}

/// Kills, and returns when it is dead.
pub fn kill_now(pid: u32) {
    let Ok(handle) = pidfd::open(pid) else { return };
    let _ = pidfd::send_signal(&handle, Signal::Kill);
    assert!(pidfd::wait_dead(&handle, LONG).unwrap());
}

pub fn is_alive(pid: u32) -> bool {
    process::stat(pid).is_some_and(|stat| !stat.is_gone())
}

pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or(what, String::new, look)
}

pub fn until_or<T>(what: &str, log: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}\n{}", log());
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
