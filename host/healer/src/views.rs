//! What the API shows, the playbook that it starts by hand, and the orders and answers that it
//! takes. It changes nothing else.

use std::sync::{Arc, MutexGuard, PoisonError};

use grace_ledger::Queries;
use grace_model::govern::{Approval, GovernanceView, Order};
use grace_model::id::{IncidentId, InstanceId, PlaybookId};
use grace_model::incident::{Incident, IncidentState};
use grace_model::ipc::FleetStatus;
use grace_model::playbook::{Playbook, Step};
use grace_model::plugin::{ActionCall, ActionInfo, Finding, Severity};
use grace_model::port::{
    ArtifactView, HostViews, IncidentChanges, PlaybookRun, PlaybookView, Story, StoryEntry,
};
use grace_model::status::{Kernel, PluginView};
use grace_model::usage::Measured;
use grace_plan::run::{Run, condition_holds, filled, outline};

use crate::desk::{changes, signature};
use crate::error::HealerError;
use crate::govern::{Entered, Entry, enter};
use crate::heal::Reach;
use crate::heal::crew::Crew;
use crate::heal::port::CallPort;
use crate::heal::shelf::Shelf;
use crate::kernel::House;
use crate::signal::measured::Gauges;

/// The kind of a finding that a person stands for.
pub const BY_HAND: &str = "manual";

/// The healer's views.
pub struct Views {
    /// Everything that is reached.
    pub reach: Arc<Reach>,
    /// Playbooks.
    pub shelf: Arc<Shelf>,
    /// Threads of runs.
    pub crew: Arc<Crew>,
    /// The kernels here.
    pub house: Arc<House>,
    /// Rung when a run has ended.
    pub bell: Arc<dyn Fn() + Send + Sync>,
}

impl HostViews for Views {
    fn fleet(&self) -> Option<FleetStatus> {
        self.reach.fleet()
    }

    fn incidents(&self) -> Vec<Incident> {
        self.reach.desk.incidents()
    }

    fn incidents_version(&self) -> u64 {
        self.reach.desk.version()
    }

    fn incidents_at(&self) -> (u64, Vec<Incident>) {
        self.reach.desk.incidents_at().unwrap_or_else(|e| {
            tracing::error!(cause = %e, "the ledger's length cannot be read");
            (0, self.incidents())
        })
    }

    fn incident_changes(&self, after: u64) -> Option<IncidentChanges> {
        let nothing = IncidentChanges {
            seq: after,
            changes: Vec::new(),
        };
        changes(self.reach.desk.ledger(), after).unwrap_or_else(|e| {
            tracing::error!(cause = %e, "the changes of incidents cannot be read");
            Some(nothing)
        })
    }

    fn story(&self, id: &str) -> Option<Story> {
        let id = IncidentId::from(id);
        let incident = self.reach.desk.look(|board| board.get(&id).cloned())?;
        let entries = match self.reach.desk.ledger().entries_of(&id) {
            Ok(entries) => entries,
            Err(e) => {
                tracing::error!(incident = %id, cause = %e, "its story cannot be read");
                return None;
            }
        };
        let entries = entries
            .into_iter()
            .map(|e| StoryEntry {
                seq: e.seq,
                at: e.at,
                kind: e.kind,
                body: e.body,
            })
            .collect();
        Some(Story { incident, entries })
    }

    fn playbooks(&self) -> Vec<PlaybookView> {
        self.shelf.views()
    }

    fn plugins(&self) -> Vec<PluginView> {
        self.reach.plugins.list()
    }

    fn actions(&self) -> Vec<ActionInfo> {
        self.reach.plugins.actions()
    }

    fn kernels(&self) -> Vec<Kernel> {
        let mut kernels = self
            .reach
            .fleet()
            .map_or_else(Vec::new, |fleet| fleet.kernels);
        let gauges = self.gauges();
        kernels.extend(gauges.proxy().into_iter().flat_map(|it| it.kernels.clone()));
        drop(gauges);
        kernels.extend(self.house.views("healer"));
        kernels
    }

