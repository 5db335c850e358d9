//! Steps and checks one by one: what each refers to, its times, its undo.

use grace_model::manifest::{Limits, World};
use grace_model::playbook::{Step, StepFailure, Undo};
use grace_model::plugin::{ActionInfo, Risk};

use super::Checker;
use super::names::{self, Names};
use crate::playbook::diagnostic::suggest;
use crate::playbook::duration::words;

/// What a step is there for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Role {
    Step,
    Check,
    Undo,
}

impl Checker<'_> {
    pub(super) fn steps(&mut self, steps: &[Step], path: &str, names: &mut Names, role: Role) {
        for (index, step) in steps.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let id_path = format!("{path}.id");
            if names.has_step(&step.id) {
                let message = format!("there are two steps `{}`", step.id);
                self.error("double-id", &id_path, message, None);
            } else if names::RESERVED.contains(&step.id.as_str()) {
                let message = format!("a step cannot be called `{}`", step.id);
                let help = Some("the name has a meaning of its own in expressions".to_owned());
                self.error("bad-name", &id_path, message, help);
            }
            self.step(step, &path, names, role);
            names.add_step(&step.id, self.catalogue.action(&step.action));
        }
    }

    fn step(&mut self, step: &Step, path: &str, names: &Names, role: Role) {
        if let Some(condition) = &step.condition {
            let path = format!("{path}.if");
            match self.expression(&condition.0, &path, names) {
                Some(false) => {
                    let message = format!("`{}` never runs: this is never true", step.id);
                    self.error("unreachable", &path, message, None);
                }
                Some(true) => {
                    let message = "this is always true".to_owned();
                    self.warn(
                        "always-true",
                        &path,
                        message,
                        Some("leave it out".to_owned()),
                    );
                }
                None => {}
            }
        }
        let action = self.catalogue.action(&step.action);
        match action {
            None => {
                let known: Vec<&str> = self
                    .catalogue
                    .actions
                    .iter()
                    .map(|action| action.name.as_str())
                    .collect();
                let help = suggest(&step.action, "actions", &known);
                let message = format!("there is no action `{}`", step.action);
                self.error("unknown-action", &format!("{path}.action"), message, help);
                self.names_in_params(step, path, names);
            }
            Some(action) => self.arguments(step, action, path, names),
        }
        self.times(step, path);
        if role == Role::Check {
            self.check_only(step, action, path);
        }
        let mut with_itself = names.clone();
        with_itself.add_step(&step.id, action);
        if role == Role::Step {
            self.undo(step, action, path, &with_itself);
        }
        self.steps(
            &step.verify,
            &format!("{path}.verify"),
            &mut with_itself,
            Role::Check,
        );
    }

    fn times(&mut self, step: &Step, path: &str) {
        let timeout_path = format!("{path}.timeout");
        let most = Limits::of(World::Action).wall_ms;
        if step.timeout_ms == 0 {
            let message = format!("`{}` has no time to do anything", step.id);
            self.error(
                "no-time",
                &timeout_path,
                message,
                Some("e.g. `timeout: 5s`".to_owned()),
            );
        } else if step.timeout_ms > most {
            let message = format!("no call of an action takes longer than {}", words(most));
            let help = Some("use `retries` to go on trying".to_owned());
            self.warn("long-timeout", &timeout_path, message, help);
        }
        if let Some(slo) = self.read.playbook.slo_ms
            && step.timeout_ms > slo
        {
            let message = format!(
                "`{}` may take {}, the whole run only {}",
                step.id,
                words(step.timeout_ms),
                words(slo)
            );
            let help = Some(format!(
                "set `timeout` to less than {}, or raise `slo`",
                words(slo)
            ));
            self.warn("slo-too-small", &timeout_path, message, help);
        }
    }

    fn check_only(&mut self, step: &Step, action: Option<&ActionInfo>, path: &str) {
        if let Some(action) = action
            && action.risk > Risk::None
        {
            let message = format!(
                "a check should only look, and `{}` changes something",
                action.name
            );
            let help = Some("make it a step".to_owned());
            self.warn("check-changes", &format!("{path}.action"), message, help);
        }
        if step.on_failure == StepFailure::Continue {
            let message = "a check that may fail checks nothing".to_owned();
            self.error(
                "check-ignored",
                &format!("{path}.on_failure"),
                message,
                None,
            );
        }
    }

    fn undo(&mut self, step: &Step, action: Option<&ActionInfo>, path: &str, names: &Names) {
        let path = format!("{path}.undo");
        let said = self.read.says(&path);
        match (&step.undo, action) {
            (Undo::Step(undo), _) => self.step(undo, &path, names, Role::Undo),
            (Undo::Auto, Some(action)) if !action.undoable && said => {
                let message = format!("`{}` cannot be undone by itself", action.name);
                let help = "write `undo: none`, or an action that takes it back".to_owned();
                self.error("not-undoable", &path, message, Some(help));
            }
            (_, Some(action)) if !action.undoable && !said && action.risk >= Risk::Medium => {
                let message = format!(
                    "`{}` is risky, cannot be undone by itself, and has no `undo`",
                    action.name
                );
                let help = "write `undo: none`, or an action that takes it back".to_owned();
                let action_path = path.replace(".undo", ".action");
                self.error("missing-undo", &action_path, message, Some(help));
            }
            _ => {}
        }
    }
}
