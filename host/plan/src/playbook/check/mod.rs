//! Whether a playbook that can be read also makes sense: its actions, their parameters, the
//! names it uses, its order and its times. It must not know where actions come from.

mod names;
mod params;
mod steps;

use grace_model::playbook::{OnFailure, Playbook, Step, Undo};
use grace_model::plugin::ActionInfo;

use super::diagnostic::{Diagnostic, Level, Place, suggest};
use super::expression;
use super::keys::SEVERITIES;
use super::read::{Read, diagnostic, read};
use super::scope::{severity_of, severity_word};
use names::Names;
use steps::Role;

/// What there is to refer to. `None`: not known here, and not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Catalogue<'c> {
    /// The actions of all live packs.
    pub actions: &'c [ActionInfo],
    /// Kinds that detectors report.
    pub findings: Option<&'c [String]>,
    /// Channels that messages can go to.
    pub channels: Option<&'c [String]>,
    /// Ids of all playbooks.
    pub playbooks: Option<&'c [String]>,
}

impl<'c> Catalogue<'c> {
    fn action(&self, name: &str) -> Option<&'c ActionInfo> {
        self.actions.iter().find(|action| action.name == name)
    }
}

/// A file that was read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// None when there is an error among the diagnostics.
    pub playbook: Option<Playbook>,
    /// Errors and warnings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks a file. In the playbook that comes out, a step that says nothing of `undo`
/// has [`Undo::Auto`] if its action can be undone and [`Undo::None`] if not.
#[must_use]
pub fn load(text: &str, origin: &str, catalogue: &Catalogue<'_>) -> Loaded {
    let read = match read(text, origin) {
        Ok(read) => read,
        Err(diagnostics) => {
            return Loaded {
                playbook: None,
                diagnostics,
            };
        }
    };
    let diagnostics = check(&read, catalogue);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Loaded {
            playbook: None,
            diagnostics,
        };
    }
    let mut playbook = read.playbook;
    let lists = playbook
        .branches
        .values_mut()
        .chain([&mut playbook.steps, &mut playbook.verify]);
    for step in lists.flatten() {
        settle_undo(step, catalogue);
    }
    Loaded {
        playbook: Some(playbook),
        diagnostics,
    }
}

/// A written `auto` on an action that cannot be undone was refused, so what is left is silent.
fn settle_undo(step: &mut Step, catalogue: &Catalogue<'_>) {
    let undoable = catalogue
        .action(&step.action)
        .is_some_and(|action| action.undoable);
    if step.undo == Undo::Auto && !undoable {
        step.undo = Undo::None;
    }
    for check in &mut step.verify {
        settle_undo(check, catalogue);
    }
}

/// Every fault, in the order of the file.
#[must_use]
pub fn check(read: &Read, catalogue: &Catalogue<'_>) -> Vec<Diagnostic> {
    let mut checker = Checker {
        read,
        catalogue,
        diagnostics: Vec::new(),
    };
    checker.playbook();
    checker
        .diagnostics
        .sort_by_key(|fault| (fault.line, fault.column));
    checker.diagnostics
}

