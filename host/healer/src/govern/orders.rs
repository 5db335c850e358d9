//! Orders and answers of people, and what time does to questions. Each is in the ledger: who,
//! when, why.

use grace_ledger::Queries;
use grace_model::govern::{Answer, Approval, Given, GovernanceView, Order};
use grace_model::id::IncidentId;
use grace_model::incident::IncidentState;
use grace_plan::govern::Book;
use serde_json::json;

use super::Governor;
use crate::desk::{Desk, Draft};
use crate::error::Result;

impl Governor {
    /// Carries out an order. One that changes nothing is no entry.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn order(&self, desk: &Desk, order: &Order, by: &str, why: &str) -> Result<()> {
        self.change(desk, |draft, book, now| {
            let given = Given {
                by: by.to_owned(),
                why: why.to_owned(),
                at: now.clone(),
            };
            if book.order(order, &given) {
                let wall = draft.wall();
                let body = json!({ "order": order, "by": by, "why": why });
                draft.tx().append("governance", None, wall, &body)?;
            }
            Ok(())
        })
    }

    /// Answers a question, by its id or its incident's. The inner error is for a person: there
    /// is no such question, or it is closed.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn answer(
        &self,
        desk: &Desk,
        id: &str,
        yes: bool,
        (by, why): (&str, &str),
    ) -> Result<std::result::Result<Approval, String>> {
        self.change(desk, |draft, book, now| {
            let given = Given {
                by: by.to_owned(),
                why: why.to_owned(),
                at: now.clone(),
            };
            let answered = book.answer(id, yes, &given);
            if let Ok(approval) = &answered {
                write(draft, approval, by, why)?;
            }
            Ok(answered)
        })
    }

    /// Closes questions that nobody answered in time, and those of incidents that are over.
    /// Answers with how many.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn clean_up(&self, desk: &Desk) -> Result<u64> {
        let now = self.now();
        let over = |id: &IncidentId| {
            desk.look(|board| {
                board
                    .get(id)
                    .is_none_or(|incident| incident.state == IncidentState::Resolved)
            })
        };
        let idle = self.look(|book| {
            let stale = |one: &Approval| match one.answer {
                Answer::Pending => {
                    one.asked.until(&now) >= self.rules.answer_ms || over(&one.incident)
                }
                Answer::Approved => over(&one.incident),
                _ => false,
            };
            !book.approvals.iter().any(stale)
        });
        if idle {
            return Ok(0);
        }
        self.change(desk, |draft, book, now| {
            let mut closed = book.expire(&self.rules, now);
            let open: Vec<IncidentId> = book
                .approvals
                .iter()
                .filter(|one| matches!(one.answer, Answer::Pending | Answer::Approved))
                .map(|one| one.incident.clone())
                .collect();
            for id in open {
                let ended = draft
                    .get(&id)
                    .is_none_or(|incident| incident.state == IncidentState::Resolved);
                if ended {
                    closed.extend(book.withdraw(&id, now));
                }
            }
            for approval in &closed {
                write(draft, approval, "grace", "")?;
            }
            Ok(closed.len() as u64)
        })
    }

    /// How often an incident came back within the window of the rule on flapping.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn came_back(&self, desk: &Desk, id: &IncidentId) -> Result<u32> {
        let from = self.now().wall.saturating_sub(self.rules.flap_window_ms);
        let entries = desk.ledger().entries_of(id)?;
        let back = entries.iter().filter(|entry| {
            entry.kind == "incident"
                && entry.at >= from
                && entry.body.get("from").and_then(|from| from.as_str()) == Some("resolved")
        });
        Ok(u32::try_from(back.count()).unwrap_or(u32::MAX))
    }

    /// What `grace governance` shows.
    #[must_use]
    pub fn view(&self, desk: &Desk) -> GovernanceView {
        let now = self.now();
        let locks = desk.look(|board| Self::locks(board.unresolved()));
        self.look(|book: &Book| {
            let freeze = book.freeze_at(&now);
            GovernanceView {
                mode: book.mode(&self.rules),
                mode_by_command: book.orders.mode.is_some(),
                freeze_left_ms: freeze.and_then(|(_, left)| left),
                freeze: freeze.map(|(freeze, _)| freeze.clone()),
                killed: book.orders.killed.clone(),
                actions_in_window: book.spent_at(&self.rules, &now),
                rules: self.rules.clone(),
                locks,
                pending: book.pending().cloned().collect(),
            }
        })
    }
}

/// An answer in the incident's story.
fn write(draft: &mut Draft<'_, '_>, approval: &Approval, by: &str, why: &str) -> Result<()> {
    let kind = format!("approval-{}", approval.answer.word());
    let body = json!({ "approval": approval.id, "playbook": approval.playbook,
                       "by": by, "why": why });
    draft.entry(&kind, &approval.incident, &body)
}
