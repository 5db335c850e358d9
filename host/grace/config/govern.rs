//! `[governance]`, and what a service lets run without a question.

use grace_model::govern::{Governance, Mode};
use grace_model::plugin::Risk;
use serde::Deserialize;
use toml::Spanned;

use super::fault::Fault;
use super::resolve::{not_zero, within};
use super::units::Millis;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceTable {
    pub mode: Option<Mode>,
    pub ask: Option<Ask>,
    #[serde(default)]
    pub allow: Vec<Spanned<String>>,
    pub answer: Option<Spanned<Millis>>,
    pub actions: Option<Spanned<u32>>,
    pub window: Option<Spanned<Millis>>,
    pub blast_radius: Option<Spanned<u32>>,
    pub flaps: Option<Spanned<u32>>,
    pub flap_window: Option<Spanned<Millis>>,
}

/// From which risk on playbooks wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    Never,
    Low,
    Medium,
    High,
}

/// Resolves it.
pub fn resolve(table: GovernanceTable, faults: &mut Vec<Fault>) -> Governance {
    let default = Governance::default();
    Governance {
        mode: table.mode.unwrap_or(default.mode),
        ask: match table.ask {
            None => default.ask,
            Some(Ask::Never) => None,
            Some(Ask::Low) => Some(Risk::Low),
            Some(Ask::Medium) => Some(Risk::Medium),
            Some(Ask::High) => Some(Risk::High),
        },
        allow: allowed(table.allow, faults),
        answer_ms: not_zero(table.answer, default.answer_ms, "answer", faults),
        actions: within(
            table.actions,
            default.actions,
            1..=100_000,
            "actions",
            faults,
        ),
        window_ms: not_zero(table.window, default.window_ms, "window", faults),
        blast_percent: within(
            table.blast_radius,
            default.blast_percent,
            1..=100,
            "blast_radius",
            faults,
        ),
        flaps: within(table.flaps, default.flaps, 1..=1_000, "flaps", faults),
        flap_window_ms: not_zero(
            table.flap_window,
            default.flap_window_ms,
            "flap_window",
            faults,
        ),
    }
}

/// Actions by name, or whole packs. Whether there is such an action only a host knows.
pub fn allowed(list: Vec<Spanned<String>>, faults: &mut Vec<Fault>) -> Vec<String> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
    };
    for rule in &list {
        let good = rule
            .get_ref()
            .split_once('.')
            .is_some_and(|(pack, verb)| word(pack) && (verb == "*" || word(verb)));
        if !good {
            let what = format!(
                "{:?} is no action; write \"pack.verb\" as config.restore, or \"pack.*\"",
                rule.get_ref()
            );
            faults.push(Fault::new(rule.span(), what));
        }
    }
    list.into_iter().map(Spanned::into_inner).collect()
}
