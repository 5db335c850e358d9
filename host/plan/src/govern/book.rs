//! What the book says, and how it is written. Every change is made on a copy that replaces the
//! old book only once it is stored.

use grace_model::govern::{
    Answer, Approval, Freeze, Given, Governance, Mode, Moment, Need, Order, Spent,
};
use grace_model::id::{IncidentId, PlaybookId};

use super::judge::wanted;
use super::{Book, KEPT_ANSWERS, MOST_PENDING};

impl Book {
    /// The mode that holds.
    #[must_use]
    pub fn mode(&self, rules: &Governance) -> Mode {
        self.orders.mode.unwrap_or(rules.mode)
    }

    /// The freeze that holds now, with what is left of it in milliseconds when it ends by itself.
    #[must_use]
    pub fn freeze_at(&self, now: &Moment) -> Option<(&Freeze, Option<u64>)> {
        let freeze = self.orders.freeze.as_ref()?;
        match freeze.for_ms {
            None => Some((freeze, None)),
            Some(for_ms) => {
                let left = for_ms.saturating_sub(freeze.given.at.until(now));
                (left > 0).then_some((freeze, Some(left)))
            }
        }
    }

    /// Changes that runs which began within the window may make or have made.
    #[must_use]
    pub fn spent_at(&self, rules: &Governance, now: &Moment) -> u32 {
        self.spent
            .iter()
            .filter(|spent| spent.at.until(now) < rules.window_ms)
            .fold(0_u32, |sum, spent| sum.saturating_add(spent.actions))
    }

    /// The last question about an incident, when it was about a playbook with this digest.
    #[must_use]
    pub fn question(&self, incident: &IncidentId, digest: &str) -> Option<&Approval> {
        let last = self
            .approvals
            .iter()
            .rfind(|one| one.incident == *incident)?;
        (last.digest == digest).then_some(last)
    }

    /// The questions that wait for an answer, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Approval> {
        self.approvals
            .iter()
            .filter(|one| one.answer == Answer::Pending)
    }

    /// Carries out an order. Whether it changed anything.
    pub fn order(&mut self, order: &Order, given: &Given) -> bool {
        let before = self.orders.clone();
        match order {
            Order::Mode { mode } => self.orders.mode = *mode,
            Order::Freeze { on, for_ms } => {
                self.orders.freeze = on.then(|| Freeze {
                    given: given.clone(),
                    for_ms: *for_ms,
                });
            }
            Order::KillSwitch { on: true } => {
                // Thrown twice it was thrown by the first.
                self.orders.killed.get_or_insert_with(|| given.clone());
            }
            Order::KillSwitch { on: false } => self.orders.killed = None,
        }
        self.orders != before
    }

    /// Puts a question. An older one about the same incident that nobody answered is withdrawn:
    /// it was about another playbook.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn ask(
        &mut self,
        incident: &IncidentId,
        target: &str,
        (playbook, digest): (&PlaybookId, &str),
        actions: Vec<Need>,
        now: &Moment,
    ) -> Result<Approval, String> {
        self.withdraw(incident, now);
        if self.pending().count() >= MOST_PENDING {
            return Err(format!(
                "{MOST_PENDING} questions wait for an answer already: `grace approvals` lists them"
            ));
        }
        self.asked += 1;
        let approval = Approval {
            id: format!("apr-{}", self.asked),
            incident: incident.clone(),
            target: target.to_owned(),
            playbook: playbook.clone(),
            digest: digest.to_owned(),
            actions,
            answer: Answer::Pending,
            asked: now.clone(),
            answered: None,
        };
        self.approvals.push(approval.clone());
        self.forget_old_answers();
        Ok(approval)
    }

    /// Answers a question, by its id or its incident's.
    ///
    /// # Errors
    /// When there is none that waits, for a person.
    pub fn answer(&mut self, id: &str, yes: bool, given: &Given) -> Result<Approval, String> {
        let named = |one: &&mut Approval| one.id == id || one.incident.as_str() == id;
        let waits = self
            .approvals
            .iter_mut()
            .filter(named)
            .rfind(|one| one.answer == Answer::Pending);
        if let Some(one) = waits {
            one.answer = if yes {
                Answer::Approved
            } else {
                Answer::Denied
            };
            one.answered = Some(given.clone());
            return Ok(one.clone());
        }
        let last = self
            .approvals
            .iter()
            .rfind(|one| one.id == id || one.incident.as_str() == id);
        Err(match last {
            Some(one) => format!("{} is not open any more: {}", one.id, one.answer.word()),
            None => format!("nothing is asked under {id:?}"),
        })
    }

    /// A run begins: its approval, if it needed one, is used up, and what it may change counts.
    pub fn begin(&mut self, spent: Spent, incident: &IncidentId, digest: &str) {
        let approved = self
            .approvals
            .iter_mut()
            .rfind(|one| one.incident == *incident && one.digest == digest);
        if let Some(one) = approved
            && one.answer == Answer::Approved
        {
            one.answer = Answer::Used;
        }
        self.spent.push(spent);
    }

    /// What a run that needs `needs` may spend.
    #[must_use]
    pub fn price(needs: &[Need]) -> u32 {
        wanted(needs)
    }

    /// An incident is over, or its playbook changed: nobody need answer any more.
    pub fn withdraw(&mut self, incident: &IncidentId, now: &Moment) -> Option<Approval> {
        let one = self
            .approvals
            .iter_mut()
            .filter(|one| one.incident == *incident)
            .find(|one| matches!(one.answer, Answer::Pending | Answer::Approved))?;
        one.answer = Answer::Withdrawn;
        one.answered.get_or_insert_with(|| Given {
            by: "grace".to_owned(),
            why: "it is over, or another playbook is meant".to_owned(),
            at: now.clone(),
        });
        Some(one.clone())
    }

    /// Closes questions that waited too long. Answers with them.
    pub fn expire(&mut self, rules: &Governance, now: &Moment) -> Vec<Approval> {
        let mut closed = Vec::new();
        for one in &mut self.approvals {
            if one.answer == Answer::Pending && one.asked.until(now) >= rules.answer_ms {
                one.answer = Answer::Expired;
                closed.push(one.clone());
            }
        }
        closed
    }

    /// Lets go of what no judgement needs any more: runs that are over (`held` says which are
    /// not) and began before the window. Whether there was any.
    pub fn tidy(
        &mut self,
        rules: &Governance,
        now: &Moment,
        held: &dyn Fn(&Spent) -> bool,
    ) -> bool {
        let before = self.spent.len();
        self.spent
            .retain(|spent| spent.at.until(now) < rules.window_ms || held(spent));
        before != self.spent.len()
    }

    fn forget_old_answers(&mut self) {
        let closed = |one: &Approval| !matches!(one.answer, Answer::Pending | Answer::Approved);
        let mut over = self
            .approvals
            .iter()
            .filter(|one| closed(one))
            .count()
            .saturating_sub(KEPT_ANSWERS);
        self.approvals.retain(|one| {
            let goes = over > 0 && closed(one);
            over -= usize::from(goes);
            !goes
        });
    }
}
