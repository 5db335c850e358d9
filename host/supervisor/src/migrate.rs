//! What earlier layouts of a state directory left, made into what is read now. Only while nobody
//! runs in it. Every step may be killed at any point and done again from its beginning.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use grace_model::config::Config;
use grace_model::id::ServiceName;
use grace_model::layout::Layout;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::fleets::{self, Squad};
use crate::snapshot;

/// What layout 1 knew of its services: how many instances each was to have.
#[derive(Debug, Deserialize)]
struct Desired {
    #[serde(default)]
    desired: BTreeMap<ServiceName, u32>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// From layout 1, whose snapshot knows numbers of instances, to layout 2, whose snapshot knows
/// fleets with roles and versions. The old snapshot lies beside until [`forget_1`].
///
/// # Errors
/// When a file cannot be read, understood or written; the old snapshot is still there then.
pub fn from_1(layout: &Layout) -> Result<(), Error> {
    let now = snapshot::path(&layout.run());
    let old = snapshot_of_1(layout);
    if !old.exists() {
        let Ok(bytes) = fs::read(&now) else {
            // Nothing ran when it was left.
            return Ok(());
        };
        grace_os::file::write_atomic(&old, &bytes, 0o600)?;
    }
    // From here on the copy is what counts: the snapshot may be the new one already.
    let bytes = fs::read(&old).map_err(|source| Error::file(&old, "reading it", source))?;
    let broken = |path: PathBuf| {
        move |error: serde_json::Error| Error::Config {
            path,
            reason: error.to_string(),
        }
    };
    let kept: Desired = serde_json::from_slice(&bytes).map_err(broken(old.clone()))?;
    let path = layout.config();
    let text = fs::read(&path).map_err(|source| Error::file(&path, "reading it", source))?;
    let config: Config = serde_json::from_slice(&text).map_err(broken(path))?;
    let squads: BTreeMap<ServiceName, Squad> = config
        .services
        .iter()
        .map(|service| {
            let mut plan = fleets::plan(service);
            if service.roles.is_none() {
                plan.active = kept
                    .desired
                    .get(&service.name)
                    .copied()
                    .unwrap_or(plan.active);
            }
            (service.name.clone(), Squad::new(service, plan))
        })
        .collect();
    let mut new = kept.rest;
    let squads = serde_json::to_value(&squads).map_err(broken(now.clone()))?;
    new.insert("squads".to_owned(), squads);
    let bytes = serde_json::to_vec(&new).map_err(broken(now.clone()))?;
    grace_os::file::write_atomic(&now, &bytes, 0o600)?;
    Ok(())
}

/// Where the snapshot of layout 1 lies while it is made into one of layout 2.
#[must_use]
pub fn snapshot_of_1(layout: &Layout) -> PathBuf {
    snapshot::path(&layout.run()).with_extension("json.1")
}

/// The migration has ended and is written down.
pub fn forget_1(layout: &Layout) {
    let _ = fs::remove_file(snapshot_of_1(layout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_model::config::Service;

    /// As a supervisor without fleets wrote it.
    const OLD: &str = r#"{"boot_id":"b","clean":false,"ending":false,"configured":{"shop":2},
        "desired":{"shop":5},"slots":[],"wide":[],"finished":[],"restarts":{"proxy":3},
        "table_version":7}"#;

    fn old() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir(layout.run()).unwrap();
        fs::write(snapshot::path(&layout.run()), OLD).unwrap();
        let mut service = Service::new("shop".into(), vec!["true".into()], "/".into());
        service.instances = 2;
        let config = Config {
            state_dir: dir.path().to_owned(),
            services: vec![service],
            plugins: Default::default(),
            healing: Default::default(),
            proxy: Default::default(),
            notify: Default::default(),
            metrics: Default::default(),
        };
        fs::write(layout.config(), serde_json::to_vec(&config).unwrap()).unwrap();
        (dir, layout)
    }

    fn check(layout: &Layout) {
        let new = snapshot::load(&snapshot::path(&layout.run())).unwrap();
        let squad = &new.squads[&ServiceName::from("shop")];
        assert_eq!(squad.fleet.plan().active, 5);
        assert_eq!((new.table_version, new.restarts["proxy"]), (7, 3));
        assert!(!new.clean);
    }

    #[test]
    fn a_snapshot_of_layout_1_keeps_its_numbers_as_a_fleet() {
        let (_dir, layout) = old();
        from_1(&layout).unwrap();
        check(&layout);
        forget_1(&layout);
        assert!(!snapshot_of_1(&layout).exists());
        // Nothing that ran, nothing to do.
        let empty = tempfile::tempdir().unwrap();
        from_1(&Layout::new(empty.path())).unwrap();
    }

    #[test]
    fn a_migration_that_ended_anywhere_is_done_again_from_what_was_kept() {
        let (_dir, layout) = old();
        let path = snapshot::path(&layout.run());
        // After the copy.
        fs::write(snapshot_of_1(&layout), OLD).unwrap();
        from_1(&layout).unwrap();
        check(&layout);
        // After the new snapshot, and before the version.
        from_1(&layout).unwrap();
        check(&layout);
        // In the middle of a write that is not atomic, of whatever cause.
        fs::write(&path, "{\"boot").unwrap();
        from_1(&layout).unwrap();
        check(&layout);
        // What cannot be understood is named and left as it is.
        fs::write(snapshot_of_1(&layout), "{").unwrap();
        let error = from_1(&layout).unwrap_err().to_string();
        assert!(error.contains("fleet.json.1"), "{error}");
    }
}
