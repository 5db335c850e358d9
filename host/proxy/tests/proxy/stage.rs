//! The stage of a test: a state directory, a proxy on it, its supervisor and its workers.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grace_journal::{Cursor, Entry, Reader};
use grace_model::config::Proxy;
use grace_model::event::What;
use grace_model::instance::{ExitCause, State};
use grace_model::ipc::{Answer, Request, Table, TableInstance, TableProbe, TableService};
use grace_model::layout::Layout;
use grace_proxy::{End, Listener, ProxyError};

use crate::client::{self, Client};
use crate::supervisor::Supervisor;
use crate::worker::Worker;

/// The longest a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stage.
pub struct Stage {
    pub addr: SocketAddr,
    pub supervisor: Supervisor,
    pub workers: Vec<Worker>,
    pub table: Table,
    stop: Option<tokio::sync::oneshot::Sender<End>>,
    proxy: Option<JoinHandle<Result<(), ProxyError>>>,
    /// Last, so that it is removed when nobody needs it any more.
    dir: tempfile::TempDir,
}

/// Settings short enough for tests; mechanisms are the same.
pub fn settings() -> Proxy {
    Proxy {
        threads: 1,
        ..Proxy::default()
    }
}

impl Stage {
    /// So many workers, all ready, behind a proxy that has its table.
    pub fn new(workers: usize) -> Self {
        Self::with(workers, |_| {})
    }

    /// The same with other settings or another table.
    pub fn with(workers: usize, change: impl FnOnce(&mut Table)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.run()).unwrap();
        let workers: Vec<Worker> = (1..=workers)
            .map(|number| Worker::start(&format!("shop-{number}")))
            .collect();
        let instances = workers
            .iter()
            .zip(1..)
            .map(|(worker, number)| TableInstance {
                id: format!("shop-{number}").into(),
                generation: 1,
                addr: Some(worker.addr),
                unix: None,
                process: Some(worker.process.clone()),
                state: State::Ready,
                fenced: false,
                weight: 10_000,
                leave: 0,
            })
            .collect();
        let mut table = Table {
            version: 1,
            services: vec![TableService {
                name: "shop".into(),
                probe: None,
                front: Default::default(),
                record: Default::default(),
                instances,
            }],
            proxy: settings(),
        };
        change(&mut table);

        let supervisor = Supervisor::start(&layout.supervisor_socket());
        supervisor.publish(table.clone());
        let count = usize::try_from(table.proxy.threads).unwrap();
        let listeners =
            grace_os::listen::bind_exclusive_then_reuseport("127.0.0.1:0".parse().unwrap(), count)
                .unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let listeners = listeners
            .into_iter()
            .enumerate()
            .map(|(number, fd)| Listener {
                service: "shop".into(),
                number,
                fd: fd.into(),
            })
            .collect();
        let mut stage = Self {
            dir,
            addr,
            supervisor,
            workers,
            table,
            stop: None,
            proxy: None,
        };
        stage.start(listeners);
        stage.until("the first table", |stage| {
            stage.stats()["table_version"] == 1
        });
        stage
    }

    /// Starts a proxy with these listeners.
    pub fn start(&mut self, listeners: Vec<Listener>) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<End>();
        let (layout, settings) = (self.layout(), self.table.proxy.clone());
        self.stop = Some(stop);
        self.proxy = Some(std::thread::spawn(move || {
            grace_proxy::serve(&layout, &settings, listeners, async {
                stopped.await.unwrap_or(End::Now)
            })
        }));
    }

    /// Ends the proxy in order.
    pub fn end(&mut self) {
        drop(self.stop.take());
        if let Some(proxy) = self.proxy.take() {
            proxy.join().unwrap().unwrap();
        }
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.dir.path())
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn get(&self, path: &str) -> client::Answer {
        client::get(self.addr, path)
    }

    /// Changes the table, sends it, and waits until the proxy goes by it.
    pub fn change(&mut self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table);
        self.table.version += 1;
        self.supervisor.publish(self.table.clone());
        let version = self.table.version;
        self.until("the new table", |stage| {
            stage.stats()["table_version"] == version
        });
    }

    /// An instance's line in the table.
    pub fn line(table: &mut Table, number: usize) -> &mut TableInstance {
        &mut table.services[0].instances[number - 1]
    }

    /// Tells the proxy of a death, as the supervisor does.
    pub fn tell_death(&self, number: usize, cause: ExitCause) {
        let id = format!("shop-{number}");
        let mut lines = self.table.services[0].instances.iter();
        let line = lines.find(|line| line.id.as_str() == id).unwrap();
        self.supervisor.say(&Answer::Death {
            instance: line.id.clone(),
            generation: line.generation,
            cause,
        });
    }

    /// The proxy's numbers.
    pub fn stats(&self) -> serde_json::Value {
        use std::io::{BufRead, BufReader, Write};
        let end = Instant::now() + PATIENCE;
        loop {
            let path = self.layout().proxy_socket();
            let Ok(mut stream) = std::os::unix::net::UnixStream::connect(&path) else {
                assert!(Instant::now() < end, "the proxy's socket did not come up");
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            stream.write_all(b"stats\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            return serde_json::from_str(&line).unwrap();
        }
    }

    /// What the numbers say of an instance.
    pub fn flag(&self, number: usize, flag: &str) -> bool {
        let stats = self.stats();
        let id = format!("shop-{number}");
        let instances = stats["instances"].as_array().unwrap();
        instances
            .iter()
            .any(|it| it["instance"] == *id && it[flag] == true)
    }

    pub fn total(&self, name: &str) -> u64 {
        self.stats()["totals"][name].as_u64().unwrap()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "still waiting for: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the supervisor has heard something.
    pub fn until_heard(&self, what: &str, is_it: impl Fn(&Request) -> bool) {
        self.until(what, |stage| stage.supervisor.heard().iter().any(&is_it));
    }

    /// What the proxy has journalled.
    pub fn journal(&self) -> Vec<What> {
        let mut reader = Reader::open(&self.layout().journal("proxy"), Cursor::START);
        let entries = reader.read(100_000).unwrap();
        entries
            .into_iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Event(event) => Some(event.what),
                _ => None,
            })
            .collect()
    }

    /// Waits until the journal has something.
    pub fn until_journalled(&self, what: &str, is_it: impl Fn(&What) -> bool) -> What {
        let mut found = None;
        self.until(what, |stage| {
            found = stage.journal().into_iter().find(&is_it);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(proxy) = self.proxy.take() {
            let _ = proxy.join();
        }
    }
}

/// An HTTP probe quick enough for tests.
pub fn probe() -> TableProbe {
    TableProbe {
        http: Some("/healthz".into()),
        start_interval_ms: 10,
        interval_ms: 50,
        timeout_ms: 2_000,
        failures: 2,
    }
}
