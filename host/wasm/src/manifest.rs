//! Reads a manifest: TOML, every key known, the error with its line and what was meant. Does
//! not check it against the component.

use std::path::Path;

use grace_model::manifest::{Limits, Manifest};

use crate::grant::Capability;
use crate::limits;
use crate::load::LoadError;

/// The version of `grace:plugin` that this host speaks.
const API: &str = "0.1";

/// A manifest whose words were understood.
#[derive(Debug, Clone)]
pub struct Checked {
    /// As written.
    pub manifest: Manifest,
    /// `wants`, read, without repetitions.
    pub wants: Vec<Capability>,
    /// What is enforced.
    pub limits: Limits,
}

/// Reads the manifest `text` of `file`.
///
/// # Errors
/// File, line, cause and remedy.
pub fn read_manifest(file: &Path, text: &str) -> Result<Manifest, LoadError> {
    toml::from_str::<Manifest>(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let (cause, remedy) = explain(error.message());
        LoadError::refused_at(file, line, cause, remedy)
    })
}

/// Reads the manifest and checks its version, capabilities and limits.
pub fn check_manifest(file: &Path, text: &str) -> Result<Checked, LoadError> {
    let manifest = read_manifest(file, text)?;
    if manifest.api != API {
        return Err(LoadError::refused_at(
            file,
            key_line(text, "api"),
            format!("api = {:?}, and this host speaks {API:?}", manifest.api),
            format!("build the plugin against grace:plugin@{API} and write api = {API:?}"),
        ));
    }
    let mut wants = Vec::new();
    for text_of in &manifest.wants {
        let at = || key_line(text, "wants");
        let capability = Capability::parse(text_of).map_err(|cause| {
            LoadError::refused_at(file, at(), cause, "correct `wants`".to_owned())
        })?;
        if !capability.fits(manifest.world) {
            return Err(LoadError::refused_at(
                file,
                at(),
                format!("a {} cannot hold {capability}", manifest.world.word()),
                "a detector may want events:read, metrics:read, files and addresses; an action pack does the rest".to_owned(),
            ));
        }
        if !wants.contains(&capability) {
            wants.push(capability);
        }
    }
    let limits = limits::resolve(manifest.world, &manifest.limits).map_err(|error| {
        LoadError::refused_at(
            file,
            key_line(text, error.key),
            format!("limits.{} is wrong", error.key),
            error.problem,
        )
    })?;
    Ok(Checked {
        manifest,
        wants,
        limits,
    })
}

/// The word nearest to `text`, when one is near.
pub fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|word| (strsim::damerau_levenshtein(text, word), word))
        .min()
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .map(|(_, word)| word)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

/// The line on which `key` is set.
fn key_line(text: &str, key: &str) -> Option<usize> {
    text.lines()
        .position(|line| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
        .map(|index| index + 1)
}

/// Cause and remedy from the parser's message, which quotes names in back-ticks: the wrong one
/// first, then those that there are.
fn explain(message: &str) -> (String, String) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some((wrong, known)) = quoted.split_first() {
        let list = || known.join(", ");
        if message.starts_with("unknown field") {
            return (
                format!("unknown key `{wrong}`"),
                match nearest(wrong, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys are {}", list()),
                },
            );
        }
        if message.starts_with("unknown variant") {
            return (
                format!("unknown value `{wrong}`"),
                match nearest(wrong, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the values are {}", list()),
                },
            );
        }
        if message.starts_with("missing field") {
            return (
                format!("key `{wrong}` is missing"),
                format!(
                    "add it; every manifest has api = {API:?} and world = \"detector\" or \"action\""
                ),
            );
        }
    }
    (
        message.trim().replace('\n', " "),
        "correct the manifest; wit/README.md describes it".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        check_manifest(Path::new("plugins.d/x.toml"), text)
            .expect_err("bad")
            .to_string()
    }

    #[test]
    fn a_good_manifest_is_read_with_its_limits() {
        let text = "api = \"0.1\"\nworld = \"detector\"\nwants = [\"events:read\", \"events:read\"]\n\
                    [limits]\nfuel = 5_000_000\nmemory = \"16MiB\"\nwall = \"50ms\"\n[config]\nn = 3\n";
        let checked = check_manifest(Path::new("x.toml"), text).expect("good");
        assert_eq!(checked.wants, vec![Capability::EventsRead]);
        assert_eq!(checked.limits.wall_ms, 50);
        assert_eq!(checked.limits.host_calls, 1_024);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line_and_what_was_meant() {
        let text = "api = \"0.1\"\nworld = \"detector\"\nwnats = []\n";
        assert_eq!(
            error(text),
            "plugins.d/x.toml:3: unknown key `wnats`; did you mean `wants`?"
        );
        let text = "api = \"0.1\"\nworld = \"detector\"\n[limits]\nmemry = \"1MiB\"\n";
        assert_eq!(
            error(text),
            "plugins.d/x.toml:4: unknown key `memry`; did you mean `memory`?"
        );
    }

    #[test]
    fn an_unknown_world_is_an_error_that_lists_the_worlds() {
        let text = "api = \"0.1\"\nworld = \"guard\"\n";
        assert_eq!(
            error(text),
            "plugins.d/x.toml:2: unknown value `guard`; the values are detector, action"
        );
    }

    #[test]
    fn a_missing_key_broken_toml_and_another_api_are_errors_with_remedies() {
        assert!(error("world = \"action\"\n").contains("key `api` is missing; add it"));
        let broken = error("world = \"action\"\napi = \"0.1\n");
        assert!(broken.starts_with("plugins.d/x.toml:"), "{broken}");
        let text = "api = \"0.2\"\nworld = \"action\"\n";
        assert!(error(text).contains("x.toml:1: api = \"0.2\", and this host speaks \"0.1\""));
    }

    #[test]
    fn a_limit_above_the_world_is_refused_with_its_line() {
        let text = "api = \"0.1\"\nworld = \"detector\"\n[limits]\nmemory = \"1GiB\"\n";
        let error = error(text);
        assert!(
            error.starts_with("plugins.d/x.toml:4: limits.memory is wrong; 1GiB is more"),
            "{error}"
        );
    }

    #[test]
    fn a_detector_cannot_want_control() {
        let text = "api = \"0.1\"\nworld = \"detector\"\nwants = [\"fleet:control\"]\n";
        assert!(error(text).contains("x.toml:3: a detector cannot hold fleet:control"));
    }
}
