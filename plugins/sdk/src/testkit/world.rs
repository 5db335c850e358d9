//! The fake host's world: what a plugin under test can see and change. It must not know any
//! plugin.

use std::collections::{BTreeMap, VecDeque};

use crate::host::{Answer, Instance, Role, State, Traffic};
use crate::{PluginError, Result};

/// Something that happens later, by the fake clock.
pub(crate) type Later = Box<dyn FnOnce(&mut World)>;

/// What the fake host knows.
#[derive(Default)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) asked: BTreeMap<String, String>,
    pub(crate) lines: Vec<String>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) files: BTreeMap<(String, String), FakeFile>,
    pub(crate) kept: BTreeMap<String, String>,
    pub(crate) answers: BTreeMap<String, VecDeque<Result<Answer>>>,
    pub(crate) traffic: BTreeMap<String, Traffic>,
    pub(crate) refusals: BTreeMap<String, PluginError>,
    pub(crate) effects: Vec<String>,
    pub(crate) later: Vec<(u64, Later)>,
}

/// A declared file that must parse as JSON.
pub(crate) struct FakeFile {
    pub(crate) bytes: Option<String>,
    pub(crate) good: Option<String>,
}

impl FakeFile {
    pub(crate) fn problem(&self) -> Option<String> {
        let Some(bytes) = &self.bytes else {
            return Some("the file is missing".into());
        };
        serde_json::from_str::<serde_json::Value>(bytes)
            .err()
            .map(|error| error.to_string())
    }
}

/// A hash that tells texts apart, which is all that a test needs of one.
pub(crate) fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl World {
    /// An active instance with a process, a port and traffic.
    pub fn instance(&mut self, id: &str, state: State) -> &mut Instance {
        let service = id.rsplit_once('-').map_or(id, |(service, _)| service);
        self.instances.entry(id.into()).or_insert_with(|| Instance {
            id: id.into(),
            service: service.into(),
            pid: 4_000,
            port: 20_000,
            role: Role::Active,
            state,
            weight: 10_000,
            generation: 1,
            uptime_ms: 60_000,
        })
    }

    /// Changes the state of an instance that exists.
    pub fn set_state(&mut self, id: &str, state: State) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.state = state;
        }
    }

    /// A declared configuration file and its last good copy. The fake's format is JSON.
    pub fn file(&mut self, id: &str, path: &str, bytes: &str, good: Option<&str>) {
        self.files.insert(
            (id.into(), path.into()),
            FakeFile {
                bytes: Some(bytes.into()),
                good: good.map(Into::into),
            },
        );
    }

    /// What is on disk.
    #[must_use]
    pub fn bytes(&self, id: &str, path: &str) -> Option<&str> {
        self.files.get(&(id.into(), path.into()))?.bytes.as_deref()
    }

    /// Answers to probes of an instance, in order; the last one repeats. A status of 0 means
    /// that no answer came.
    pub fn answers(&mut self, id: &str, statuses: &[u16]) {
        let answers = statuses.iter().map(|status| {
            Ok(Answer {
                status: *status,
                latency_us: 900,
                problem: (*status == 0).then(|| "no answer in time".into()),
            })
        });
        self.answers.insert(id.into(), answers.collect());
    }

    /// Probes of this instance fail to be made, with this error.
    pub fn probe_error(&mut self, id: &str, error: PluginError) {
        self.answers.insert(id.into(), VecDeque::from([Err(error)]));
    }

    /// What the load balancer saw of a target.
    pub fn traffic(&mut self, target: &str, requests: u64, failures: u64, p99_us: u64) {
        let traffic = Traffic {
            window_ms: 2_000,
            requests,
            failures,
            p50_us: p99_us / 2,
            p99_us,
        };
        self.traffic.insert(target.into(), traffic);
    }

    /// The next calls of that name (`restart`, `sleep-ms`, ...) are refused.
    pub fn refuse(&mut self, call: &str, error: PluginError) {
        self.refusals.insert(call.into(), error);
    }

    /// The call's wall clock: sleeping past it is `timed-out`, as with the host.
    pub fn deadline(&mut self, at: u64) {
        self.deadline = Some(at);
    }

    /// The fake clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Something that happens when the fake clock has moved on by `ms`.
    pub fn after(&mut self, ms: u64, what: impl FnOnce(&mut World) + 'static) {
        self.later.push((self.now + ms, Box::new(what)));
    }

    /// What was changed so far, a line a call, such as `restart shop-1 kill`.
    #[must_use]
    pub fn effects(&self) -> &[String] {
        &self.effects
    }

    /// Lines that the plugin logged.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(crate) fn advance(&mut self, to: u64) {
        loop {
            let next = self
                .later
                .iter()
                .enumerate()
                .filter(|(_, (at, _))| *at <= to)
                .min_by_key(|(_, (at, _))| *at)
                .map(|(index, _)| index);
            let Some(index) = next else { break };
            let (at, what) = self.later.swap_remove(index);
            self.now = self.now.max(at);
            what(self);
        }
        self.now = self.now.max(to);
    }
}
