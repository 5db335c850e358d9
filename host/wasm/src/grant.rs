//! Capabilities and the two keys: the manifest asks, the operator grants, and only what both
//! say is opened. Knows no file of a plugin and links nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use grace_model::id::PluginName;
use grace_model::manifest::World;

/// One capability, as listed in `wit/README.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Observations of instances, configuration files and operations.
    EventsRead,
    /// Observations of probes, traffic and resources.
    MetricsRead,
    /// Interface `clock`.
    Clock,
    /// Interface `fleet-read`.
    FleetRead,
    /// Interface `fleet-control`.
    FleetControl,
    /// Interface `config-read`.
    ConfigRead,
    /// Interface `config-write`.
    ConfigWrite,
    /// Interface `probe`.
    Probe,
    /// Interface `notify`.
    Notify,
    /// A directory, read only.
    FsRead(PathBuf),
    /// A directory, read and write.
    FsWrite(PathBuf),
    /// TCP to a host and port.
    Net(String, u16),
}

const PLAIN: [(&str, Capability); 9] = [
    ("events:read", Capability::EventsRead),
    ("metrics:read", Capability::MetricsRead),
    ("clock", Capability::Clock),
    ("fleet:read", Capability::FleetRead),
    ("fleet:control", Capability::FleetControl),
    ("config:read", Capability::ConfigRead),
    ("config:write", Capability::ConfigWrite),
    ("probe", Capability::Probe),
    ("notify", Capability::Notify),
];

impl Capability {
    /// Reads a capability as a manifest or an operator writes it.
    ///
    /// # Errors
    /// What is wrong and what was probably meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, capability)) = PLAIN.iter().find(|(word, _)| *word == text) {
            return Ok(capability.clone());
        }
        if let Some(path) = text.strip_prefix("fs:read:") {
            return directory(text, path).map(Capability::FsRead);
        }
        if let Some(path) = text.strip_prefix("fs:write:") {
            return directory(text, path).map(Capability::FsWrite);
        }
        if let Some(peer) = text.strip_prefix("net:") {
            return peer
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty())
                .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
                .filter(|(_, port)| *port != 0)
                .map(|(host, port)| {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    Capability::Net(host.to_owned(), port)
                })
                .ok_or_else(|| {
                    format!("{text:?} is no net capability; write it like net:127.0.0.1:5432")
                });
        }
        let words = PLAIN.iter().map(|(word, _)| *word);
        Err(match crate::manifest::nearest(text, words.clone()) {
            Some(near) => format!("unknown capability {text:?}: did you mean {near:?}?"),
            None => format!(
                "unknown capability {text:?}; there are {}, fs:read:PATH, fs:write:PATH and net:HOST:PORT",
                words.collect::<Vec<_>>().join(", ")
            ),
        })
    }

    /// The capability that opens interface `name` of `grace:plugin`; none for an interface that
    /// needs no grant.
    #[must_use]
    pub fn of_interface(name: &str) -> Option<Self> {
        Some(match name {
            "clock" => Capability::Clock,
            "fleet-read" => Capability::FleetRead,
            "fleet-control" => Capability::FleetControl,
            "config-read" => Capability::ConfigRead,
            "config-write" => Capability::ConfigWrite,
            "probe" => Capability::Probe,
            "notify" => Capability::Notify,
            _ => return None,
        })
    }

    /// Whether a plugin of `world` may hold it at all. A detector is shown observations and
    /// imports no interface that opens more; files and addresses come through WASI, to both
    /// worlds, and a detector that holds one does not replay from its inputs alone.
    #[must_use]
    pub fn fits(&self, world: World) -> bool {
        match world {
            World::Detector => matches!(
                self,
                Capability::EventsRead
                    | Capability::MetricsRead
                    | Capability::FsRead(_)
                    | Capability::FsWrite(_)
                    | Capability::Net(..)
            ),
            World::Action => true,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::FsRead(path) => write!(f, "fs:read:{}", path.display()),
            Capability::FsWrite(path) => write!(f, "fs:write:{}", path.display()),
            Capability::Net(host, port) if host.contains(':') => write!(f, "net:[{host}]:{port}"),
            Capability::Net(host, port) => write!(f, "net:{host}:{port}"),
            plain => {
                let word = PLAIN
                    .iter()
                    .find(|(_, one)| one == plain)
                    .map_or("", |(word, _)| word);
                f.write_str(word)
            }
        }
    }
}

