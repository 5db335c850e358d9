//! What is told of a plugin's loading, and when to try again. Loads nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grace_model::status::PluginState;

use crate::manifest::nearest;
use crate::plugin::Plugin;
use crate::snapshot::Entry;

/// The longest time until what may pass by itself is tried again.
const MOST_PAUSE: Duration = Duration::from_secs(120);

/// Settings in `grace.toml` that the plugin's manifest does not declare. They are no reason to
/// do without the plugin, and no reason to keep silent.
pub fn unknown_settings(plugin: &Plugin, set: &BTreeMap<String, String>) -> Option<String> {
    let name = &plugin.name;
    let declared = || plugin.declared.iter().map(String::as_str);
    let unknown: Vec<String> = set
        .keys()
        .filter(|key| !plugin.declared.contains(*key))
        .map(|key| match nearest(key, declared()) {
            Some(near) => format!("`{key}` (did you mean `{near}`?)"),
            None => format!("`{key}`"),
        })
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let known = match declared().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "it declares none".to_owned(),
        some => format!("it declares {some}"),
    };
    Some(format!(
        "grace.toml: [plugins.config.{name}] sets {}, which [config] of its manifest does not declare; {known}; correct or remove it",
        unknown.join(", ")
    ))
}

/// How long to wait after so many tries. Each may take seconds, and others wait meanwhile.
pub fn pause(tries: u32) -> Option<Duration> {
    let after = tries.checked_sub(1)?;
    Some(match after {
        0..3 => Duration::ZERO,
        more => Duration::from_secs(1 << more.min(8)).min(MOST_PAUSE),
    })
}

/// What is left of a plugin whose loading made the host itself fail: what was live before.
pub fn fallen(name: &str, panic: &(dyn std::any::Any + Send), before: Option<Entry>) -> Entry {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let why = format!(
        "{name}.wasm: the host itself failed while loading it: {words}; remove or replace it, and report this with the file"
    );
    Entry {
        error: Some((PluginState::Refused, why)),
        ..before.unwrap_or_default()
    }
}

/// Tells the log what has changed.
pub fn tell(name: &str, before: Option<&Entry>, now: &Entry) {
    let live = |entry: &Entry| entry.live.as_ref().map(Arc::as_ptr);
    if let Some(live_now) = now
        .live
        .as_ref()
        .filter(|_| before.and_then(live) != live(now))
    {
        tracing::info!(plugin = name, origin = live_now.plugin.origin, "live");
    }
    if let Some(note) = now
        .note
        .as_ref()
        .filter(|note| before.and_then(|entry| entry.note.as_ref()) != Some(note))
    {
        tracing::warn!(plugin = name, "{note}");
    }
    if let Some((_, why)) = now
        .error
        .as_ref()
        .filter(|error| before.and_then(|entry| entry.error.as_ref()) != Some(error))
    {
        tracing::warn!(plugin = name, "{why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_of_the_host_costs_one_plugin_and_is_told_with_its_words() {
        let panic = std::panic::catch_unwind(|| panic!("a defect in {}", "the compiler"))
            .expect_err("it panics");
        let entry = fallen("one", &*panic, None);
        assert!(entry.live.is_none());
        let (state, why) = entry.error.expect("a reason");
        assert_eq!(state, PluginState::Refused);
        assert!(
            why.contains("one.wasm") && why.contains("a defect in the compiler"),
            "{why}"
        );
    }

    #[test]
    fn what_may_pass_is_tried_soon_and_then_less_and_less_often() {
        let pauses: Vec<u64> = (1..=12)
            .map(|tries| pause(tries).expect("tried again").as_secs())
            .collect();
        assert_eq!(pauses[..3], [0, 0, 0]);
        assert!(
            pauses.windows(2).all(|pair| pair[0] <= pair[1]),
            "{pauses:?}"
        );
        assert_eq!(pauses.last(), Some(&MOST_PAUSE.as_secs()));
        assert_eq!(pause(0), None);
    }
}
