//! Every kind of fault: the text, its code, what it points at, a part of its help.

use super::faults::{RESTART, fault, meant, with};
use crate::playbook::Level;

#[test]
fn each_fault_is_told_at_its_place() {
    let step = |text: &str| with(&format!("{RESTART}  - id: two\n{text}"));
    let whole = |from: &str, to: &str| with(RESTART).replace(from, to);
    let target = "params: { target: a }";
    for (text, code, points_at, help) in [
        (
            whole("fleet.restart", "fleet.restrat"),
            "unknown-action",
            "fleet.restrat",
            "`fleet.restart`",
        ),
        (
            whole("fleet.restart", "restart"),
            "unknown-action",
            "restart",
            "`fleet.restart`",
        ),
        (
            whole("finding.target", "finding.taget"),
            "unknown-variable",
            "finding.taget",
            "`finding.target`",
        ),
        (
            whole("finding.target", "target"),
            "unknown-variable",
            "target",
            "`finding.target`",
        ),
        (
            whole("finding.target", "params.wihtin"),
            "unknown-variable",
            "params.wihtin",
            "`params.within`",
        ),
        (
            whole("finding.target", "two.changed"),
            "unknown-variable",
            "two.changed",
            "earlier step",
        ),
        (
            whole("finding.target", "again.changed"),
            "unknown-variable",
            "again.changed",
            "earlier step",
        ),
        (
            whole("finding.target", "finding.evidence"),
            "unknown-variable",
            "finding.evidence",
            "evidence.NAME",
        ),
        (
            whole("${finding.target}", "${finding.target"),
            "syntax",
            "${",
            "",
        ),
        (
            whole("instance-hang", "instance-hung"),
            "unknown-finding",
            "instance-hung",
            "`instance-hang`",
        ),
        (
            whole("triggers: [{ finding: instance-hang }]", "triggers: []"),
            "no-triggers",
            "triggers",
            "manual",
        ),
        (
            whole("id: p", "id: Not Good"),
            "bad-name",
            "Not Good",
            "a-z",
        ),
        (whole("version: 1", "version: one"), "wrong-kind", "one", ""),
        (whole("version: 1", "version: 0"), "out-of-range", "0", ""),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    timeout: 0s\n"
            )),
            "no-time",
            "0s",
            "5s",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    timeout: 5\n"
            )),
            "bad-duration",
            "5",
            "`5s`",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    timeout: 5 sec\n"
            )),
            "bad-duration",
            "5 sec",
            "`ms`",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    retries: many\n"
            )),
            "wrong-kind",
            "many",
            "",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    on_failure: contine\n"
            )),
            "bad-word",
            "contine",
            "`continue`",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    if: false\n"
            )),
            "unreachable",
            "false",
            "",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    if: again.changed and 1 > 2\n"
            )),
            "unreachable",
            "again.changed and 1 > 2",
            "",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    if: again.chnaged\n"
            )),
            "unknown-variable",
            "again.chnaged",
            "`again.changed`",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    if: again.changed = true\n"
            )),
            "syntax",
            "=",
            "",
        ),
        (
            step(&format!(
                "    action: fleet.pause\n    {target}\n    undo: atuo\n"
            )),
            "bad-word",
            "atuo",
            "`auto`",
        ),
        (
            step("    action: fleet.scale\n    params: { service: a, instances: four }\n"),
            "wrong-type",
            "four",
            "",
        ),
        (
            step(
                "    action: fleet.scale\n    params: { service: a, instances: \"${params.within}\" }\n",
            ),
            "wrong-type",
            "\"${params.within}\"",
            "",
        ),
        (
            step("    action: fleet.scale\n    params: { service: a }\n"),
            "missing-parameter",
            "fleet.scale",
            "instances",
        ),
        (
            step("    action: fleet.pause\n    params: { target: a, raeson: b }\n"),
            "unknown-parameter",
            "raeson",
            "`reason`",
        ),
        (
            step("    action: probe.smoke\n    params: { target: a, within: 10 }\n"),
            "wrong-type",
            "10",
            "",
        ),
        (
            step("    action: data.wipe\n    params: { target: a, sure: 1 }\n    undo: none\n"),
            "wrong-type",
            "1",
            "",
        ),
        (
            step(&format!("    action: data.wipe\n    {target}\n")),
            "missing-undo",
            "data.wipe",
            "undo: none",
        ),
        (
            step(&format!(
                "    action: data.wipe\n    {target}\n    undo: auto\n"
            )),
            "not-undoable",
            "auto",
            "undo: none",
        ),
        (
            step(&format!("    action: fleet.pause\n    {target}\n"))
                .replace("id: two", "id: again"),
            "double-id",
            "again",
            "",
        ),
        (
            step(&format!("    action: fleet.pause\n    {target}\n"))
                .replace("id: two", "id: finding"),
            "bad-name",
            "finding",
            "",
        ),
        (
            format!("{}on_failure: [{{ escalate: lgo }}]\n", with(RESTART)),
            "unknown-channel",
            "lgo",
            "`log`",
        ),
        (
            format!("{}on_failure: [{{ playbook: q }}]\n", with(RESTART)),
            "unknown-playbook",
            "q",
            "",
        ),
        (
            format!("{}on_failure: [{{ playbook: p }}]\n", with(RESTART)),
            "fallback-to-itself",
            "p",
            "",
        ),
        (
            format!("{}on_failure: [{{ rollback: some }}]\n", with(RESTART)),
            "bad-word",
            "some",
            "all",
        ),
        (
            format!(
                "{}on_failure: [{{ playbook: instance-crash }}, {{ rollback: all }}]\n",
                with(RESTART)
            ),
            "unreachable",
            "instance-crash",
            "last",
        ),
        (
            format!("{}preconditions: [\"1 == 2\"]\n", with(RESTART)),
            "unreachable",
            "\"1 == 2\"",
            "",
        ),
        (
            format!("{}branches: {{ critcal: [] }}\n", with(RESTART)),
            "bad-severity",
            "critcal",
            "`critical`",
        ),
        (
            format!(
                "{}verify: [{{ action: probe.slo, {target}, on_failure: continue }}]\n",
                with(RESTART)
            ),
            "check-ignored",
            "continue",
            "",
        ),
        (
            format!("{}colour: red\n", with(RESTART)),
            "unknown-key",
            "colour",
            "keys",
        ),
        (
            format!("{}priorty: 3\n", with(RESTART)),
            "unknown-key",
            "priorty",
            "`priority`",
        ),
    ] {
        let fault = fault(&text);
        assert_eq!(fault.code, code, "{text}\n{fault:?}");
        assert_eq!(fault.severity, Level::Error);
        assert_eq!(fault.file, "p.yaml");
        assert_eq!(meant(&text, &fault), points_at, "{text}\n{fault:?}");
        let said = fault.help.clone().unwrap_or_default();
        assert!(said.contains(help), "{text}\n{fault:?}");
    }
}
