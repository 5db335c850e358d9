//! A plugin's manifest: `NAME.toml` beside `NAME.wasm`. It asks; it grants nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The manifest as written. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of `grace:plugin` it was built for: `0.1`.
    pub api: String,
    /// Which world it exports.
    pub world: World,
    /// One line for `grace plugin list`.
    #[serde(default)]
    pub summary: String,
    /// Capabilities it asks for; see `wit/README.md`.
    #[serde(default)]
    pub wants: Vec<String>,
    /// Limits other than the world's; more than [`Limits::most`] is refused.
    #[serde(default)]
    pub limits: ManifestLimits,
    /// Settings the plugin reads through `config.get`. Numbers and flags become text.
    #[serde(default)]
    pub config: BTreeMap<String, ConfigValue>,
}

/// A setting in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

impl std::fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigValue::Flag(flag) => write!(f, "{flag}"),
            ConfigValue::Integer(number) => write!(f, "{number}"),
            ConfigValue::Text(text) => f.write_str(text),
        }
    }
}

/// Which world a plugin exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Observations in, findings out.
    Detector,
    /// Changes something.
    Action,
}

impl World {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            World::Detector => "detector",
            World::Action => "action",
        }
    }
}

/// Limits as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestLimits {
    /// Units of fuel a call.
    pub fuel: Option<u64>,
    /// Linear memory, such as `16MiB`.
    pub memory: Option<String>,
    /// Wall clock a call, such as `50ms`.
    pub wall: Option<String>,
    /// Host calls a call.
    pub host_calls: Option<u32>,
}

/// Limits as enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Units of fuel a call.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Milliseconds of wall clock a call.
    pub wall_ms: u64,
    /// Host calls a call.
    pub host_calls: u32,
    /// Bytes that may come back from a call.
    pub output_bytes: u64,
}

/// The most linear memory of any world. A component of an interpreter starts at 12 to 16 MiB
/// and grows with what it imports.
const MOST_MEMORY: u64 = 128 << 20;

impl Limits {
    /// What a world allows at most: what it gives, and more memory for who asks.
    #[must_use]
    pub fn most(world: World) -> Self {
        Self {
            memory_bytes: MOST_MEMORY,
            ..Self::of(world)
        }
    }

    /// What a world gives when the manifest is silent.
    #[must_use]
    pub fn of(world: World) -> Self {
        match world {
            World::Detector => Self {
                fuel: 50_000_000,
                memory_bytes: 32 << 20,
                wall_ms: 100,
                host_calls: 1_024,
                output_bytes: 2 << 20,
            },
            World::Action => Self {
                fuel: 200_000_000,
                memory_bytes: 32 << 20,
                wall_ms: 30_000,
                host_calls: 1_024,
                output_bytes: 2 << 20,
            },
        }
    }
}
