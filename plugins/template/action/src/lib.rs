//! Action pack `__name__`. One action for a start: it writes a line to the host's log.

#![cfg_attr(target_family = "wasm", no_std)]

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::prelude::*;

/// The pack.
pub struct Plugin;

impl ActionPack for Plugin {
    /// Playbooks are checked against this before they run.
    fn describe() -> Vec<ActionInfo> {
        vec![
            action("__name__.greet", "Write a greeting to the log", Risk::None)
                .taking([required("target", ParamType::Target, "whom to greet")])
                .giving(&["text"]),
        ]
    }

    /// What `run` would do, a line each. Changes nothing.
    fn plan(call: &Call) -> Result<Vec<String>> {
        match call.action.as_str() {
            "__name__.greet" => Ok(vec![format!("log: {}", greeting(call)?)]),
            other => Err(unknown(other)),
        }
    }

    /// Does it. The same call may come again after a crash of the host.
    fn run(call: &Call) -> Result<Receipt> {
        match call.action.as_str() {
            "__name__.greet" => {
                let text = greeting(call)?;
                host::log::info(&text);
                Ok(receipt(false, "greeted").output("text", text))
            }
            other => Err(unknown(other)),
        }
    }

    /// Takes back what the receipt says. An action that can be taken back is `.undoable()` in
    /// `describe` and leaves what it needs with `.undo_with(..)`.
    fn undo(_action: &str, _receipt: &Receipt) -> Result<()> {
        Ok(())
    }
}

fn greeting(call: &Call) -> Result<String> {
    Ok(format!("{} {}", config::text("greeting", "hello"), call.need_text("target")?))
}

export_action!(Plugin);

#[cfg(test)]
mod tests {
    use grace_plugin_sdk::testkit::FakeHost;

    use super::*;

    #[test]
    fn greet_writes_one_line_and_gives_it_back() {
        let host = FakeHost::start();
        let done = host.run::<Plugin>("__name__.greet", &[("target", "shop-1".into())]).unwrap();
        assert_eq!(done.outputs.text("text"), Some("hello shop-1"));
        assert_eq!(host.world(|world| world.lines().len()), 1);
    }

    #[test]
    fn plan_changes_nothing() {
        let host = FakeHost::start();
        let lines = host.plan::<Plugin>("__name__.greet", &[("target", "shop-1".into())]).unwrap();
        assert_eq!(lines, ["log: hello shop-1"]);
        assert!(host.world(|world| world.lines().is_empty()));
    }
}
