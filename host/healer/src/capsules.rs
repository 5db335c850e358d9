//! The kernel `capsules`: what the proxy recorded of a failure, with how the process ended, what
//! ran and where, becomes one file. It decides nothing about the failure and goes on where the
//! last healer was killed: a recording goes only when its capsule is on the disk.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grace_capsule::{
    Build, Capsule, Exit, Form, HostFacts, Kind, Recording, Redactor, Snapshot, Store, Why, take,
};
use grace_journal::{Cursor, Entry, Reader};
use grace_model::config::Service;
use grace_model::event::What;
use grace_model::id::InstanceId;
use grace_model::layout::Layout;

use crate::clock::Clock;
use crate::kernel::Pulse;

/// Time between two looks for recordings.
const EVERY: Duration = Duration::from_millis(200);
/// How long the end of a process is waited for before its capsule is made without.
const PATIENCE_MS: u64 = 10_000;
/// Events read at once.
const MOST: usize = 2_000;
/// Ends that are remembered: those of a host whose instances all die again and again.
const ENDS: usize = 2_048;
/// Capsules of one instance in [`SPELL_MS`]: one that dies at every start says the same again.
const SPELL: usize = 5;
const SPELL_MS: u64 = 60_000;
/// Bytes of output, as an exit has.
const TAIL: u64 = 4 * 1024;
/// Time between two looks for capsules whose time is over.
const PRUNE_MS: u64 = 10_000;

/// Makes capsules.
pub struct Maker {
    services: Vec<Service>,
    layout: Layout,
    store: Store,
    clock: Arc<dyn Clock>,
    reader: Reader,
    ends: HashMap<(InstanceId, u64), End>,
    /// The process that an instance has now.
    running: HashMap<InstanceId, u64>,
    /// When a recording was first seen, by its file.
    seen: HashMap<PathBuf, u64>,
    made: Vec<(InstanceId, u64)>,
    programs: HashMap<PathBuf, (fs::Metadata, String)>,
    pruned_ms: u64,
}

/// How a process ended.
#[derive(Debug, Clone)]
struct End {
    exit: Exit,
    tail: String,
    wanted: bool,
}

impl Maker {
    /// For these services.
    #[must_use]
    pub fn new(services: &[Service], layout: &Layout, clock: Arc<dyn Clock>) -> Self {
        Self {
            services: services.to_vec(),
            store: Store::at(layout.capsules()),
            reader: Reader::open(&layout.journal("supervisor"), Cursor::default()),
            layout: layout.clone(),
            clock,
            ends: HashMap::new(),
            running: HashMap::new(),
            seen: HashMap::new(),
            made: Vec::new(),
            programs: HashMap::new(),
            pruned_ms: 0,
        }
    }

    /// Works until it is told to stop.
    pub fn live(&mut self, pulse: &Pulse) {
        while !pulse.stopping() {
            let made = self.round();
            if made > 0 {
                pulse.worked(made);
            }
            pulse.rest(EVERY);
        }
    }

    /// One look; gives how many capsules were made.
    pub fn round(&mut self) -> u64 {
        self.read_events();
        let mut made = 0;
        for file in self.recordings() {
            made += u64::from(self.take(&file));
        }
        let now = self.clock.steady_ms();
        if now.saturating_sub(self.pruned_ms) >= PRUNE_MS {
            self.pruned_ms = now;
            self.prune();
        }
        made
    }