fn directory(text: &str, path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain {
        Ok(path.to_owned())
    } else {
        Err(format!(
            "{text:?} must name a directory by its absolute path, without `..`"
        ))
    }
}

/// What came of the two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Asked and granted.
    pub granted: Vec<Capability>,
    /// Asked and not granted.
    pub missing: Vec<Capability>,
    /// Whether the operator has answered for all of it in `grace.toml`, so that what is missing
    /// is a no and not a silence.
    pub answered: bool,
}

/// What the operator says of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operator {
    /// The list in `grace.toml`, when there is one.
    pub listed: Option<Vec<Capability>>,
    /// What `grace plugin grant` added.
    pub added: Vec<Capability>,
}

impl Operator {
    /// Whether the operator grants it.
    #[must_use]
    pub fn grants(&self, capability: &Capability) -> bool {
        self.listed
            .iter()
            .flatten()
            .chain(&self.added)
            .any(|one| one == capability)
    }

    /// Turns both keys. `shipped`: the plugin came inside the binary, and who runs the binary
    /// has thereby granted what it asks, unless `grace.toml` lists its grants.
    #[must_use]
    pub fn decide(&self, wants: &[Capability], shipped: bool) -> Decision {
        let all = shipped && self.listed.is_none();
        let (granted, missing) = wants
            .iter()
            .cloned()
            .partition(|capability| all || self.grants(capability));
        Decision {
            granted,
            missing,
            answered: self.listed.is_some(),
        }
    }
}

/// Reads `grants.toml`: `NAME = ["CAP", ...]`. A file that does not exist grants nothing.
///
/// # Errors
/// The file and what is wrong with it.
pub fn read_grants(path: &Path) -> Result<BTreeMap<PluginName, Vec<String>>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
    };
    toml::from_str(&text).map_err(|error| {
        format!(
            "{}: {}; write it like NAME = [\"fleet:read\"]",
            path.display(),
            error.message()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(text: &str) -> Capability {
        Capability::parse(text).expect(text)
    }

    #[test]
    fn every_capability_is_read_back_as_it_is_written() {
        for text in [
            "events:read",
            "metrics:read",
            "clock",
            "fleet:read",
            "fleet:control",
            "config:read",
            "config:write",
            "probe",
            "notify",
            "fs:read:/var/lib/app",
            "fs:write:/tmp/x",
            "net:127.0.0.1:80",
            "net:[::1]:443",
            "net:db.local:5432",
        ] {
            assert_eq!(capability(text).to_string(), text);
        }
    }

    #[test]
    fn a_capability_with_a_typing_error_is_refused_with_what_was_meant() {
        let error = Capability::parse("fleet:contol").expect_err("a typing error");
        assert!(error.contains("did you mean \"fleet:control\""), "{error}");
        for bad in [
            "fs:read:relative",
            "fs:write:/a/../b",
            "net:host",
            "net:host:0",
            "net::80",
        ] {
            assert!(Capability::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_both_keys_say_is_granted() {
        let wants = vec![capability("clock"), capability("probe")];
        let operator = Operator {
            listed: None,
            added: vec![capability("probe"), capability("notify")],
        };
        let decision = operator.decide(&wants, false);
        assert_eq!(decision.granted, vec![capability("probe")]);
        assert_eq!(decision.missing, vec![capability("clock")]);
        assert!(!decision.answered);
    }

    #[test]
    fn a_shipped_plugin_holds_what_it_asks_unless_grants_are_listed() {
        let wants = vec![capability("clock"), capability("probe")];
        assert!(Operator::default().decide(&wants, true).missing.is_empty());
        let listed = Operator {
            listed: Some(vec![capability("clock")]),
            added: Vec::new(),
        };
        let decision = listed.decide(&wants, true);
        assert_eq!(decision.granted, vec![capability("clock")]);
        assert!(decision.answered);
    }
}
