//! What control knows of one endpoint: the verdict of its probes, its ejection, its drain. Told
//! what happened, it says which events to journal; it sends nothing itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use grace_model::event::{ProcessState, What};
use grace_model::report::Counts;
use tokio::task::AbortHandle;

use crate::eject::Ejections;
use crate::endpoint::Endpoint;
use crate::limit::Limiter;
use crate::meter::Sums;
use crate::probe::{Pace, Probed};
use crate::ramp::Ramp;

/// Of passes in a row, every so many-th is journalled.
const PASSES: u32 = 10;

/// One endpoint under watch.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) end: Arc<Endpoint>,
    pub(crate) pace: Rc<RefCell<Option<Pace>>>,
    /// Prober and death watch.
    pub(crate) tasks: Vec<AbortHandle>,
    pub(crate) ejections: Ejections,
    pub(crate) leave: Option<Leave>,
    /// Its way back to its whole share.
    pub(crate) ramp: Option<Ramp>,
    /// How many requests at once it can use, and what was seen of it at the last look.
    pub(crate) limiter: Limiter,
    pub(crate) sums: Sums,
    /// What it was given and did.
    pub(crate) counts: Counts,
    /// Requests and connections that were not over at the end of the last window.
    pub(crate) open: u64,
    verdict: Option<bool>,
    problem: String,
    told: Option<bool>,
    row: Row,
    state: ProcessState,
    state_since: Instant,
}

/// The wait for the last request on a leaving endpoint.
#[derive(Debug)]
pub(crate) struct Leave {
    /// The table's number of it.
    pub(crate) number: u64,
    /// The look at which threads learnt of it.
    pub(crate) epoch: u64,
    /// Which threads have nothing in flight on it since then.
    pub(crate) idle: Vec<bool>,
    pub(crate) told: bool,
}

#[derive(Debug, Default)]
struct Row {
    ok: bool,
    count: u32,
}

impl Watched {
    pub(crate) fn new(end: Arc<Endpoint>, now: Instant) -> Self {
        Self {
            end,
            pace: Rc::new(RefCell::new(None)),
            tasks: Vec::new(),
            ejections: Ejections::default(),
            leave: None,
            ramp: None,
            limiter: Limiter::new(),
            sums: Sums::default(),
            counts: Counts::default(),
            open: 0,
            verdict: None,
            problem: String::new(),
            told: None,
            row: Row::default(),
            state: ProcessState::Running,
            state_since: now,
        }
    }

    /// Takes a probe's result; what to journal.
    pub(crate) fn judge(&mut self, probed: &Probed, failures: u32, starting: bool) -> Vec<What> {
        let mut events = Vec::new();
        let late = u64::try_from(probed.late.as_millis()).unwrap_or(u64::MAX);
        let ok = probed.problem.is_none();
        if probed.stalled {
            events.push(What::Stalled {
                process: "proxy".to_owned(),
                late_ms: late,
            });
            if !ok {
                // A judge that slept cannot tell its own lateness from the instance's.
                return events;
            }
        }
        let changed = self.row.count == 0 || self.row.ok != ok;
        self.row.count = if changed {
            1
        } else {
            self.row.count.saturating_add(1)
        };
        self.row.ok = ok;
        if ok {
            self.ejections.pass(probed.begun);
            self.verdict = Some(true);
            self.problem.clear();
        } else {
            self.ejections.fail();
            self.problem = probed.problem.clone().unwrap_or_default();
            // Until it is ready for the first time, a start is nobody's failure.
            if self.row.count >= failures.max(1) && !(starting && self.verdict.is_none()) {
                self.verdict = Some(false);
            }
        }
        // A starting instance that does not listen yet is asked many times a second.
        let quiet = !ok && starting && self.verdict.is_none();
        if changed || (!ok && !quiet) || self.row.count.is_multiple_of(PASSES) {
            events.push(What::Probe {
                subject: self.end.subject.clone(),
                ok,
                status: probed.status,
                latency_us: u64::try_from(probed.latency.as_micros()).unwrap_or(u64::MAX),
                problem: probed.problem.clone().unwrap_or_default(),
                consecutive: self.row.count,
                judge_late_ms: late,
            });
        }
        events
    }

