//! The threads that carry runs, one each. It outlives a restart of the kernel that starts them,
//! so that no run is ever carried twice.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use grace_ledger::Queries;
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::IncidentState;
use grace_plan::run::Run;
use serde_json::json;

use super::rules::Freed;
use super::runner::Runner;
use crate::error::Result;
use crate::kernel::panic_text;

/// Runs at a time. Each holds a thread and at most one call of an action; more incidents wait.
pub const MOST: usize = 16;

/// The crew.
pub struct Crew {
    runner: Arc<Runner>,
    at_work: Mutex<HashMap<RunId, Job>>,
    /// Held from the moment a run is stored until a thread has it, so that nobody takes it for
    /// one that was left behind.
    handing_over: Mutex<()>,
}

struct Job {
    incident: IncidentId,
    target: String,
    thread: JoinHandle<()>,
}

impl Crew {
    /// A crew without work.
    #[must_use]
    pub fn new(runner: Arc<Runner>) -> Self {
        Self {
            runner,
            at_work: Mutex::new(HashMap::new()),
            handing_over: Mutex::new(()),
        }
    }

    /// To be held while a run is stored and given to a thread, or looked for.
    pub fn hand_over(&self) -> MutexGuard<'_, ()> {
        self.handing_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a stored run to a thread of its own. One that is carried already is left alone.
    ///
    /// # Errors
    /// When the machine gives no thread; the run stays in the ledger and is picked up again.
    pub fn carry(
        &self,
        run: Run,
        when_done: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if at_work.contains_key(&run.id) {
            return Ok(());
        }
        let (id, incident) = (run.id.clone(), run.incident.clone());
        let target = run.finding.target.clone();
        let runner = Arc::clone(&self.runner);
        let thread = std::thread::Builder::new()
            .name(format!("run-{id}"))
            .spawn(move || {
                let _bell = OnDrop(Some(when_done));
                runner.to_the_end(run);
            })?;
        at_work.insert(
            id,
            Job {
                incident,
                target,
                thread,
            },
        );
        Ok(())
    }

    /// Whether a run of this incident is being carried. Not asked by run: a thread goes on with
    /// the playbook that follows a failed one.
    #[must_use]
    pub fn carries(&self, incident: &IncidentId) -> bool {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.values().any(|job| job.incident == *incident)
    }

    /// How many more runs may begin.
    #[must_use]
    pub fn room(&self) -> usize {
        MOST.saturating_sub(
            self.at_work
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len(),
        )
    }

    /// Takes note of runs that ended. One whose thread fell, or stopped before its end, has
    /// failed: its incident is a person's.
    ///
    /// # Errors
    /// When the ledger cannot be written; asked again, nothing is lost.
    pub fn reap(&self) -> Result<Vec<(String, Freed)>> {
        let reach = &self.runner.reach;
        let mut freed = Vec::new();
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<RunId> = at_work
            .iter()
            .filter(|(_, job)| job.thread.is_finished())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ended {
            let Some(job) = at_work.remove(&id) else {
                continue;
            };
            let fell = job
                .thread
                .join()
                .err()
                .map(|panic| panic_text(panic.as_ref()));
            // A next run of the same incident may have begun before this look at the last one.
            let carried_on = at_work.values().any(|other| other.incident == job.incident);
            if !carried_on && !self.runner.stop.load(Ordering::Acquire) {
                self.close_if_open(&id, &job.incident, fell)?;
            }
            let (ok, ended_ms) = reach.desk.look(|board| {
                let ok = board
                    .get(&job.incident)
                    .is_some_and(|i| i.state == IncidentState::Resolved);
                (ok, board.times(&job.incident).map(|times| times.state_ms))
            });
            // The run's own end, not this look at it: a finding in between is a new one.
            let at_ms = ended_ms.unwrap_or_else(|| reach.clock.steady_ms());
            freed.push((
                job.target,
                Freed {
                    at_ms,
                    by: job.incident,
                    ok,
                },
            ));
        }
        Ok(freed)
    }

    fn close_if_open(&self, id: &RunId, incident: &IncidentId, fell: Option<String>) -> Result<()> {
        let desk = &self.runner.reach.desk;
        // A fallback carried by the same thread has an id of its own.
        for stored in desk
            .ledger()
            .runs_of(incident)?
            .into_iter()
            .filter(|run| !run.finished)
        {
            let why = fell
                .clone()
                .unwrap_or_else(|| "the run stopped before its end".to_owned());
            tracing::error!(run = %id, cause = %why, "a run fell; its incident is escalated");
            desk.change(|draft| {
                let body = json!({ "run": stored.id, "end": { "end": "failed", "reason": why } });
                draft.entry("run-ended", incident, &body)?;
                draft
                    .tx()
                    .put_run(&stored.id, incident, true, &stored.json)?;
                draft.become_(incident, IncidentState::Escalated, &why)
            })?;
        }
        Ok(())
    }

    /// Waits a little for runs to notice that the healer ends.
    pub fn leave(&self, patience: Duration) {
        let slice = Duration::from_millis(20);
        let mut left = patience;
        loop {
            {
                let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
                if at_work.values().all(|job| job.thread.is_finished()) || left.is_zero() {
                    return;
                }
            }
            std::thread::sleep(slice);
            left = left.saturating_sub(slice);
        }
    }
}

/// Rings also when the thread falls.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(ring) = self.0.take() {
            ring();
        }
    }
}
