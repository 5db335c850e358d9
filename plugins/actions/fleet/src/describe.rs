//! What the actions of this pack say of themselves.

use grace_plugin_sdk::prelude::*;

pub fn actions() -> Vec<ActionInfo> {
    let target = || required("target", ParamType::Target, "the instance");
    let reason = || optional("reason", ParamType::Text, "why, for the record");
    vec![
        action("fleet.restart", "End a process and start a new one", Risk::Low)
            .taking([
                required(
                    "target",
                    ParamType::Target,
                    "the instance; or a service: its instances one after another, each ready before the next",
                ),
                optional(
                    "mode",
                    ParamType::Text,
                    "graceful (drain, SIGTERM, wait, SIGKILL; the default) or kill (SIGKILL at once)",
                ),
                optional(
                    "within",
                    ParamType::Duration,
                    "for a service: how long each instance may take to be ready (default 10s)",
                ),
                reason(),
            ])
            .giving(&["generation", "restarted"]),
        action("fleet.pause", "Take an instance out of rotation and SIGSTOP it", Risk::Low)
            .taking([target(), reason()])
            .undoable(),
        action("fleet.resume", "SIGCONT an instance", Risk::Low).taking([target(), reason()]),
        action("fleet.scale", "Set the number of instances of a service", Risk::Low)
            .taking([
                required("service", ParamType::Target, "the service"),
                required("instances", ParamType::Integer, "how many, 0 to 256"),
                reason(),
            ])
            .giving(&["before", "instances"])
            .undoable(),
        action("fleet.drain", "Give an instance no new requests and wait for the rest", Risk::Low)
            .taking([target(), reason()])
            .undoable(),
        action("fleet.release", "End a drain or a quarantine", Risk::Low)
            .taking([target(), reason()]),
        action(
            "fleet.quarantine",
            "Take an instance out of rotation and keep it running as evidence",
            Risk::Low,
        )
        .taking([target(), reason()])
        .undoable(),
    ]
}