    fn measured(&self) -> Measured {
        self.gauges().view()
    }

    fn run_playbook(&self, id: &str, target: &str, dry_run: bool) -> Result<PlaybookRun, String> {
        self.known(target)?;
        let playbook = self.shelf.usable(&PlaybookId::from(id))?;
        let for_incident = self.unresolved_for(&playbook, target);
        let finding = match &for_incident {
            Some(incident) => incident.finding.clone(),
            None => by_hand(&playbook, target),
        };
        if dry_run {
            let incident = for_incident.map_or_else(|| IncidentId::from("dry-run"), |i| i.id);
            return Ok(PlaybookRun::Plan {
                lines: self.plan(&playbook, &finding, &incident),
            });
        }
        self.start(playbook, finding, for_incident)
    }

    fn artifacts(&self) -> Result<Vec<ArtifactView>, String> {
        let instances = self.reach.instances();
        let views = self.reach.files.artifacts(&instances);
        views.map_err(|e| e.to_string())
    }

    fn snapshot_artifacts(
        &self,
        service: Option<&str>,
        by: &str,
    ) -> Result<Vec<ArtifactView>, String> {
        let instances = self.reach.instances();
        tracing::info!(by, service, "artifacts are snapshotted");
        let views = self.reach.files.snapshot_artifacts(service, &instances);
        views.map_err(|e| e.to_string())
    }

    fn governance(&self) -> GovernanceView {
        self.reach.governor.view(&self.reach.desk)
    }

    fn approvals(&self) -> Vec<Approval> {
        self.reach.governor.look(|book| book.approvals.clone())
    }

    fn order(&self, order: &Order, by: &str, why: &str) -> Result<GovernanceView, String> {
        let desk = &self.reach.desk;
        let done = self.reach.governor.order(desk, order, by, why);
        done.map_err(|e| e.to_string())?;
        // What was held up may run now.
        (self.bell)();
        Ok(self.governance())
    }

    fn answer(&self, id: &str, yes: bool, by: &str, why: &str) -> Result<Approval, String> {
        let desk = &self.reach.desk;
        let answered = self.reach.governor.answer(desk, id, yes, (by, why));
        let approval = answered.map_err(|e| e.to_string())??;
        (self.bell)();
        Ok(approval)
    }
}

