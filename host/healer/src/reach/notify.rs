//! Messages to people: Grace's log, a file, a program, a webhook, a mail. At least once, always with the same id,
//! so that a receiver can tell a repetition.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grace_model::config::Channel;
use grace_model::plugin::Severity;
use serde::Serialize;

use super::{mail, webhook};

/// The channel that always exists.
pub const LOG: &str = "log";

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same for a repetition.
    pub id: String,
    /// When, by the wall.
    pub at: u64,
    /// The incident, if there is one.
    pub incident: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub subject: String,
    /// The rest.
    pub text: String,
}

/// Sends a message on a channel of `channels`, or on `log`.
///
/// # Errors
/// Why it did not arrive, for a person.
pub fn send(
    channels: &BTreeMap<String, Channel>,
    name: &str,
    message: &Message,
    limit: Duration,
) -> Result<(), String> {
    match channels.get(name) {
        Some(Channel::Log) => to_log(message),
        None if name == LOG => to_log(message),
        None => {
            let known: Vec<&str> = channels.keys().map(String::as_str).collect();
            return Err(format!(
                "no channel {name:?}: declare it under [notify] of grace.toml (there are: log {})",
                known.join(" ")
            ));
        }
        Some(Channel::File(path)) => {
            let mut line = serde_json::to_vec(message).map_err(|e| e.to_string())?;
            line.push(b'\n');
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)
                .map_err(|e| format!("{}: {e}", path.display()))?;
            file.write_all(&line)
                .map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Some(Channel::Command(command)) => run(command, message, limit)?,
        Some(Channel::Webhook { url, token_file }) => {
            webhook::post(url, token_file.as_deref(), message, limit)?;
        }
        Some(Channel::Email(email)) => mail::send(email, message, limit)?,
    }
    Ok(())
}

fn to_log(message: &Message) {
    let Message {
        id,
        incident,
        severity,
        subject,
        text,
        ..
    } = message;
    let incident = incident.as_deref().unwrap_or("");
    match severity {
        Severity::Minor | Severity::Moderate => {
            tracing::warn!(%id, incident, ?severity, text, "{subject}");
        }
        Severity::Major | Severity::Critical => {
            tracing::error!(%id, incident, ?severity, text, "{subject}");
        }
    }
}

fn run(command: &[String], message: &Message, limit: Duration) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("the channel's command is empty: name a program in grace.toml".to_owned());
    };
    let end = Instant::now() + limit;
    let body = serde_json::to_vec(message).map_err(|e| e.to_string())?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        // Its own thread: a program that never reads must not hold us past the limit.
        std::thread::spawn(move || input.write_all(&body));
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{program}: {status}")),
            Ok(None) if Instant::now() >= end => {
                end_group(&mut child);
                return Err(format!(
                    "{program} did not end within {} ms",
                    limit.as_millis()
                ));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => return Err(format!("{program}: {e}")),
        }
    }
}

fn end_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _gone_already =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _reaped = child.wait();
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> Message {
        Message {
            id: "inc-1/1/tell/1/0".into(),
            at: 5,
            incident: Some("inc-1".into()),
            severity: Severity::Major,
            subject: "shop-1 is down".into(),
            text: "twice".into(),
        }
    }

    fn channels(dir: &std::path::Path, script: &str) -> BTreeMap<String, Channel> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        BTreeMap::from([
            ("file".to_owned(), Channel::File(dir.join("people.jsonl"))),
            ("command".to_owned(), Channel::Command(command)),
        ])
    }

    #[test]
    fn a_file_gets_a_line_of_json_and_a_command_gets_it_on_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("cat > {}", dir.path().join("heard").display());
        let channels = channels(dir.path(), &script);
        for name in ["file", "command", "log"] {
            send(&channels, name, &message(), Duration::from_secs(20)).unwrap();
        }
        for file in ["people.jsonl", "heard"] {
            let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
            let read: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
            assert_eq!(read["id"], "inc-1/1/tell/1/0");
            assert_eq!(read["severity"], "major");
        }
    }

    #[test]
    fn a_command_that_hangs_or_fails_and_an_unknown_channel_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let hangs = channels(dir.path(), "sleep 600 & wait");
        let error = send(&hangs, "command", &message(), Duration::from_millis(100)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
        let fails = channels(dir.path(), "exit 3");
        assert!(send(&fails, "command", &message(), Duration::from_secs(20)).is_err());
        let error = send(&fails, "pager", &message(), Duration::from_secs(1)).unwrap_err();
        assert!(error.contains("[notify]"), "{error}");
    }
}
