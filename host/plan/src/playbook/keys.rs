//! Every key of a playbook with what it means: the reader, the JSON schema and the reference
//! all take them from here.

/// A key.
pub(crate) struct Key {
    pub name: &'static str,
    pub required: bool,
    pub meaning: &'static str,
}

const fn key(name: &'static str, required: bool, meaning: &'static str) -> Key {
    Key {
        name,
        required,
        meaning,
    }
}

pub(crate) const PLAYBOOK: &[Key] = &[
    key("id", true, "Its name: lower-case words joined by `-`."),
    key("version", true, "Its author's count of changes, from 1."),
    key("description", true, "One sentence on what it is for."),
    key(
        "triggers",
        true,
        "Findings that start it; any of them does.",
    ),
    key(
        "preconditions",
        false,
        "Expressions that all must hold, else it is passed over.",
    ),
    key("parameters", false, "Values for `${params.NAME}`."),
    key(
        "steps",
        false,
        "What to do, in order. Required unless there are `branches`.",
    ),
    key(
        "branches",
        false,
        "Steps that replace `steps` when the finding has this severity.",
    ),
    key("verify", false, "Checks after the steps; all must succeed."),
    key(
        "on_failure",
        false,
        "What to do, in order, when a step or a check failed.",
    ),
    key(
        "cooldown",
        false,
        "Not again for the same signature and target within this time (30s).",
    ),
    key("slo", false, "The whole run must be over in this time."),
    key(
        "priority",
        false,
        "Higher goes first when several playbooks match (0).",
    ),
];

pub(crate) const TRIGGER: &[Key] = &[
    key(
        "finding",
        true,
        "A finding's kind; `manual` for a playbook that only people start.",
    ),
    key(
        "severity",
        false,
        "At least this bad: minor, moderate, major, critical.",
    ),
    key("service", false, "Only for this service and its instances."),
];

pub(crate) const STEP: &[Key] = &[
    key(
        "id",
        true,
        "Its name, unique among the steps that run together.",
    ),
    key("action", true, "What to do, as `pack.verb`."),
    key(
        "params",
        false,
        "The action's parameters; texts may hold `${name}`.",
    ),
    key("if", false, "Only when this expression holds."),
    key("timeout", false, "Time that one try may take (30s)."),
    key("retries", false, "Tries beyond the first, at most 20 (0)."),
    key(
        "backoff",
        false,
        "Wait before the second try; it doubles (1s).",
    ),
    key(
        "on_failure",
        false,
        "When all tries failed: `abort` (default) or `continue`.",
    ),
    key(
        "verify",
        false,
        "Checks that belong to this step's success.",
    ),
    key(
        "undo",
        false,
        "How to take it back: `auto`, `none`, or an action with its params.",
    ),
];

pub(crate) const ON_FAILURE: &[Key] = &[
    key(
        "rollback",
        false,
        "`all`: undo every step that took effect, last first; done before all else unless said. `none`: leave them.",
    ),
    key(
        "escalate",
        false,
        "Tell people: a channel of grace.toml, or `log`.",
    ),
    key(
        "playbook",
        false,
        "Run the playbook with this id for the same incident.",
    ),
];

pub(crate) const SEVERITIES: [&str; 4] = ["minor", "moderate", "major", "critical"];

/// What is used when a key is left out.
pub(crate) const DEFAULT_TIMEOUT_MS: u64 = 30_000;
pub(crate) const DEFAULT_BACKOFF_MS: u64 = 1_000;
pub(crate) const DEFAULT_COOLDOWN_MS: u64 = 30_000;
pub(crate) const MAX_RETRIES: i64 = 20;
