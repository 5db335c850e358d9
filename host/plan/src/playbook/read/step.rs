//! Steps, checks and undos of a playbook.

use grace_model::playbook::{Step, StepFailure, Undo};

use super::{Reader, scalar};
use crate::playbook::diagnostic::suggest;
use crate::playbook::keys;
use crate::playbook::yaml::{Node, Tree};

impl Reader<'_> {
    pub(super) fn step(&mut self, node: &Node, path: &str) -> Option<Step> {
        self.step_with(node, path, None)
    }

    /// A step that checks. Its name may be left out.
    pub(super) fn check_step(&mut self, node: &Node, path: &str) -> Option<Step> {
        let index = path
            .rsplit_once('[')
            .map_or("0", |(_, index)| index.trim_end_matches(']'));
        let number = index.parse::<usize>().unwrap_or(0) + 1;
        self.step_with(node, path, Some(format!("verify-{number}")))
    }

    fn step_with(&mut self, node: &Node, path: &str, usual_id: Option<String>) -> Option<Step> {
        let mut fields = self.fields(node, path, keys::STEP, "a step")?;
        let given = self.text(&mut fields, "id");
        if let (Some(id), Some(node)) = (&given, fields.node("id")) {
            self.check_word(id, node, "step id");
        }
        let id = given.or(usual_id);
        let action = self.required_text(&mut fields, "action");
        let params = self.values(&mut fields, "params");
        let condition = match fields.take("if") {
            Some(node) => self.expression(node, &fields.path("if")),
            None => None,
        };
        let timeout_ms = self.duration(&mut fields, "timeout");
        let retries = self.integer(&mut fields, "retries", 0, keys::MAX_RETRIES);
        let backoff_ms = self.duration(&mut fields, "backoff");
        let on_failure = match self.text(&mut fields, "on_failure").as_deref() {
            None | Some("abort") => StepFailure::Abort,
            Some("continue") => StepFailure::Continue,
            Some(word) => {
                let help = suggest(word, "words", &["abort", "continue"]);
                let place = fields.place_of("on_failure");
                let message = format!("`on_failure` of a step cannot be `{word}`");
                self.error("bad-word", place, message, help);
                StepFailure::Abort
            }
        };
        let verify = self.list(&mut fields, "verify", Self::check_step);
        let undo = match fields.take("undo") {
            Some(node) => self.undo(node, &fields.path("undo")),
            None => Undo::Auto,
        };
        Some(Step {
            id: id?,
            action: action?,
            params,
            condition,
            timeout_ms: timeout_ms.unwrap_or(keys::DEFAULT_TIMEOUT_MS),
            retries: retries
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(0),
            backoff_ms: backoff_ms.unwrap_or(keys::DEFAULT_BACKOFF_MS),
            on_failure,
            verify,
            undo,
        })
    }

    fn undo(&mut self, node: &Node, path: &str) -> Undo {
        if let Tree::Map(_) = node.value {
            let step = self.step_with(node, path, Some("undo".to_owned()));
            return step.map_or(Undo::None, |step| Undo::Step(Box::new(step)));
        }
        let word = scalar(node).map_or_else(|| node.value.words().to_owned(), |v| v.to_string());
        match word.as_str() {
            "auto" => Undo::Auto,
            "none" => Undo::None,
            word => {
                let help = suggest(word, "words", &["auto", "none"])
                    .map(|help| format!("{help}, or an action with its params"));
                self.error(
                    "bad-word",
                    node.place,
                    format!("`undo` cannot be `{word}`"),
                    help,
                );
                Undo::None
            }
        }
    }
}
