//! Action pack `notify`: messages to people. It must not know channels: those are declared in
//! `grace.toml`, and the host carries the message.

#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(test)]
mod tests;

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::prelude::*;

/// The pack.
pub struct Notify;

struct Message<'a> {
    channel: String,
    severity: Severity,
    word: &'a str,
    subject: &'a str,
    text: &'a str,
}

impl ActionPack for Notify {
    fn describe() -> Vec<ActionInfo> {
        vec![
            action("notify.send", "Send a message to people", Risk::None)
                .taking([
                    required("subject", ParamType::Text, "one line"),
                    optional("text", ParamType::Text, "the rest"),
                    optional(
                        "channel",
                        ParamType::Text,
                        "as declared in grace.toml (default log)",
                    ),
                    optional(
                        "severity",
                        ParamType::Text,
                        "minor, moderate (the default), major or critical",
                    ),
                ])
                .giving(&["channel"]),
        ]
    }

    fn plan(call: &Call) -> Result<Vec<String>> {
        let message = Message::read(call)?;
        Ok(vec![format!(
            "send to {} ({}): {}",
            message.channel, message.word, message.subject
        )])
    }

    fn run(call: &Call) -> Result<Receipt> {
        let message = Message::read(call)?;
        host::notify::send(
            &message.channel,
            message.severity,
            message.subject,
            message.text,
        )?;
        let summary = format!("sent to {}: {}", message.channel, message.subject);
        Ok(receipt(true, summary).output("channel", message.channel))
    }

    /// What people have read stays read; a rollback must not fail on it.
    fn undo(_action: &str, _receipt: &Receipt) -> Result<()> {
        Ok(())
    }
}

impl<'a> Message<'a> {
    fn read(call: &'a Call) -> Result<Self> {
        if call.action != "notify.send" {
            return Err(unknown(&call.action));
        }
        let word = call
            .text("severity")
            .filter(|word| !word.is_empty())
            .unwrap_or("moderate");
        let severity = match word {
            "minor" => Severity::Minor,
            "moderate" => Severity::Moderate,
            "major" => Severity::Major,
            "critical" => Severity::Critical,
            other => {
                return Err(PluginError::InvalidInput(format!(
                    "notify.send: severity must be minor, moderate, major or critical, not {other:?}"
                )));
            }
        };
        let channel = match call.text("channel") {
            Some(channel) if !channel.is_empty() => channel.to_owned(),
            _ => config::text("channel", "log"),
        };
        Ok(Self {
            channel,
            severity,
            word,
            subject: call.need_text("subject")?,
            text: call.text("text").unwrap_or(""),
        })
    }
}

export_action!(Notify);
