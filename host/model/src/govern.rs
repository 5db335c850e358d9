//! Governance as plain data: the operator's rules, their standing orders, and the questions that
//! wait for an answer. `plan` decides by these; nothing here decides.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::id::{IncidentId, PlaybookId, RunId};
use crate::plugin::Risk;

/// What playbooks may do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whatever would change something is told and not done.
    Observe,
    /// Playbooks run.
    #[default]
    Heal,
}

/// The rules of `[governance]` in `grace.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Governance {
    /// What playbooks may do at all, unless `grace mode` says otherwise.
    pub mode: Mode,
    /// A playbook with an action of this risk or above waits for `grace approve`. None: none does.
    pub ask: Option<Risk>,
    /// Actions that never wait, `pack.verb` or `pack.*`. A service has a list of its own too.
    pub allow: Vec<String>,
    /// A question without an answer for so long is closed, and the incident stays a person's.
    pub answer_ms: u64,
    /// Changing actions that playbooks may begin within `window_ms`, tries counted.
    pub actions: u32,
    /// See `actions`.
    pub window_ms: u64,
    /// Of a service's instances, the percentage that playbooks may have in hand at once; always at
    /// least one.
    pub blast_percent: u32,
    /// An incident that came back so often within `flap_window_ms` is escalated instead of being
    /// healed the same way again.
    pub flaps: u32,
    /// See `flaps`.
    pub flap_window_ms: u64,
}

impl Default for Governance {
    fn default() -> Self {
        Self {
            mode: Mode::Heal,
            ask: Some(Risk::Medium),
            allow: Vec::new(),
            answer_ms: 24 * 3_600_000,
            actions: 60,
            window_ms: 60_000,
            blast_percent: 50,
            flaps: 5,
            flap_window_ms: 600_000,
        }
    }
}

/// A moment that can be measured from after a restart: by the wall, by the steady clock, and by
/// the start of the machine since which that one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub wall: TimestampMs,
    /// Milliseconds since the machine was started.
    pub steady: u64,
    /// Which start; empty when it is not known.
    pub boot: String,
}

impl Moment {
    /// Milliseconds from here to `now`. Within one start of the machine no change of the wall
    /// clock moves them; over a restart only the wall knows, and a time in the future is now.
    #[must_use]
    pub fn until(&self, now: &Self) -> u64 {
        if self.boot == now.boot && !self.boot.is_empty() {
            now.steady.saturating_sub(self.steady)
        } else {
            now.wall.saturating_sub(self.wall)
        }
    }
}

/// Who gave an order, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The user at the other end of the API's socket.
    pub by: String,
    /// In their words; may be empty.
    pub why: String,
    /// When.
    pub at: Moment,
}

/// No change until it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who, when and why.
    pub given: Given,
    /// How long it holds from `given.at`. None: until `grace freeze off`.
    pub for_ms: Option<u64>,
}

/// Standing orders. They outlive every process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// In place of the mode in `grace.toml`.
    pub mode: Option<Mode>,
    /// No playbook that changes something begins.
    pub freeze: Option<Freeze>,
    /// And none goes on.
    pub killed: Option<Given>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// None: as `grace.toml` says.
    Mode {
        /// See above.
        mode: Option<Mode>,
    },
    /// Begins or ends a change freeze.
    Freeze {
        /// Whether it begins.
        on: bool,
        /// How long, in milliseconds; none: until it is ended.
        for_ms: Option<u64>,
    },
    /// Throws the kill switch, or lets go of it.
    KillSwitch {
        /// Whether it is thrown.
        on: bool,
    },
}

/// An action of a playbook that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// `pack.verb`.
    pub action: String,
    /// As the action describes itself.
    pub risk: Risk,
    /// Tries that the step may make.
    pub tries: u32,
}

/// How a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Nobody has answered.
    Pending,
    /// The playbook may run, once.
    Approved,
    /// It may not.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// The incident ended, or the playbook changed, before anybody answered.
    Withdrawn,
    /// It was approved, and ran.
    Used,
}

impl Answer {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Answer::Pending => "pending",
            Answer::Approved => "approved",
            Answer::Denied => "denied",
            Answer::Expired => "expired",
            Answer::Withdrawn => "withdrawn",
            Answer::Used => "used",
        }
    }
}

/// A question to people: may this playbook run for this incident?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// `apr-N`, N from 1.
    pub id: String,
    /// For which incident.
    pub incident: IncidentId,
    /// Instance or service.
    pub target: String,
    /// Which playbook.
    pub playbook: PlaybookId,
    /// Of the playbook as it was when the question was put: an edited one is asked about anew.
    pub digest: String,
    /// The actions that are asked about.
    pub actions: Vec<Need>,
    /// How it stands.
    pub answer: Answer,
    /// When it was put.
    pub asked: Moment,
    /// Who answered, when and why.
    pub answered: Option<Given>,
}

/// A run that changes something: what it may spend, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Which.
    pub run: RunId,
    /// The instance or service it holds.
    pub target: String,
    /// The service of the target.
    pub service: String,
    /// Changing actions, tries counted.
    pub actions: u32,
    /// When it began.
    pub at: Moment,
}

/// Who holds a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Instance or service.
    pub target: String,
    /// The incident whose playbook has it in hand.
    pub incident: IncidentId,
    /// That playbook.
    pub playbook: Option<PlaybookId>,
    /// Its run.
    pub run: Option<RunId>,
}

/// What `grace governance` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GovernanceView {
    /// The mode that holds.
    pub mode: Mode,
    /// Whether a command set it, in place of `grace.toml`.
    pub mode_by_command: bool,
    /// The freeze, while it holds.
    pub freeze: Option<Freeze>,
    /// Milliseconds left of it, when it ends by itself.
    pub freeze_left_ms: Option<u64>,
    /// The kill switch, while it is thrown.
    pub killed: Option<Given>,
    /// The rules.
    pub rules: Governance,
    /// Changing actions in the window that ends now.
    pub actions_in_window: u32,
    /// Targets that are held, with their owners.
    pub locks: Vec<Lock>,
    /// Questions without an answer.
    pub pending: Vec<Approval>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: u64, steady: u64, boot: &str) -> Moment {
        Moment {
            wall,
            steady,
            boot: boot.to_owned(),
        }
    }

    #[test]
    fn time_since_a_moment_is_steady_within_a_start_of_the_machine_and_by_the_wall_over_one() {
        let then = moment(1_000, 50, "a");
        assert_eq!(then.until(&moment(999_000, 80, "a")), 30);
        assert_eq!(then.until(&moment(4_000, 10, "b")), 3_000);
        assert_eq!(
            then.until(&moment(1, 10, "b")),
            0,
            "a clock that was set back"
        );
        let unknown = moment(1_000, 50, "");
        assert_eq!(unknown.until(&moment(1_500, 900, "")), 500);
    }
}
