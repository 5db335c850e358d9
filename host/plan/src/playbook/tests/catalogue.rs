//! The actions and findings of the plugins that come with Grace. `grace playbook check` in the
//! end-to-end tests holds the shipped playbooks against the plugins themselves.

use grace_model::plugin::{ActionInfo, Param, ParamType, Risk};

use crate::playbook::Catalogue;

pub struct Known {
    pub actions: Vec<ActionInfo>,
    pub findings: Vec<String>,
    pub channels: Vec<String>,
    pub playbooks: Vec<String>,
}

impl Known {
    pub fn catalogue(&self) -> Catalogue<'_> {
        Catalogue {
            actions: &self.actions,
            findings: Some(&self.findings),
            channels: Some(&self.channels),
            playbooks: Some(&self.playbooks),
        }
    }
}

pub fn known() -> Known {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    Known {
        actions: actions(),
        findings: words(&[
            "instance-crash",
            "instance-flapping",
            "instance-hang",
            "error-rate",
            "latency-high",
            "resource-pressure",
            "config-corrupt",
            "config-drift",
            "config-accepted",
            "artifact-corrupt",
        ]),
        channels: words(&["log", "oncall"]),
        playbooks: words(&["restart-instance", "instance-crash"]),
    }
}

/// `name!` for what is required.
fn action(name: &str, params: &str, outputs: &str, risk: Risk, undoable: bool) -> ActionInfo {
    let params = params
        .split_whitespace()
        .map(|word| {
            let (name, kind) = word.split_once(':').unwrap();
            let required = name.ends_with('!');
            let kind = match kind {
                "text" => ParamType::Text,
                "int" => ParamType::Integer,
                "flag" => ParamType::Flag,
                "target" => ParamType::Target,
                "time" => ParamType::Duration,
                other => panic!("{other}"),
            };
            let name = name.trim_end_matches('!').to_owned();
            Param {
                name,
                kind,
                required,
                summary: "what it is".to_owned(),
            }
        })
        .collect();
    ActionInfo {
        name: name.to_owned(),
        summary: String::new(),
        params,
        outputs: outputs.split_whitespace().map(str::to_owned).collect(),
        risk,
        undoable,
    }
}

fn actions() -> Vec<ActionInfo> {
    use Risk::{High, Low, Medium, None};
    vec![
        action(
            "fleet.restart",
            "target!:target mode:text within:time reason:text",
            "generation restarted",
            Low,
            false,
        ),
        action("fleet.pause", "target!:target reason:text", "", Low, true),
        action("fleet.resume", "target!:target reason:text", "", Low, false),
        action(
            "fleet.scale",
            "service!:target instances!:int reason:text",
            "before instances",
            Low,
            true,
        ),
        action(
            "fleet.quarantine",
            "target!:target reason:text",
            "",
            Low,
            true,
        ),
        action(
            "artifact.restore",
            "target!:target path!:text",
            "changed replaced",
            Medium,
            true,
        ),
        action(
            "artifact.verify",
            "target!:target path!:text",
            "hash",
            None,
            false,
        ),
        action(
            "config.snapshot",
            "target!:target path!:text",
            "changed hash",
            Low,
            false,
        ),
        action(
            "config.restore",
            "target!:target path!:text",
            "changed replaced",
            Medium,
            true,
        ),
        action(
            "config.validate",
            "target!:target path:text",
            "files",
            None,
            false,
        ),
        action(
            "probe.smoke",
            "target!:target path:text attempts:int within:time",
            "instances attempts latency_us",
            None,
            false,
        ),
        action(
            "probe.slo",
            "target!:target success:text p99:time for:time",
            "decided_by requests success_permille",
            None,
            false,
        ),
        action(
            "notify.send",
            "subject!:text text:text channel:text severity:text",
            "channel",
            None,
            false,
        ),
        action("data.wipe", "target!:target sure:flag", "", High, false),
    ]
}
