//! What is usual for the instances of each service, worked out once a batch: comparing every
//! instance with every other one would use up the fuel of a large fleet.

use grace_plugin_sdk::prelude::*;

use crate::{Instance, Settings};

/// An instance's last window is what it does now for this long.
const FRESH_MS: u64 = 5_000;

/// By service: what is usual for each instance that has been learned, the fastest first.
pub struct Siblings {
    services: BTreeMap<String, Vec<(u64, String)>>,
    /// The own value of each, and where it is in that order.
    own: BTreeMap<String, (u64, usize)>,
}

impl Siblings {
    pub fn of(instances: &Targets<Instance>, settings: &Settings, now: u64) -> Self {
        let mut services = BTreeMap::<String, Vec<(u64, String)>>::new();
        for (target, instance) in instances.iter() {
            if instance.windows >= settings.learn {
                // What they do now counts if it is slower: on a slow day nobody is to blame.
                let fresh = now <= instance.seen_at.saturating_add(FRESH_MS);
                let usual = instance
                    .usual_us
                    .max(if fresh { instance.p99_us } else { 0 });
                let all = services.entry(instance.service.clone()).or_default();
                all.push((usual, target.to_owned()));
            }
        }
        let mut own = BTreeMap::new();
        for all in services.values_mut() {
            all.sort_unstable();
            for (place, (_, target)) in all.iter().enumerate() {
                let usual = instances
                    .get(target)
                    .map_or(0, |instance| instance.usual_us);
                own.insert(target.clone(), (usual, place));
            }
        }
        Self { services, own }
    }

    /// The median of the siblings; what is usual for itself when it has none; none when
    /// nothing was learned yet.
    pub fn usual(&self, target: &str, service: &str) -> Option<u64> {
        let own = self.own.get(target);
        let all = self
            .services
            .get(service)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let others = all.len() - usize::from(own.is_some()).min(all.len());
        if others == 0 {
            return own.map(|(usual, _)| *usual);
        }
        let middle = others / 2;
        // The list has the instance itself in it: step over it.
        let step = own.is_some_and(|(_, place)| *place <= middle);
        all.get(middle + usize::from(step)).map(|(usual, _)| *usual)
    }
}
