//! A host around the healer: a supervisor that remembers operations, plugins written in Rust,
//! journals that the test writes. Everything in a temporary directory.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that falls has failed, as it should"
)]

pub mod clock;
pub mod plugins;
pub mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grace_healer::{Clock, Healer, MachineClock, Options, Timing, start_with};
use grace_journal::{Limits, Writer};
use grace_model::config::{Channel, Config, Healing, Plugins, Proxy, Service};
use grace_model::event::{Event, Subject, What};
use grace_model::incident::{Incident, IncidentState};
use grace_model::instance::ExitCause;
use grace_model::layout::Layout;
use grace_model::port::{HostViews, PluginHost, Story};

use plugins::FakePlugins;
use supervisor::FakeSupervisor;

/// Long enough for a machine with other things to do.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The place where a healer lives.
pub struct Scene {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub config: Config,
    pub supervisor: FakeSupervisor,
    pub plugins: Arc<FakePlugins>,
    pub timing: Timing,
    pub clock: Arc<dyn Clock>,
    pub builtin: Vec<(String, String)>,
    journal: Writer,
}

impl Scene {
    /// A service `shop` with two ready instances, no plugins, no playbooks.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("state"));
        for path in [
            layout.run(),
            layout.journal("supervisor"),
            dir.path().join("playbooks"),
        ] {
            std::fs::create_dir_all(path).unwrap();
        }
        let config = config(dir.path(), &layout);
        let supervisor = FakeSupervisor::start(layout.supervisor_socket(), &["shop-1", "shop-2"]);
        let journal = Writer::open(&layout.journal("supervisor"), Limits::default()).unwrap();
        Self {
            layout,
            config,
            supervisor,
            plugins: Arc::new(FakePlugins::default()),
            timing: Timing::default(),
            clock: Arc::new(MachineClock::new()),
            builtin: Vec::new(),
            journal,
            dir,
        }
    }

    /// Puts a playbook into the operator's directory.
    pub fn playbook(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join("playbooks").join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A file beside the state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a healer.
    pub fn start(&self) -> Running {
        let options = Options {
            clock: Arc::clone(&self.clock),
            timing: self.timing,
        };
        let plugins = Arc::clone(&self.plugins) as Arc<dyn PluginHost>;
        let healer = start_with(
            self.config.clone(),
            self.layout.clone(),
            plugins,
            &self.builtin,
            options,
        )
        .unwrap();
        Running::of(healer)
    }

    /// Journals an event of the supervisor.
    pub fn tell(&mut self, what: What) {
        let at = MachineClock::new().wall_ms();
        self.journal.append(&Event { at, what }).unwrap();
    }

    /// An instance died by a signal.
    pub fn dies(&mut self, instance: &str, signal: i32) {
        self.tell(What::Exited {
            subject: subject(instance),
            pid: 4_242,
            cause: ExitCause::Signal(signal),
            uptime_ms: 1_234,
            tail: String::new(),
            wanted: false,
        });
    }

    /// An instance answered with errors.
    pub fn errs(&mut self, instance: &str) {
        self.tell(What::Traffic {
            subject: subject(instance),
            window_ms: 250,
            requests: 10,
            errors: 10,
            unanswered: 0,
            p50_us: 1,
            p99_us: 2,
            inflight: 0,
        });
    }
}

/// Generation 1 of an instance of `shop`.
pub fn subject(instance: &str) -> Subject {
    Subject {
        instance: instance.into(),
        service: "shop".into(),
        generation: 1,
    }
}

fn config(dir: &Path, layout: &Layout) -> Config {
    let service = Service::new("shop".into(), vec!["true".into()], dir.to_owned());
    let healing = Healing {
        dir: dir.join("playbooks"),
        tick_ms: 10,
        sample_ms: 20,
        ..Healing::default()
    };
    Config {
        state_dir: layout.root().to_owned(),
        services: vec![service],
        plugins: Plugins::default(),
        healing,
        proxy: Proxy::default(),
        notify: [("people".to_owned(), Channel::File(dir.join("people.jsonl")))].into(),
        metrics: Default::default(),
    }
}

/// A healer that runs until it is dropped.
pub struct Running {
    pub views: Arc<dyn HostViews>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn of(healer: Healer) -> Self {
        let views = healer.views();
        let stop = Arc::new(AtomicBool::new(false));
        let shutdown = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            healer
                .run_until_shutdown(|| shutdown.load(Ordering::Acquire))
                .unwrap();
        });
        Self {
            views,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits for an incident that is as asked.
    pub fn incident(&self, what: &str, wanted: impl Fn(&Incident) -> bool) -> Incident {
        let mut found = None;
        until(what, || {
            found = self.views.incidents().into_iter().find(&wanted);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until an incident is in a state.
    pub fn becomes(&self, id: &str, state: IncidentState) -> Incident {
        self.incident(&format!("{id} {}", state.word()), |i| {
            i.id.as_str() == id && i.state == state
        })
    }

    pub fn story(&self, id: &str) -> Story {
        self.views.story(id).unwrap()
    }

    /// The kinds of a story's entries; arrows with where they lead.
    pub fn kinds(&self, id: &str) -> Vec<String> {
        let words = |e: &grace_model::port::StoryEntry| match e.kind.as_str() {
            "incident" => e.body["to"].as_str().unwrap().to_owned(),
            kind => kind.to_owned(),
        };
        self.story(id).entries.iter().map(words).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
