//! `[notify.NAME]`: how people are reached.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use grace_model::config::{Channel, Email, MailSecurity};
use serde::Deserialize;
use toml::Spanned;

use super::fault::Fault;
use super::file::CommandLine;
use super::{Surroundings, literal, program};

/// Who may be in one message.
const MOST_RECEIVERS: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTable {
    pub command: Option<CommandLine>,
    pub file: Option<Spanned<PathBuf>>,
    pub webhook: Option<Spanned<String>>,
    pub token_file: Option<Spanned<PathBuf>>,
    pub email: Option<Spanned<EmailTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailTable {
    pub server: Spanned<String>,
    pub security: Option<MailSecurity>,
    pub from: Spanned<String>,
    pub to: Spanned<Vec<Spanned<String>>>,
    pub user: Option<String>,
    pub password_file: Option<Spanned<PathBuf>>,
}

/// Resolves the channels.
pub fn channels(
    tables: BTreeMap<Spanned<String>, Spanned<ChannelTable>>,
    base: &Path,
    around: &Surroundings,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Channel> {
    let mut channels = BTreeMap::new();
    for (name, table) in tables {
        let span = name.span();
        let name = name.into_inner();
        if name == "log" {
            faults.push(Fault::new(
                span,
                "the channel `log` is Grace's own log and always there; choose another name",
            ));
            continue;
        }
        let channel = channel(table.into_inner(), span, base, around, faults);
        channels.extend(channel.map(|channel| (name, channel)));
    }
    channels
}

const FORMS: &str = "a channel has either `command = [...]`, `file = \"...\"`, `webhook = \"https://...\"` or `email = { server = ..., from = ..., to = [...] }`";

fn channel(
    table: ChannelTable,
    span: Range<usize>,
    base: &Path,
    around: &Surroundings,
    faults: &mut Vec<Fault>,
) -> Option<Channel> {
    if let Some(token) = &table.token_file
        && table.webhook.is_none()
    {
        faults.push(Fault::new(token.span(), "`token_file` is for a `webhook`"));
    }
    match (table.command, table.file, table.webhook, table.email) {
        (Some(command), None, None, None) => {
            let mut words = command.0;
            let Some(program) = words.first_mut() else {
                faults.push(Fault::new(span, "`command` of this channel is empty"));
                return None;
            };
            match program::find(program, &around.path, base) {
                Ok(found) => *program = found.display().to_string(),
                Err(what) => faults.push(Fault::new(span, what)),
            }
            Some(Channel::Command(words))
        }
        (None, Some(file), None, None) => {
            let wrong = literal::wrong_path(file.get_ref(), "file").or_else(|| {
                let whole = base.join(file.get_ref());
                let dir = whole.parent().filter(|dir| !dir.is_dir())?;
                Some(format!("there is no directory {}; make it", dir.display()))
            });
            if let Some(what) = wrong {
                faults.push(Fault::new(file.span(), what));
            }
            Some(Channel::File(base.join(file.into_inner())))
        }
        (None, None, Some(url), None) => {
            let rest = url
                .get_ref()
                .strip_prefix("https://")
                .or_else(|| url.get_ref().strip_prefix("http://"));
            let good = rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)
            });
            if !good {
                let what = format!(
                    "{:?} is no address to post to; write \"https://HOST/PATH\"",
                    url.get_ref()
                );
                faults.push(Fault::new(url.span(), what));
            }
            let token_file = table.token_file.map(|file| secret(file, base, faults));
            Some(Channel::Webhook {
                url: url.into_inner(),
                token_file,
            })
        }
        (None, None, None, Some(email)) => {
            let span = email.span();
            email_of(email.into_inner(), span, base, faults)
                .map(|email| Channel::Email(Box::new(email)))
        }
        _ => {
            faults.push(Fault::new(span, FORMS));
            None
        }
    }
}

/// A file that holds a secret. It is read when a message is sent, never kept.
fn secret(file: Spanned<PathBuf>, base: &Path, faults: &mut Vec<Fault>) -> PathBuf {
    let whole = base.join(file.get_ref());
    let wrong = literal::wrong_path(file.get_ref(), "file").or_else(|| {
        let readable = std::fs::File::open(&whole);
        readable
            .err()
            .map(|error| format!("{}: {error}", whole.display()))
    });
    if let Some(what) = wrong {
        faults.push(Fault::new(file.span(), what));
    }
    whole
}

fn email_of(
    table: EmailTable,
    span: Range<usize>,
    base: &Path,
    faults: &mut Vec<Fault>,
) -> Option<Email> {
    let security = table.security.unwrap_or(MailSecurity::Tls);
    let usual = match security {
        MailSecurity::Tls => 465,
        MailSecurity::Starttls => 587,
        MailSecurity::None => 25,
    };
    let written = table.server.get_ref().clone();
    let (server, port) = match written.rsplit_once(':') {
        None => (written.clone(), Some(usual)),
        Some((server, port)) => (server.to_owned(), port.parse().ok()),
    };
    let Some(port) = port.filter(|_| !server.is_empty()) else {
        let what =
            format!("{written:?} is no mail server; write \"mail.example.org\" or with a port");
        faults.push(Fault::new(table.server.span(), what));
        return None;
    };
    let count = table.to.get_ref().len();
    if !(1..=MOST_RECEIVERS).contains(&count) {
        let what = format!("`to` has 1 to {MOST_RECEIVERS} addresses");
        faults.push(Fault::new(table.to.span(), what));
    }
    let addresses = table.to.get_ref().iter().chain([&table.from]);
    for address in addresses {
        if !address.get_ref().contains('@') || address.get_ref().contains(char::is_control) {
            let what = format!("{:?} is no mail address", address.get_ref());
            faults.push(Fault::new(address.span(), what));
        }
    }
    let login = match (table.user, table.password_file) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user, secret(file, base, faults))),
        _ => {
            faults.push(Fault::new(
                span,
                "`user` and `password_file` belong together; the password is never in this file",
            ));
            None
        }
    };
    if login.is_some() && security == MailSecurity::None {
        faults.push(Fault::new(
            table.server.span(),
            "a password is not sent in the clear; use `security = \"tls\"` or \"starttls\"",
        ));
    }
    Some(Email {
        server,
        port,
        security,
        from: table.from.into_inner(),
        to: table
            .to
            .into_inner()
            .into_iter()
            .map(Spanned::into_inner)
            .collect(),
        login,
    })
}