struct Checker<'r> {
    read: &'r Read,
    catalogue: &'r Catalogue<'r>,
    diagnostics: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn tell(
        &mut self,
        level: Level,
        code: &str,
        place: Place,
        message: String,
        help: Option<String>,
    ) {
        let at = (
            self.read.playbook.origin.as_str(),
            self.read.source.as_str(),
        );
        self.diagnostics
            .push(diagnostic(level, code, at, place, message, help));
    }

    fn error(&mut self, code: &str, path: &str, message: String, help: Option<String>) {
        let place = self.read.place(path);
        self.tell(Level::Error, code, place, message, help);
    }

    fn warn(&mut self, code: &str, path: &str, message: String, help: Option<String>) {
        let place = self.read.place(path);
        self.tell(Level::Warning, code, place, message, help);
    }

    fn playbook(&mut self) {
        let playbook = &self.read.playbook;
        self.triggers(playbook);
        let names = Names::of(playbook);
        self.parameters(playbook);
        for (index, condition) in playbook.preconditions.iter().enumerate() {
            let path = format!("preconditions[{index}]");
            if self.expression(&condition.0, &path, &names) == Some(false) {
                let message = "this is never true, so the playbook is never used".to_owned();
                self.error("unreachable", &path, message, None);
            }
        }
        // `steps` and the branches are alternatives; what comes after them may only use what
        // every one of them leaves behind.
        let mut after: Option<Names> = None;
        let mut alternatives = vec![("steps".to_owned(), &playbook.steps)];
        for (severity, steps) in &playbook.branches {
            alternatives.push((format!("branches.{}", severity_word(*severity)), steps));
        }
        if self.branches_cover_all(playbook) {
            alternatives.remove(0);
        }
        for (path, steps) in alternatives {
            let mut names = names.clone();
            self.steps(steps, &path, &mut names, Role::Step);
            after = Some(match after {
                Some(after) => after.common_with(&names),
                None => names,
            });
        }
        let mut after = after.unwrap_or(names);
        self.steps(&playbook.verify, "verify", &mut after, Role::Check);
        self.on_failure(playbook);
    }

    fn triggers(&mut self, playbook: &Playbook) {
        if playbook.triggers.is_empty() {
            let help = "`triggers: [{ finding: manual }]` is right for one that only people or \
                        other playbooks start";
            let message = "no triggers: nothing would ever start it".to_owned();
            self.error("no-triggers", "triggers", message, Some(help.to_owned()));
        }
        for (index, trigger) in playbook.triggers.iter().enumerate() {
            let path = format!("triggers[{index}].finding");
            if let Some(findings) = self.catalogue.findings
                && trigger.finding != "manual"
                && !findings.contains(&trigger.finding)
            {
                let known: Vec<&str> = findings.iter().map(String::as_str).collect();
                let help = suggest(&trigger.finding, "findings", &known);
                let message = format!("no detector reports `{}`", trigger.finding);
                self.error("unknown-finding", &path, message, help);
            }
            if playbook
                .triggers
                .iter()
                .take(index)
                .any(|earlier| earlier == trigger)
            {
                let message = "this trigger is there twice".to_owned();
                self.warn("double-trigger", &path, message, None);
            }
        }
    }

    fn parameters(&mut self, playbook: &Playbook) {
        for name in playbook.parameters.keys() {
            if !expression::is_name(name) || name.contains('.') {
                let message = format!("`{name}` cannot be used as `${{params.{name}}}`");
                let help = "use letters, digits, `_` and `-`, starting with a letter".to_owned();
                self.error(
                    "bad-name",
                    &format!("parameters.{name}#key"),
                    message,
                    Some(help),
                );
            }
        }
    }

    /// Severities that no trigger lets in, and steps that no severity is left for.
    fn branches_cover_all(&mut self, playbook: &Playbook) -> bool {
        let admits = |word: &str| {
            let severity = severity_of(word);
            playbook.triggers.is_empty()
                || playbook
                    .triggers
                    .iter()
                    .any(|trigger| trigger.severity <= severity)
        };
        for severity in playbook.branches.keys() {
            let word = severity_word(*severity);
            if !admits(word) {
                let message = format!("no trigger lets a {word} finding in");
                self.error("unreachable", &format!("branches.{word}"), message, None);
            }
        }
        let covered = SEVERITIES
            .iter()
            .filter(|word| admits(word))
            .all(|word| severity_of(word).is_some_and(|s| playbook.branches.contains_key(&s)));
        if covered && !playbook.branches.is_empty() && !playbook.steps.is_empty() {
            let message = "every severity has a branch of its own, so these steps never run";
            self.error("unreachable", "steps", message.to_owned(), None);
        }
        covered && !playbook.branches.is_empty()
    }

    fn on_failure(&mut self, playbook: &Playbook) {
        for (index, entry) in playbook.on_failure.iter().enumerate() {
            let path = format!("on_failure[{index}]");
            match entry {
                OnFailure::Rollback | OnFailure::Keep => {}
                OnFailure::Escalate(channel) => {
                    let Some(channels) = self.catalogue.channels else {
                        continue;
                    };
                    if !channels.contains(channel) {
                        let known: Vec<&str> = channels.iter().map(String::as_str).collect();
                        let help = suggest(channel, "channels", &known);
                        let message = format!("there is no channel `{channel}`");
                        self.error(
                            "unknown-channel",
                            &format!("{path}.escalate"),
                            message,
                            help,
                        );
                    }
                }
                OnFailure::Playbook(id) => {
                    let path = format!("{path}.playbook");
                    if *id == playbook.id {
                        let message = "a playbook cannot fall back to itself".to_owned();
                        self.error("fallback-to-itself", &path, message, None);
                    } else if let Some(playbooks) = self.catalogue.playbooks
                        && !playbooks.contains(&id.0)
                    {
                        let known: Vec<&str> = playbooks.iter().map(String::as_str).collect();
                        let help = suggest(id.as_str(), "playbooks", &known);
                        let message = format!("there is no playbook `{id}`");
                        self.error("unknown-playbook", &path, message, help);
                    }
                    if index + 1 < playbook.on_failure.len() {
                        let message = "what comes after this is never done".to_owned();
                        let help = Some("a fallback takes over: put it last".to_owned());
                        self.error("unreachable", &path, message, help);
                    }
                }
            }
        }
    }
}