impl Views {
    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        let gauges = self.reach.gauges.lock();
        gauges.unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, target: &str) -> Result<(), String> {
        let services = &self.reach.services;
        let is_service = services.iter().any(|s| s.name.as_str() == target);
        let is_instance = match self.reach.fleet() {
            Some(fleet) => fleet.instances.iter().any(|i| i.id.as_str() == target),
            None => InstanceId::from(target)
                .split()
                .is_some_and(|(service, _)| services.iter().any(|s| s.name == service)),
        };
        if is_service || is_instance || target == crate::signal::convert::HOST {
            return Ok(());
        }
        let names: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
        Err(format!(
            "there is no instance or service {target:?}; services: {}; `grace instances` lists the instances",
            names.join(", ")
        ))
    }

    /// An incident of this target that the playbook is for.
    fn unresolved_for(&self, playbook: &Playbook, target: &str) -> Option<Incident> {
        self.reach.desk.look(|board| {
            board
                .unresolved()
                .filter(|i| matches!(i.state, IncidentState::Open | IncidentState::Escalated))
                .filter(|i| i.target == target)
                .find(|i| {
                    playbook
                        .triggers
                        .iter()
                        .any(|t| t.finding == i.finding.kind)
                })
                .cloned()
        })
    }

    fn start(
        &self,
        playbook: Playbook,
        finding: Finding,
        for_incident: Option<Incident>,
    ) -> Result<PlaybookRun, String> {
        let desk = &self.reach.desk;
        let target = finding.target.clone();
        if self.crew.room() == 0 {
            return Err("as many playbooks run as may at a time: try again later".to_owned());
        }
        let service = self.reach.service_of(&target);
        let _until_a_thread_has_it = self.crew.hand_over();
        let entered = self.reach.governor.change(desk, |draft, book, now| {
            let id = match &for_incident {
                Some(incident) => incident.id.clone(),
                None => {
                    let signature = signature(&service, &finding.kind, &finding.cause);
                    draft.open(signature, BY_HAND, &finding)?.incident().clone()
                }
            };
            let entry = Entry {
                incident: &id,
                playbook,
                finding,
                before: &[],
                why: "started by hand",
                by_hand: true,
            };
            match enter(&self.reach, draft, (book, now), entry)? {
                Entered::Run(run) => Ok(*run),
                // Nothing of it is written: not even the incident that stands for it.
                Entered::Waits(why, _) => Err(HealerError::Held(why)),
            }
        });
        let run: Run = entered.map_err(|e| e.to_string())?;
        let incident = run.incident.0.clone();
        let bell = Arc::clone(&self.bell);
        self.crew
            .carry(run, move || bell())
            .map_err(|e| format!("no thread for the run, it starts with the next healer: {e}"))?;
        Ok(PlaybookRun::Started { incident })
    }

    /// What each step would do, as far as it is known before the steps before it ran.
    fn plan(&self, playbook: &Playbook, finding: &Finding, incident: &IncidentId) -> Vec<String> {
        let run = Run::new(
            "dry-run/0".into(),
            (incident, "dry-run"),
            playbook.clone(),
            finding.clone(),
            &[],
            0,
        );
        let mut lines = Vec::new();
        for condition in &playbook.preconditions {
            lines.push(match condition_holds(condition, &run) {
                Ok(true) => format!("precondition `{}`: holds", condition.0),
                Ok(false) => format!(
                    "precondition `{}`: does not hold, so it is passed over",
                    condition.0
                ),
                Err(e) => format!("precondition: {e}"),
            });
        }
        for (section, step) in outline(playbook, finding) {
            let condition = step
                .condition
                .as_ref()
                .map_or_else(String::new, |condition| {
                    let known = match condition_holds(condition, &run) {
                        Ok(true) => "holds".to_owned(),
                        Ok(false) => "does not hold".to_owned(),
                        Err(_) => "known when the steps before it ran".to_owned(),
                    };
                    format!(" if `{}` ({known})", condition.0)
                });
            lines.push(format!("{section} {}: {}{condition}", step.id, step.action));
            lines.extend(
                self.plan_step(step, &run)
                    .into_iter()
                    .map(|line| format!("    {line}")),
            );
        }
        if playbook.verify.is_empty() {
            lines.push(format!("verify: {} is ready", finding.target));
        }
        lines
    }

    fn plan_step(&self, step: &Step, run: &Run) -> Vec<String> {
        let params = match filled(&step.params, run) {
            Ok(params) => params,
            Err(e) => return vec![format!("known when the steps before it ran ({e})")],
        };
        let fields = match self.shelf.fields(&step.action, &params) {
            Ok(fields) => fields,
            Err(e) => return vec![format!("cannot run: {e}")],
        };
        let call = ActionCall {
            action: step.action.clone(),
            params: fields,
            incident: run.incident.0.clone(),
        };
        let port = CallPort::dry(Arc::clone(&self.reach), run.incident.clone());
        match self.reach.plugins.plan(&call, Box::new(port)) {
            Ok(lines) => lines,
            Err(e) => vec![format!("cannot be planned: {e}")],
        }
    }
}

/// A person says so.
fn by_hand(playbook: &Playbook, target: &str) -> Finding {
    Finding {
        kind: BY_HAND.to_owned(),
        target: target.to_owned(),
        severity: Severity::Moderate,
        confidence_permille: 1_000,
        summary: format!("playbook {} was started by hand", playbook.id),
        cause: format!("by hand: {}", playbook.id),
        evidence: Vec::new(),
    }
}
