//! Governance by command: questions and their answers, mode, freeze, kill switch. The host
//! decides; here it is asked and told.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use grace_model::govern::{Answer, Approval, GovernanceView, Mode, Need};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::incidents::segment;
use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show::{self, Table};

/// Let a playbook run that waits for an answer
#[derive(Debug, Args)]
pub struct Approve {
    /// The question's id, such as apr-3, or its incident's
    id: String,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// Keep a playbook from running that waits for an answer
#[derive(Debug, Args)]
pub struct Deny {
    /// The question's id, such as apr-3, or its incident's
    id: String,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// The questions that wait for an answer
#[derive(Debug, Args)]
pub struct Approvals {
    /// Also those that were answered, as long as they are kept
    #[arg(long)]
    all: bool,
}

/// What may be changed now: mode, freeze, kill switch, limits, locks
#[derive(Debug, Args)]
pub struct Show {}

/// Whether playbooks heal, or only tell what they would do
#[derive(Debug, Args)]
pub struct ModeOf {
    /// `file`: as grace.toml says
    mode: ModeWord,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// A mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeWord {
    /// Playbooks run.
    Heal,
    /// What they would do is told.
    Observe,
    /// As grace.toml says.
    File,
}

/// No playbook that changes something begins, until it is over
#[derive(Debug, Args)]
pub struct Freeze {
    /// Whether it begins or ends
    switch: Switch,
    /// How long, such as 30m or 2h; without it until `grace freeze off`
    #[arg(long = "for", value_name = "TIME")]
    long: Option<String>,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// No playbook changes anything any more, also those that run
#[derive(Debug, Args)]
pub struct KillSwitch {
    /// Thrown or let go of
    switch: Switch,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// From now on.
    On,
    /// Not any more.
    Off,
}

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Questions {
    approvals: Vec<Approval>,
}

impl Approve {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        answered(globals, &self.id, true, &self.why)
    }
}

impl Deny {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        answered(globals, &self.id, false, &self.why)
    }
}

fn answered(globals: &Globals, id: &str, approve: bool, why: &str) -> Outcome {
    let path = format!("/v1/approvals/{}", segment(id));
    let body = json!({ "approve": approve, "why": why });
    let done: Approval = globals.api()?.post(&path, &body)?;
    if globals.json {
        show::document(&done)?;
    } else {
        show::line(&format!(
            "{} {}: playbook {} for {}; `grace incidents show {}` tells the rest",
            done.id,
            done.answer.word(),
            done.playbook,
            done.target,
            done.incident
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl Approvals {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let mut answer: Questions = globals.api()?.get("/v1/approvals")?;
        answer
            .approvals
            .retain(|one| self.all || one.answer == Answer::Pending);
        show::either(globals.json, &answer, || {
            let mut table = Table::new(
                [
                    "QUESTION", "STATE", "INCIDENT", "TARGET", "PLAYBOOK", "ACTIONS", "ASKED", "BY",
                ],
                "nothing is asked",
            );
            for one in &answer.approvals {
                let style = match one.answer {
                    Answer::Pending => show::BUSY,
                    Answer::Approved | Answer::Used => show::GOOD,
                    Answer::Denied | Answer::Expired | Answer::Withdrawn => show::DIM,
                };
                table.row([
                    one.id.clone(),
                    show::paint(style, one.answer.word()),
                    one.incident.to_string(),
                    one.target.clone(),
                    one.playbook.to_string(),
                    actions(&one.actions),
                    show::moment(one.asked.wall),
                    one.answered
                        .as_ref()
                        .map_or("-".to_owned(), |given| given.by.clone()),
                ]);
            }
            table
        })
    }
}

fn actions(needs: &[Need]) -> String {
    let each: Vec<String> = needs
        .iter()
        .map(|need| format!("{} ({:?})", need.action, need.risk).to_lowercase())
        .collect();
    each.join(" ")
}

impl Show {
    /// Shows it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let view: GovernanceView = globals.api()?.get("/v1/governance")?;
        told(globals, &view)
    }
}

impl ModeOf {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let mode = match self.mode {
            ModeWord::Heal => Some(Mode::Heal),
            ModeWord::Observe => Some(Mode::Observe),
            ModeWord::File => None,
        };
        ordered(globals, json!({ "order": "mode", "mode": mode }), &self.why)
    }
}

impl Freeze {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let on = self.switch == Switch::On;
        let for_ms = match self.long.as_deref() {
            None => None,
            Some(_) if !on => {
                return Err(Problem::new(
                    "`--for` says how long a freeze holds, and this one ends",
                    "leave it out",
                ));
            }
            Some(text) => Some(crate::config::duration_ms(text).ok_or_else(|| {
                Problem::new(
                    format!("{text:?} is no time"),
                    "write a whole number with ms, s, m, h or d, such as 30m",
                )
            })?),
        };
        let order = json!({ "order": "freeze", "on": on, "for_ms": for_ms });
        ordered(globals, order, &self.why)
    }
}

impl KillSwitch {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let on = self.switch == Switch::On;
        ordered(
            globals,
            json!({ "order": "kill-switch", "on": on }),
            &self.why,
        )
    }
}

fn ordered(globals: &Globals, mut order: Value, why: &str) -> Outcome {
    if let Some(order) = order.as_object_mut() {
        order.insert("why".to_owned(), json!(why));
    }
    let view: GovernanceView = globals.api()?.post("/v1/governance", &order)?;
    told(globals, &view)
}

fn told(globals: &Globals, view: &GovernanceView) -> Outcome {
    if globals.json {
        show::document(view)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mode = match view.mode {
        Mode::Heal => show::paint(show::GOOD, "heal"),
        Mode::Observe => show::paint(show::BUSY, "observe"),
    };
    let from = if view.mode_by_command {
        "by command"
    } else {
        "as grace.toml says"
    };
    show::line(&format!("mode         {mode}, {from}"));
    let freeze = match (&view.freeze, view.freeze_left_ms) {
        (None, _) => "none".to_owned(),
        (Some(freeze), None) => format!(
            "until `grace freeze off`, by {} {}",
            freeze.given.by, freeze.given.why
        ),
        (Some(freeze), Some(left)) => format!(
            "another {}, by {} {}",
            show::age(left),
            freeze.given.by,
            freeze.given.why
        ),
    };
    show::line(&format!("freeze       {}", freeze.trim_end()));
    let killed = view.killed.as_ref().map_or_else(
        || "not thrown".to_owned(),
        |given| {
            show::paint(
                show::BAD,
                format!("thrown by {} {}", given.by, given.why).trim_end(),
            )
        },
    );
    show::line(&format!("kill switch  {killed}"));
    let rules = &view.rules;
    let asks = rules.ask.map_or("nothing".to_owned(), |risk| {
        format!("{risk:?} and above").to_lowercase()
    });
    show::line(&format!(
        "rules        asks from {asks}; {} of {} changes in {} s; {} % of a service at once",
        view.actions_in_window,
        rules.actions,
        rules.window_ms / 1_000,
        rules.blast_percent
    ));
    for lock in &view.locks {
        let playbook = lock.playbook.as_ref().map_or("-", |id| id.as_str());
        show::line(&format!(
            "held         {} by {} ({playbook})",
            lock.target, lock.incident
        ));
    }
    for one in &view.pending {
        show::line(&format!(
            "asked        {}: {} for {}: {}",
            one.id,
            one.playbook,
            one.incident,
            actions(&one.actions)
        ));
    }
    Ok(ExitCode::SUCCESS)
}