    /// Takes the state of its process; what to journal, and whether it has changed.
    pub(crate) fn see(&mut self, state: ProcessState, now: Instant) -> (Option<What>, bool) {
        let changed = state != self.state;
        if changed {
            self.state = state;
            self.state_since = now;
        }
        let lasting = now.saturating_duration_since(self.state_since);
        let event = (changed || state == ProcessState::Stopped).then(|| What::ProcessState {
            subject: self.end.subject.clone(),
            state,
            for_ms: u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX),
        });
        (event, changed)
    }

    /// The verdict that the supervisor has not heard, with the reason.
    pub(crate) fn untold(&self) -> Option<(bool, String)> {
        let verdict = self.verdict?;
        (self.told != Some(verdict)).then(|| (verdict, self.problem.clone()))
    }

    pub(crate) fn told(&mut self, verdict: bool) {
        self.told = Some(verdict);
    }

    /// The supervisor may have forgotten.
    pub(crate) fn forget_told(&mut self) {
        self.told = None;
        if let Some(leave) = &mut self.leave {
            leave.told = false;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_model::event::Subject;
    use std::time::Duration;

    fn watched() -> Watched {
        let subject = Subject {
            instance: "shop-1".into(),
            service: "shop".into(),
            generation: 1,
        };
        Watched::new(
            Arc::new(Endpoint::new(subject, None, None, None, 1)),
            Instant::now(),
        )
    }

    fn probed(ok: bool, late_ms: u64) -> Probed {
        Probed {
            begun: Instant::now(),
            status: if ok { 200 } else { 0 },
            latency: Duration::from_millis(1),
            problem: (!ok).then(|| "refused".to_owned()),
            late: Duration::from_millis(late_ms),
            stalled: late_ms > 100,
        }
    }

    #[test]
    fn a_verdict_needs_one_pass_or_several_failures_in_a_row() {
        let mut it = watched();
        it.judge(&probed(true, 0), 2, true);
        assert_eq!(it.untold().map(|told| told.0), Some(true));
        it.told(true);
        it.judge(&probed(false, 0), 2, false);
        assert_eq!(it.untold(), None);
        it.judge(&probed(false, 0), 2, false);
        assert_eq!(it.untold(), Some((false, "refused".to_owned())));
    }

    #[test]
    fn a_start_that_takes_its_time_is_no_failure() {
        let mut it = watched();
        let events: usize = (0..50)
            .map(|_| it.judge(&probed(false, 0), 2, true).len())
            .sum();
        assert_eq!(it.untold(), None);
        assert_eq!(events, 6, "the first, and every tenth");
    }

    #[test]
    fn a_failure_seen_by_a_stalled_judge_does_not_count() {
        let mut it = watched();
        it.judge(&probed(true, 0), 1, false);
        it.told(true);
        let events = it.judge(&probed(false, 3_000), 1, false);
        assert!(matches!(
            events.as_slice(),
            [What::Stalled { late_ms: 3_000, .. }]
        ));
        assert_eq!(it.untold(), None);
    }

    #[test]
    fn of_passes_every_tenth_is_journalled_and_of_failures_all() {
        let mut it = watched();
        let passes: usize = (0..30)
            .map(|_| it.judge(&probed(true, 0), 2, false).len())
            .sum();
        assert_eq!(passes, 4);
        let failures: usize = (0..30)
            .map(|_| it.judge(&probed(false, 0), 2, false).len())
            .sum();
        assert_eq!(failures, 30);
    }

    #[test]
    fn a_stopped_process_is_journalled_as_long_as_it_is_stopped() {
        let mut it = watched();
        let now = Instant::now();
        assert!(it.see(ProcessState::Running, now).0.is_none());
        assert!(it.see(ProcessState::Stopped, now).1);
        let (event, changed) = it.see(ProcessState::Stopped, now + Duration::from_secs(2));
        assert!(!changed);
        assert!(matches!(
            event,
            Some(What::ProcessState { for_ms: 2_000, .. })
        ));
        assert!(it.see(ProcessState::Running, now).1);
    }
}
