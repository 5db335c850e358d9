//! Whether what a copy did is what was recorded. Pure: it is told what was seen. A copy that
//! could not become ready says nothing about the failure, and is never taken for evidence.

use grace_model::instance::ExitCause;
use serde::{Deserialize, Serialize};

use crate::capsule::{Capsule, Kind, Outcome};

/// What one copy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed {
    /// It never became ready, so nothing was replayed.
    NotReady {
        /// Why, for a person.
        why: String,
    },
    /// It was asked.
    Ran(Seen),
}

/// What a copy did that became ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// How its process ended; none: it still ran when all was over.
    pub exit: Option<ExitCause>,
    /// The request that was on its way when it ended, counted from 0.
    pub ended_at: Option<u64>,
    /// Statuses by request; 0: no answer.
    pub statuses: Vec<u16>,
    /// Requests that got no answer in time while the process ran.
    pub unanswered: u64,
    /// The last lines that it wrote.
    pub output: String,
}

/// What several copies together say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// All did what was recorded.
    Reproducible {
        /// Copies.
        runs: u32,
    },
    /// Some did.
    Flaky {
        /// Copies.
        runs: u32,
        /// How many did.
        reproduced: u32,
    },
    /// None did.
    NotReproduced {
        /// Copies.
        runs: u32,
    },
    /// At least one could not be asked, so that the others prove nothing either.
    NotPossible {
        /// Why.
        why: String,
    },
}

/// Whether a copy did what was recorded.
#[must_use]
pub fn reproduces(capsule: &Capsule, seen: &Seen) -> bool {
    match capsule.kind {
        // The same end, and not just any: a copy that fails in another way has another failure.
        Kind::Crash | Kind::OutOfMemory | Kind::Killed => match (&capsule.exit, &seen.exit) {
            (Some(was), Some(is)) => was.cause == *is && was.cause != ExitCause::Unknown,
            // Nobody knows how it ended: any end of its own is as near as one can get.
            (None, Some(is)) => !is.external(),
            _ => false,
        },
        Kind::Hang => seen.exit.is_none() && seen.unanswered > 0,
        Kind::ErrorBurst => {
            let errors = |statuses: &[u16]| statuses.iter().filter(|it| **it >= 500).count();
            let was: Vec<u16> = capsule.requests.iter().map(status).collect();
            // Of those that were answered with an error, at least half are again: some may have
            // been caused by what came before the recording.
            let again = was
                .iter()
                .zip(&seen.statuses)
                .filter(|(was, is)| **was >= 500 && **is >= 500)
                .count();
            errors(&was) > 0 && again * 2 >= errors(&was)
        }
    }
}

fn status(request: &crate::capsule::Request) -> u16 {
    match (&request.answer, request.outcome) {
        (Some(answer), Outcome::Answered | Outcome::Answering) => answer.status,
        _ => 0,
    }
}

/// What several copies together say.
#[must_use]
pub fn judge(capsule: &Capsule, observed: &[Observed]) -> Verdict {
    let mut reproduced = 0;
    let mut runs = 0;
    for one in observed {
        match one {
            Observed::NotReady { why } => return Verdict::NotPossible { why: why.clone() },
            Observed::Ran(seen) => {
                runs += 1;
                reproduced += u32::from(reproduces(capsule, seen));
            }
        }
    }
    match (runs, reproduced) {
        (0, _) => Verdict::NotPossible {
            why: "no copy was asked".to_owned(),
        },
        (runs, 0) => Verdict::NotReproduced { runs },
        (runs, reproduced) if runs == reproduced => Verdict::Reproducible { runs },
        (runs, reproduced) => Verdict::Flaky { runs, reproduced },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capsule::{Answer, Exit};
    use crate::redact::planted;

    fn capsule(kind: Kind, cause: Option<ExitCause>) -> Capsule {
        let mut capsule = planted();
        capsule.kind = kind;
        capsule.exit = cause.map(|cause| Exit {
            cause,
            uptime_ms: 1,
        });
        capsule
    }

    fn ended(cause: Option<ExitCause>) -> Observed {
        Observed::Ran(Seen {
            exit: cause,
            ..Seen::default()
        })
    }

    const ABORT: ExitCause = ExitCause::Signal(6);

    #[test]
    fn all_some_or_none_is_reproducible_flaky_or_not_reproduced() {
        let capsule = capsule(Kind::Crash, Some(ABORT));
        let (yes, no) = (ended(Some(ABORT)), ended(None));
        let all = judge(&capsule, &[yes.clone(), yes.clone()]);
        assert_eq!(all, Verdict::Reproducible { runs: 2 });
        let some = judge(&capsule, &[no.clone(), yes, no.clone()]);
        let flaky = Verdict::Flaky {
            runs: 3,
            reproduced: 1,
        };
        assert_eq!(some, flaky);
        let none = judge(&capsule, &[no.clone(), no]);
        assert_eq!(none, Verdict::NotReproduced { runs: 2 });
    }

    #[test]
    fn a_copy_that_was_not_ready_is_never_evidence_whatever_the_others_did() {
        let capsule = capsule(Kind::Crash, Some(ABORT));
        let why = "dependency missing: db:5432".to_owned();
        let not = Observed::NotReady { why: why.clone() };
        let verdict = judge(&capsule, &[ended(Some(ABORT)), not]);
        assert_eq!(verdict, Verdict::NotPossible { why });
        assert!(matches!(judge(&capsule, &[]), Verdict::NotPossible { .. }));
    }

    #[test]
    fn another_end_is_another_failure() {
        let crash = capsule(Kind::Crash, Some(ABORT));
        for other in [ExitCause::Code(1), ExitCause::Signal(11), ExitCause::Oom] {
            let verdict = judge(&crash, &[ended(Some(other))]);
            assert_eq!(verdict, Verdict::NotReproduced { runs: 1 });
        }
        let killed = capsule(Kind::Killed, Some(ExitCause::Signal(9)));
        let verdict = judge(&killed, &[ended(None)]);
        assert_eq!(verdict, Verdict::NotReproduced { runs: 1 });
    }

    #[test]
    fn a_hang_is_no_answer_from_a_process_that_runs() {
        let hang = capsule(Kind::Hang, None);
        let seen = |exit, unanswered| Seen {
            exit,
            unanswered,
            ..Seen::default()
        };
        assert!(reproduces(&hang, &seen(None, 1)));
        assert!(!reproduces(&hang, &seen(None, 0)));
        assert!(!reproduces(&hang, &seen(Some(ABORT), 1)));
    }

    #[test]
    fn an_error_burst_is_the_same_requests_failing_again() {
        let mut burst = capsule(Kind::ErrorBurst, None);
        for request in &mut burst.requests {
            request.answer = Some(Answer {
                status: 500,
                ..Answer::default()
            });
        }
        let seen = |statuses: [u16; 3]| Seen {
            statuses: statuses.to_vec(),
            ..Seen::default()
        };
        assert!(reproduces(&burst, &seen([500, 503, 200])));
        assert!(!reproduces(&burst, &seen([200, 503, 200])));
        burst.requests.clear();
        assert!(!reproduces(&burst, &seen([500, 500, 500])));
    }
}
