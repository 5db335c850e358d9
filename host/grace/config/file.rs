//! `grace.toml` as it is written: tables and keys, nothing filled in. Unknown keys are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use grace_model::config::{Class, ConfigFormat, Protocol, ProxyVersion, Ready, Socket, Trace};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::confine::{IsolationTable, LimitsTable};
use super::govern::GovernanceTable;
use super::people::ChannelTable;
use super::record::RecordTable;
use super::units::{Bytes, Listen, Millis};
use super::{closest, words};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub state: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub service: Vec<Spanned<ServiceTable>>,
    #[serde(default)]
    pub plugins: PluginsTable,
    #[serde(default)]
    pub healing: HealingTable,
    #[serde(default)]
    pub governance: GovernanceTable,
    #[serde(default)]
    pub ledger: LedgerTable,
    #[serde(default)]
    pub proxy: ProxyTable,
    #[serde(default)]
    pub notify: BTreeMap<Spanned<String>, Spanned<ChannelTable>>,
    #[serde(default)]
    pub metrics: MetricsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsTable {
    pub listen: Option<Spanned<Listen>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTable {
    pub name: Spanned<String>,
    pub command: Spanned<CommandLine>,
    pub dir: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub env: BTreeMap<Spanned<String>, Spanned<Scalar>>,
    pub listen: Option<Spanned<Listen>>,
    pub socket: Option<Spanned<SocketKind>>,
    pub instances: Option<Spanned<i64>>,
    pub active: Option<Spanned<i64>>,
    pub hot: Option<Spanned<i64>>,
    pub warm: Option<Spanned<i64>>,
    pub ramp: Option<Millis>,
    pub ready: Option<Spanned<ReadyForm>>,
    pub start_timeout: Option<Spanned<Millis>>,
    pub stop_timeout: Option<Millis>,
    pub drain_timeout: Option<Millis>,
    #[serde(default)]
    pub probe: ProbeTable,
    pub heartbeat: Option<Spanned<Millis>>,
    pub output_ring: Option<Spanned<Bytes>>,
    #[serde(default)]
    pub restart: RestartTable,
    pub user: Option<Spanned<String>>,
    pub protocol: Option<Protocol>,
    pub proxy_protocol: Option<ProxyProtocolTable>,
    pub tls: Option<TlsTable>,
    #[serde(default)]
    pub trusted_proxies: Vec<Spanned<String>>,
    pub trace: Option<Trace>,
    #[serde(default)]
    pub priority: Vec<Spanned<PriorityTable>>,
    #[serde(default)]
    pub config: Vec<ConfigTable>,
    #[serde(default)]
    pub artifact: Vec<ArtifactTable>,
    #[serde(default)]
    pub allow: Vec<Spanned<String>>,
    #[serde(default)]
    pub limits: LimitsTable,
    #[serde(default)]
    pub isolation: IsolationTable,
    #[serde(default)]
    pub record: RecordTable,
    #[serde(default)]
    pub chaos: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeTable {
    pub interval: Option<Spanned<Millis>>,
    pub timeout: Option<Spanned<Millis>>,
    pub failures: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartTable {
    pub reflex: Option<bool>,
    pub external_max: Option<u32>,
    pub own_max: Option<u32>,
    pub window: Option<Spanned<Millis>>,
    pub backoff_min: Option<Millis>,
    pub backoff_max: Option<Spanned<Millis>>,
    pub healthy: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigTable {
    pub path: Spanned<String>,
    pub seed: Option<Spanned<PathBuf>>,
    pub format: Option<ConfigFormat>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactTable {
    pub path: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginsTable {
    pub dir: Option<Spanned<PathBuf>>,
    pub builtin: Option<bool>,
    #[serde(default)]
    pub disable: Vec<String>,
    pub strikes: Option<Spanned<u32>>,
    pub rescan: Option<Spanned<Millis>>,
    #[serde(default)]
    pub grants: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    pub config: BTreeMap<String, BTreeMap<String, Scalar>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealingTable {
    pub playbooks: Option<bool>,
    pub builtin: Option<bool>,
    pub dir: Option<Spanned<PathBuf>>,
    pub tick: Option<Spanned<Millis>>,
    pub sample: Option<Spanned<Millis>>,
    pub reopen: Option<Millis>,
    pub quiet: Option<Spanned<Millis>>,
    pub escalate: Option<Spanned<Millis>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerTable {
    pub keep: Option<Spanned<Millis>>,
    pub max_size: Option<Spanned<Bytes>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyTable {
    pub threads: Option<Spanned<u32>>,
    pub retry: Option<bool>,
    pub retry_percent: Option<Spanned<u32>>,
    pub retry_body: Option<Spanned<Bytes>>,
    pub suspect: Option<Spanned<Millis>>,
    pub hedge: Option<Spanned<Millis>>,
    pub connect_timeout: Option<Spanned<Millis>>,
    pub answer_timeout: Option<Spanned<Millis>>,
    pub head_timeout: Option<Spanned<Millis>>,
    pub idle_timeout: Option<Spanned<Millis>>,
    pub upload_timeout: Option<Millis>,
    pub download_timeout: Option<Millis>,
    pub slow_bytes: Option<Bytes>,
    pub stall_timeout: Option<Millis>,
    pub ramp: Option<Millis>,
    pub queue_timeout: Option<Millis>,
    pub queue_requests: Option<Spanned<u32>>,
    pub queue_bytes: Option<Bytes>,
    pub eject_failures: Option<Spanned<u32>>,
    pub limit: Option<bool>,
    pub limit_wait: Option<Millis>,
}

/// The keys of a service that `front` resolves.
#[derive(Debug)]
pub struct FrontKeys {
    pub protocol: Option<Protocol>,
    pub proxy_protocol: Option<ProxyProtocolTable>,
    pub tls: Option<TlsTable>,
    pub trusted_proxies: Vec<Spanned<String>>,
    pub trace: Option<Trace>,
    pub priority: Vec<Spanned<PriorityTable>>,
}

/// One `[[service.priority]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorityTable {
    pub class: Class,
    pub path: Option<Spanned<String>>,
    #[serde(default)]
    pub methods: Vec<Spanned<String>>,
    pub header: Option<Spanned<String>>,
    pub value: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    pub cert: Spanned<PathBuf>,
    pub key: Spanned<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolTable {
    pub accept: Option<bool>,
    pub send: Option<Spanned<ProxyVersion>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketKind {
    Port,
    Inherit,
    /// `{ unix = "PATH" }`
    Unix(String),
}

impl From<SocketKind> for Socket {
    fn from(kind: SocketKind) -> Self {
        match kind {
            SocketKind::Port => Socket::Port,
            SocketKind::Inherit => Socket::Inherit,
            SocketKind::Unix(_) => Socket::None,
        }
    }
}

/// A number, a flag or a text where only text arrives in the end.
#[derive(Debug)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or true or false")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar(flag.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Program and arguments: a list, or one text.
#[derive(Debug)]
pub struct CommandLine(pub Vec<String>);

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = CommandLine;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a command: [\"./shop\", \"--port\", \"{port}\"] or \"./shop --port {port}\"",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CommandLine, E> {
                words::split(text).map(CommandLine).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CommandLine, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element::<String>()? {
                    words.push(word);
                }
                Ok(CommandLine(words))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// `{ http = "/" }`, `{ tcp = true }`, `{ notify = true }`, `{ process = true }`.
#[derive(Debug)]
pub struct ReadyForm(pub Ready);

const READY_FORMS: &str =
    "one of { http = \"/path\" }, { tcp = true }, { notify = true }, { process = true }";

impl<'de> Deserialize<'de> for ReadyForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = ReadyForm;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(READY_FORMS)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadyForm, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::custom(format!(
                        "`ready` is empty; write {READY_FORMS}"
                    )));
                };
                let ready = if key == "http" {
                    let path: String = map.next_value()?;
                    if !path.starts_with('/') || path.chars().any(|c| c.is_control() || c == ' ') {
                        return Err(A::Error::custom(format!(
                            "{path:?} is no path to ask; it starts with / and has no spaces"
                        )));
                    }
                    Ready::Http(path)
                } else {
                    let ready = match key.as_str() {
                        "tcp" => Ready::Tcp,
                        "notify" => Ready::Notify,
                        "process" => Ready::Process,
                        _ => {
                            let known = ["http", "tcp", "notify", "process"].into_iter();
                            let near = closest(&key, known)
                                .map(|near| format!("did you mean `{near}`?"))
                                .unwrap_or_else(|| format!("write {READY_FORMS}"));
                            return Err(A::Error::custom(format!(
                                "`ready` has no form `{key}`; {near}"
                            )));
                        }
                    };
                    if !map.next_value::<bool>()? {
                        return Err(A::Error::custom(format!(
                            "`{key} = false` says nothing; write {READY_FORMS}"
                        )));
                    }
                    ready
                };
                match map.next_key::<String>()? {
                    None => Ok(ReadyForm(ready)),
                    Some(second) => Err(A::Error::custom(format!(
                        "`ready` says `{key}` and `{second}`; write only {READY_FORMS}"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(Form)
    }
}
