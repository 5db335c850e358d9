//! A supervisor that keeps its word: the same operation id again has no second effect.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use grace_model::command::{Command, Outcome};
use grace_model::instance::{InstanceView, Role, State};
use grace_model::ipc::{Answer, FleetStatus, Request, ServiceView};

/// The supervisor of a test.
pub struct FakeSupervisor {
    path: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    instances: Vec<InstanceView>,
    done: BTreeMap<String, Outcome>,
    /// Operation ids in the order in which they came, repetitions too.
    asked: Vec<String>,
    /// Operation ids that had an effect.
    effects: Vec<String>,
    /// Connections that end without an answer, so many.
    deaf: u32,
}

impl FakeSupervisor {
    pub fn start(path: PathBuf, instances: &[&str]) -> Self {
        let instances = instances.iter().map(|id| view(id)).collect();
        let known = Mutex::new(Known {
            instances,
            ..Known::default()
        });
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            known,
        });
        let listener = UnixListener::bind(&path).unwrap();
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stop.load(Ordering::Acquire) {
                    return;
                }
                let (stream, own) = (stream.unwrap(), Arc::clone(&own));
                std::thread::spawn(move || serve(&own, stream));
            }
        });
        Self { path, shared }
    }

    /// The next connections with a command end without an answer: it is being restarted.
    pub fn is_away_for(&self, commands: u32) {
        self.known().deaf = commands;
    }

    pub fn set_state(&self, id: &str, state: State) {
        for view in &mut self.known().instances {
            if view.id.as_str() == id {
                view.state = state;
            }
        }
    }

    pub fn asked(&self) -> Vec<String> {
        self.known().asked.clone()
    }

    pub fn effects(&self) -> Vec<String> {
        self.known().effects.clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap()
    }
}

impl Drop for FakeSupervisor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _wakes_the_listener = UnixStream::connect(&self.path);
    }
}

fn serve(shared: &Shared, stream: UnixStream) {
    let mut answers = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str(&line).unwrap() {
            Request::Status => Some(Answer::Status(status(&shared.known.lock().unwrap()))),
            Request::Command { op, command } => {
                let outcome = carry_out(&mut shared.known.lock().unwrap(), &op.0, &command);
                outcome.map(|outcome| Answer::Reply { op, outcome })
            }
            other => panic!("the healer asks {other:?}"),
        };
        let Some(answer) = answer else { return };
        let mut line = serde_json::to_vec(&answer).unwrap();
        line.push(b'\n');
        if answers.write_all(&line).is_err() {
            return;
        }
    }
}

/// None: it dies before the answer, but after the effect.
fn carry_out(known: &mut Known, op: &str, command: &Command) -> Option<Outcome> {
    known.asked.push(op.to_owned());
    if !known.done.contains_key(op) {
        let instance = match command {
            Command::Restart { instance, .. } => instance,
            Command::Release { .. } => {
                known.effects.push(op.to_owned());
                let done = Outcome::Done { number: 0 };
                known.done.insert(op.to_owned(), done.clone());
                return Some(done);
            }
            other => panic!("asked {other:?}"),
        };
        let view = known.instances.iter_mut().find(|view| view.id == *instance);
        let outcome = match view {
            Some(view) => {
                view.generation += 1;
                view.state = State::Ready;
                let number = view.generation;
                known.effects.push(op.to_owned());
                Outcome::Done { number }
            }
            None => Outcome::Refused {
                unknown_target: true,
                reason: "no such".to_owned(),
            },
        };
        known.done.insert(op.to_owned(), outcome);
    }
    if known.deaf > 0 {
        known.deaf -= 1;
        return None;
    }
    known.done.get(op).cloned()
}

fn status(known: &Known) -> FleetStatus {
    let ready = known
        .instances
        .iter()
        .filter(|view| view.state == State::Ready)
        .count();
    FleetStatus {
        processes: Vec::new(),
        instances: known.instances.clone(),
        services: vec![ServiceView {
            name: "shop".into(),
            listen: None,
            instances: known.instances.len() as u32,
            ready: ready as u32,
        }],
        kernels: Vec::new(),
    }
}

fn view(id: &str) -> InstanceView {
    InstanceView {
        id: id.into(),
        service: "shop".into(),
        pid: std::process::id(),
        port: 0,
        role: Role::Active,
        state: State::Ready,
        weight: 10_000,
        generation: 1,
        uptime_ms: 1,
        restarts: 0,
        reason: None,
    }
}
