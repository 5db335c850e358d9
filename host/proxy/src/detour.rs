//! Faults in the path to instances: while the owner of a relay lives, new connections to its
//! instance go to the relay. Looked at twice a second and never on a request's way; nothing here
//! knows what the relay does.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use grace_model::chaos::Detour;
use grace_model::event::ProcessState;
use grace_model::id::InstanceId;
use grace_os::process;

use crate::control::Control;

/// The ports of relays whose owners live. No directory, which is the rule, costs one call.
fn living(dir: &Path) -> HashMap<InstanceId, u16> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "detour"))
        .filter_map(|path| serde_json::from_slice::<Detour>(&fs::read(path).ok()?).ok())
        .filter(|detour| process::state(&detour.owner) != ProcessState::Gone)
        .map(|detour| (detour.instance, detour.port))
        .collect()
}

impl Control {
    /// Puts what is written down into the endpoints; idle connections of the way before go.
    pub(crate) fn look_at_detours(&mut self) {
        let detours = living(&self.detours);
        let mut changed = false;
        for watched in self.watched.values() {
            let port = detours.get(&watched.end.subject.instance);
            changed |= watched.end.set_detour(port.copied().unwrap_or(0));
        }
        if changed {
            tracing::warn!(
                ?detours,
                "connections to instances are led through relays of faults"
            );
            self.shared.bump();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detour_ends_with_its_owner_whatever_its_file_says() {
        let dir = tempfile::tempdir().unwrap();
        assert!(living(&dir.path().join("none")).is_empty());
        let mut owner = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let detour = Detour {
            instance: "shop-1".into(),
            port: 7,
            owner: process::identity(owner.id()).unwrap(),
        };
        let file = dir.path().join("shop-1.detour");
        fs::write(&file, serde_json::to_vec(&detour).unwrap()).unwrap();
        fs::write(dir.path().join("bad.detour"), "rubbish").unwrap();
        assert_eq!(living(dir.path()), HashMap::from([("shop-1".into(), 7)]));
        owner.kill().unwrap();
        owner.wait().unwrap();
        assert!(living(dir.path()).is_empty() && file.exists());
    }
}
