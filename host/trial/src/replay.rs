//! Several copies, beside each other: for a verdict, and as the oracle of minimising.

use std::time::{Duration, Instant};

use grace_capsule::{Capsule, Kind, Observed, Oracle, Request, Verdict, judge, reproduces};
use grace_model::config::{Protocol, Ready, Service, Socket};

use crate::copy::{Copier, TrialError};
use crate::job::Job;

/// Longest time that a copy gets to become ready.
const START_MOST: u64 = 60_000;
/// Time that a request of a replay may take, at least: longer than recorded ones usually did.
const ANSWER_LEAST: u64 = 2_000;
/// And at most.
const ANSWER_MOST: u64 = 30_000;

/// Copies of one service in which one capsule is replayed.
#[derive(Debug)]
pub struct Copies<'a> {
    copier: &'a Copier,
    capsule: &'a Capsule,
    /// The same without its requests.
    bare: Capsule,
    job: Job,
    width: usize,
    /// Copies that were made.
    pub runs: u64,
    /// When no more are made.
    until: Option<Instant>,
    /// Why no more were made.
    pub problem: Option<String>,
}

impl<'a> Copies<'a> {
    /// Copies of `service`, `width` beside each other.
    ///
    /// # Errors
    /// Why there can be none, for a person.
    pub fn new(
        copier: &'a Copier,
        capsule: &'a Capsule,
        service: &Service,
        snapshot: Option<std::path::PathBuf>,
        width: usize,
    ) -> Result<Self, String> {
        possible(capsule, service)?;
        copier.isolation().map_err(|error| error.to_string())?;
        let slowest = capsule.requests.iter().filter_map(|it| it.answer.as_ref());
        let slowest = slowest.map(|it| it.after_us / 1_000).max().unwrap_or(0);
        let job = Job {
            service: service.clone(),
            instance: capsule.instance.clone(),
            snapshot,
            requests: capsule.requests.clone(),
            start_ms: service.start_timeout_ms.min(START_MOST),
            answer_ms: (slowest * 4).clamp(ANSWER_LEAST, ANSWER_MOST),
            filter: copier.filters(),
        };
        Ok(Self {
            copier,
            capsule,
            bare: Capsule {
                requests: Vec::new(),
                ..capsule.clone()
            },
            job,
            width: width.max(1),
            runs: 0,
            until: None,
            problem: None,
        })
    }

    /// Makes no copies any more after this time.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.until = Instant::now().checked_add(time);
        self
    }

    /// What copies do with each of the lists of requests.
    fn observe(&mut self, lists: &[Vec<Request>]) -> Vec<Result<Observed, TrialError>> {
        let mut all = Vec::new();
        for some in lists.chunks(self.width) {
            self.runs += some.len() as u64;
            let jobs: Vec<Job> = some
                .iter()
                .map(|requests| Job {
                    requests: requests.clone(),
                    ..self.job.clone()
                })
                .collect();
            let copier = self.copier;
            std::thread::scope(|scope| {
                let running: Vec<_> = jobs
                    .iter()
                    .map(|job| scope.spawn(move || copier.run(job)))
                    .collect();
                all.extend(running.into_iter().map(|it| {
                    it.join().unwrap_or_else(|_| {
                        Err(TrialError::Silent(
                            "the thread that made it ended".to_owned(),
                        ))
                    })
                }));
            });
        }
        all
    }
}

impl Oracle for Copies<'_> {
    fn fails(&mut self, candidates: &[Vec<Request>]) -> Option<Vec<bool>> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.problem = Some("its time was over".to_owned());
            return None;
        }
        let mut answers = Vec::with_capacity(candidates.len());
        for (requests, one) in candidates.iter().zip(self.observe(candidates)) {
            match one {
                Ok(Observed::Ran(seen)) => {
                    // Answers are compared request by request, so with those that were sent.
                    let sent = Capsule {
                        requests: requests.clone(),
                        ..self.bare.clone()
                    };
                    answers.push(reproduces(&sent, &seen));
                }
                Ok(Observed::NotReady { why }) => {
                    self.problem = Some(why);
                    return None;
                }
                Err(error) => {
                    self.problem = Some(error.to_string());
                    return None;
                }
            }
        }
        Some(answers)
    }

    fn width(&self) -> usize {
        self.width
    }
}

/// Replays all requests of the capsule in `times` copies.
pub fn replay(copies: &mut Copies<'_>, times: u32) -> (Verdict, Vec<Observed>) {
    let lists = vec![copies.capsule.requests.clone(); times as usize];
    let mut observed = Vec::new();
    for one in copies.observe(&lists) {
        match one {
            Ok(one) => observed.push(one),
            Err(error) => {
                let why = error.to_string();
                return (Verdict::NotPossible { why }, observed);
            }
        }
    }
    (judge(copies.capsule, &observed), observed)
}

/// Whether a copy of such a service can be made and asked at all.
fn possible(capsule: &Capsule, service: &Service) -> Result<(), String> {
    let no = |why: &str| Err(why.to_owned());
    if capsule.host.arch != std::env::consts::ARCH {
        return Err(format!(
            "it was recorded on {}, and this machine is {}; replay it on such a machine",
            capsule.host.arch,
            std::env::consts::ARCH
        ));
    }
    if capsule.kind == Kind::OutOfMemory {
        return no(
            "copies have no memory limit yet, so an end by out-of-memory cannot be replayed",
        );
    }
    if service.front.protocol != Protocol::Http {
        return no("only services that speak HTTP/1.1 can be replayed yet");
    }
    if service.front.unix.is_some() || service.socket != Socket::Port {
        return no("only services that listen on the port they are told can be replayed yet");
    }
    if service.ready == Ready::Notify {
        return no("services that tell their readiness by $NOTIFY_SOCKET cannot be replayed yet");
    }
    if let Some(cut) = capsule.requests.iter().find(|it| it.suspect && it.is_cut()) {
        return Err(format!(
            "the body of {} {} was not recorded whole; raise `record.body` of the service",
            cut.method, cut.target
        ));
    }
    Ok(())
}
