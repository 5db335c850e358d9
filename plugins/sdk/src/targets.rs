//! A detector's memory by target, bounded. It must not know what is kept.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Targets kept at most. A detector's memory may be 1 MiB; with this many a target may have
/// two kilobytes.
pub const MAX_TARGETS: usize = 512;

/// Values by target. When a new target would be one too many, the one that was touched
/// longest ago is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets<T> {
    entries: BTreeMap<String, Entry<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry<T> {
    touched: u64,
    value: T,
}

impl<T> Default for Targets<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

impl<T: Default> Targets<T> {
    /// The value of a target, made when it is new, and touched now.
    pub fn touch(&mut self, target: &str, now: u64) -> &mut T {
        if !self.entries.contains_key(target) && self.entries.len() >= MAX_TARGETS {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.touched)
                .map(|(target, _)| target.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        let entry = self.entries.entry(target.into()).or_insert_with(|| Entry {
            touched: now,
            value: T::default(),
        });
        entry.touched = now;
        &mut entry.value
    }
}

impl<T> Targets<T> {
    /// The value of a target that is known.
    #[must_use]
    pub fn get(&self, target: &str) -> Option<&T> {
        self.entries.get(target).map(|entry| &entry.value)
    }

    /// Forgets a target.
    pub fn remove(&mut self, target: &str) {
        self.entries.remove(target);
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries
            .iter()
            .map(|(target, entry)| (target.as_str(), &entry.value))
    }

    /// All, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.entries
            .iter_mut()
            .map(|(target, entry)| (target.as_str(), &mut entry.value))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_touched_longest_ago_is_forgotten_first() {
        let mut targets = Targets::<u32>::default();
        for n in 0..MAX_TARGETS {
            *targets.touch(&format!("shop-{n}"), n as u64) = 1;
        }
        targets.touch("shop-0", 10_000);
        targets.touch("new", 10_001);
        assert_eq!(targets.len(), MAX_TARGETS);
        assert_eq!(targets.get("shop-0"), Some(&1));
        assert_eq!(targets.get("shop-1"), None);
    }
}