    fn recordings(&self) -> Vec<PathBuf> {
        let inside = fs::read_dir(self.layout.recordings()).into_iter().flatten();
        let mut files: Vec<PathBuf> = inside
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == "json"))
            .collect();
        files.sort_unstable();
        files
    }

    /// What becomes of one recording; whether it became a capsule.
    fn take(&mut self, file: &Path) -> bool {
        let now = self.clock.steady_ms();
        let first = *self.seen.entry(file.to_owned()).or_insert(now);
        let read = fs::read(file).map_err(|error| error.to_string());
        let recording: Recording = match read
            .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        {
            Ok(recording) => recording,
            Err(cause) => {
                tracing::error!(file = %file.display(), cause, "a recording cannot be read and is lost");
                self.forget(file);
                return false;
            }
        };
        let subject = &recording.subject;
        let key = (subject.instance.clone(), subject.generation);
        let end = self.ends.get(&key).cloned();
        let waits = recording.why == Why::Died && end.is_none();
        if waits && now.saturating_sub(first) < PATIENCE_MS {
            return false;
        }
        // What Grace itself ended is no failure.
        if recording.why == Why::Died && end.as_ref().is_some_and(|end| end.wanted) {
            self.forget(file);
            return false;
        }
        self.made
            .retain(|(_, at)| now.saturating_sub(*at) < SPELL_MS);
        let lately = self.made.iter().filter(|(id, _)| *id == subject.instance);
        if lately.count() >= SPELL {
            tracing::warn!(instance = %subject.instance, "fails again and again; no more capsules of it for now");
            self.forget(file);
            return false;
        }
        match self.make(&recording, end) {
            Ok(id) => {
                tracing::info!(instance = %subject.instance, capsule = id, "a capsule was made");
                self.made.push((subject.instance.clone(), now));
                self.forget(file);
                true
            }
            Err(cause) => {
                // The recording stays: there may be room again.
                tracing::error!(instance = %subject.instance, cause, "a capsule could not be made yet");
                false
            }
        }
    }

    fn forget(&mut self, file: &Path) {
        self.seen.remove(file);
        let _ = fs::remove_file(file);
    }

    fn make(&mut self, recording: &Recording, end: Option<End>) -> Result<String, String> {
        let subject = &recording.subject;
        let service = self.services.iter().find(|it| it.name == subject.service);
        let service = service
            .cloned()
            .ok_or_else(|| format!("there is no service {} any more", subject.service))?;
        let kind = match recording.why {
            Why::Died => end
                .as_ref()
                .map_or(Kind::Crash, |end| Kind::of(&end.exit.cause)),
            Why::Silent => Kind::Hang,
            Why::Errors => Kind::ErrorBurst,
        };
        let (exit, output) = match end {
            Some(end) if recording.why == Why::Died => (Some(end.exit), end.tail),
            _ => (None, tail(&self.layout.log(&subject.instance))),
        };
        let capsule = Capsule {
            form: Form::Raw,
            made_from: None,
            kind,
            made_at: recording.at,
            service: subject.service.clone(),
            instance: subject.instance.clone(),
            generation: subject.generation,
            build: self.build(&service),
            exit,
            output,
            env: service.env.clone(),
            host: host_facts(),
            snapshot: self.snapshot(recording, &service),
            coverage: recording.coverage.clone(),
            requests: recording.requests.clone(),
            minimised: None,
        };
        let capsule = if service.record.redact.at_rest {
            let redactor =
                Redactor::new(&service.record.redact).map_err(|error| error.to_string())?;
            redactor.capsule(&capsule, "never stored")
        } else {
            capsule
        };
        let id = self
            .store
            .add(&capsule)
            .map_err(|error| error.to_string())?;
        Ok(id.name())
    }

    fn snapshot(&mut self, recording: &Recording, service: &Service) -> Option<Snapshot> {
        let subject = &recording.subject;
        let (from, to) = (self.layout.data(&subject.instance), self.layout.snapshots());
        let limit = service.record.snapshot_bytes;
        let taken = take(&from, &to, limit, false);
        // Whether its next process has been started by now.
        self.read_events();
        let next = self.running.get(&subject.instance).copied();
        let while_running =
            recording.why != Why::Died || next.is_some_and(|next| next > subject.generation);
        match taken {
            Ok(snapshot) => Some(Snapshot {
                while_running,
                ..snapshot
            }),
            Err(error) => {
                tracing::warn!(instance = %subject.instance, %error, "a capsule without a snapshot");
                None
            }
        }
    }

    fn build(&mut self, service: &Service) -> Build {
        let program = service.command.first().map(PathBuf::from);
        let program = program
            .map(|it| service.work_dir.join(it))
            .unwrap_or_default();
        let config = serde_json::to_vec(service).unwrap_or_default();
        Build {
            command: service.command.clone(),
            program_hash: self.hash(&program).unwrap_or_default(),
            program: program.display().to_string(),
            config_hash: blake3::hash(&config).to_hex().to_string(),
        }
    }

    /// The hash of a program, which is read again only when its file has changed.
    fn hash(&mut self, program: &Path) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(program).ok()?;
        let same = |old: &fs::Metadata| {
            let key = |it: &fs::Metadata| (it.ino(), it.len(), it.mtime(), it.mtime_nsec());
            key(old) == key(&meta)
        };
        if let Some((old, hash)) = self.programs.get(program)
            && same(old)
        {
            return Some(hash.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs::File::open(program).ok()?).ok()?;
        let hash = hasher.finalize().to_hex().to_string();
        self.programs
            .insert(program.to_owned(), (meta, hash.clone()));
        Some(hash)
    }

    fn read_events(&mut self) {
        loop {
            let Ok(entries) = self.reader.read(MOST) else {
                return;
            };
            if entries.is_empty() {
                return;
            }
            for (_, entry) in entries {
                let Entry::Event(event) = entry else { continue };
                match event.what {
                    What::Exited {
                        subject,
                        cause,
                        uptime_ms,
                        tail,
                        wanted,
                        ..
                    } => {
                        if self.ends.len() >= ENDS {
                            // By then their recordings have long become capsules.
                            self.ends.clear();
                        }
                        let exit = Exit { cause, uptime_ms };
                        let end = End { exit, tail, wanted };
                        self.ends
                            .insert((subject.instance, subject.generation), end);
                    }
                    What::Spawned { subject, .. } => {
                        self.running.insert(subject.instance, subject.generation);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lets capsules go whose time is over, and snapshots that no capsule refers to.
    fn prune(&self) {
        let now = self.clock.wall_ms();
        for service in &self.services {
            let (keep_ms, keep) = (service.record.keep_ms, service.record.keep);
            for id in self.store.prune(&service.name, keep_ms, keep, now) {
                tracing::info!(capsule = %id, "a capsule's time is over");
            }
        }
        let (all, unreadable) = self.store.list();
        if !unreadable.is_empty() {
            // Which snapshots they refer to nobody knows.
            return;
        }
        for entry in fs::read_dir(self.layout.snapshots())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let used = |it: &grace_capsule::Entry| {
                let snapshot = it.capsule.snapshot.as_ref();
                snapshot.is_some_and(|it| name == *it.id)
            };
            if !all.iter().any(used) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The last bytes of a log, whole lines.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn host_facts() -> HostFacts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    HostFacts {
        arch: std::env::consts::ARCH.to_owned(),
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_bytes: kib.unwrap_or(0).saturating_mul(1024),
        grace: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
