//! Declared artifacts: files that must have exactly the bytes that somebody snapshotted. A
//! snapshot is taken when a person says so and never by itself.

use grace_model::config::ConfigFormat;
use grace_model::id::InstanceId;
use grace_model::instance::InstanceView;
use grace_model::plugin::PluginError;
use grace_model::port::ArtifactView;

use super::{Declared, Files};

/// Why an artifact whose bytes could be read is not as it should be.
pub(super) fn what_is_wrong(good_hash: &str) -> &'static str {
    if good_hash.is_empty() {
        "it was never snapshotted: `grace artifacts snapshot` does it"
    } else {
        "its bytes are not those that were snapshotted"
    }
}

/// An artifact, and what it belongs to: the service, or an instance with one of its own.
struct Placed {
    service: String,
    target: InstanceId,
    file: Declared,
}

impl Files {
    /// Every declared artifact as it is now.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn artifacts(&self, instances: &[InstanceView]) -> Result<Vec<ArtifactView>, PluginError> {
        self.placed(instances)
            .iter()
            .map(|one| self.artifact(one))
            .collect()
    }

    /// Makes the bytes of every artifact, or those of one service, their snapshots.
    ///
    /// # Errors
    /// What could not be read or written; what came before it is done.
    pub fn snapshot_artifacts(
        &self,
        service: Option<&str>,
        instances: &[InstanceView],
    ) -> Result<Vec<ArtifactView>, PluginError> {
        let mut placed = self.placed(instances);
        placed.retain(|one| service.is_none_or(|wanted| one.service == wanted));
        if placed.is_empty() {
            let of = service.map_or_else(|| "any service".to_owned(), ToOwned::to_owned);
            return Err(PluginError::NotApplicable(format!(
                "no artifact of {of} is declared: write [[service.artifact]] with `path` into grace.toml"
            )));
        }
        for one in &placed {
            self.snapshot_artifact(&one.target, &one.file)?;
        }
        placed.iter().map(|one| self.artifact(one)).collect()
    }

    fn artifact(&self, one: &Placed) -> Result<ArtifactView, PluginError> {
        let view = self.view(&one.file)?;
        Ok(ArtifactView {
            service: one.service.clone(),
            target: one.target.0.clone(),
            path: view.path,
            hash: view.hash,
            snapshot: view.good_hash,
            problem: view.problem,
        })
    }

    /// Shared ones once, others for each instance.
    fn placed(&self, instances: &[InstanceView]) -> Vec<Placed> {
        let mut placed = Vec::new();
        for service in &self.services {
            let name = &service.name;
            if !service
                .config
                .iter()
                .any(|file| file.format == ConfigFormat::Artifact)
            {
                continue;
            }
            let whole = InstanceId::from(name.as_str());
            let own = instances
                .iter()
                .filter(|view| view.service == *name)
                .map(|view| view.id.clone());
            for target in [whole.clone()].into_iter().chain(own) {
                let files = self.declared(&target).into_iter();
                // What is shared belongs to the service alone.
                let here = files.filter(|file| {
                    file.is_artifact() && (file.inside.is_some() || target == whole)
                });
                placed.extend(here.map(|file| Placed {
                    service: name.as_str().to_owned(),
                    target: target.clone(),
                    file,
                }));
            }
        }
        placed
    }
}
