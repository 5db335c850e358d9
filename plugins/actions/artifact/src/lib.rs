//! Action pack `artifact`: declared artifacts against their snapshots. An artifact is right when
//! it has the bytes that were snapshotted, whatever they mean.

#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(test)]
mod tests;

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::host::File;
use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The pack.
pub struct Artifact;

/// What `artifact.restore` replaced.
#[derive(Serialize, Deserialize)]
struct Replaced {
    target: String,
    path: String,
    hash: String,
}

impl ActionPack for Artifact {
    fn describe() -> Vec<ActionInfo> {
        let target = || {
            required(
                "target",
                ParamType::Target,
                "the service, or an instance with an artifact of its own",
            )
        };
        let path = || required("path", ParamType::Text, "the artifact, as declared");
        vec![
            action(
                "artifact.restore",
                "Put the snapshotted bytes back; what they replace is kept",
                Risk::Medium,
            )
            .taking([target(), path()])
            .giving(&["changed", "replaced"])
            .undoable(),
            action(
                "artifact.verify",
                "Fail when an artifact is not what was snapshotted",
                Risk::None,
            )
            .taking([target(), path()])
            .giving(&["hash"]),
        ]
    }

    fn plan(call: &Call) -> Result<Vec<String>> {
        let (target, path) = (call.need_text("target")?, call.need_text("path")?);
        let file = declared(target, path)?;
        match call.action.as_str() {
            "artifact.restore" => Ok(vec![if file.hash == file.good_hash {
                format!("nothing: {path} is what was snapshotted")
            } else {
                format!(
                    "put the snapshot {} of {path} back in place of {}",
                    short(&file.good_hash),
                    short(&file.hash)
                )
            }]),
            "artifact.verify" => Ok(vec![format!("hold {path} against its snapshot")]),
            other => Err(unknown(other)),
        }
    }

    fn run(call: &Call) -> Result<Receipt> {
        let (target, path) = (call.need_text("target")?, call.need_text("path")?);
        match call.action.as_str() {
            "artifact.restore" => {
                declared(target, path)?;
                match host::files::restore(target, path)? {
                    None => Ok(receipt(false, format!("{path} was right already"))
                        .output("changed", false)
                        .output("replaced", "")),
                    Some(hash) => {
                        let undo = Replaced {
                            target: target.into(),
                            path: path.into(),
                            hash: hash.clone(),
                        };
                        let summary = format!(
                            "put the snapshot of {path} back; what was there is kept as {}",
                            short(&hash)
                        );
                        receipt(true, summary)
                            .output("changed", true)
                            .output("replaced", hash)
                            .undo_with(&undo)
                    }
                }
            }
            "artifact.verify" => {
                let file = declared(target, path)?;
                if file.hash == file.good_hash {
                    let hash = file.hash;
                    return Ok(receipt(false, format!("{path} is what was snapshotted"))
                        .output("hash", hash));
                }
                Err(PluginError::InvalidInput(format!(
                    "{path} is {} and was snapshotted as {}",
                    short(&file.hash),
                    short(&file.good_hash)
                )))
            }
            other => Err(unknown(other)),
        }
    }

    fn undo(_action: &str, receipt: &Receipt) -> Result<()> {
        match receipt.undo_data::<Replaced>()? {
            None => Ok(()),
            Some(old) => host::files::put_back(&old.target, &old.path, &old.hash),
        }
    }
}

/// The artifact, if it is declared and was snapshotted.
fn declared(target: &str, path: &str) -> Result<File> {
    let files = host::files::files(target)?;
    let file = files.into_iter().find(|file| file.path == path);
    match file {
        None => Err(PluginError::NotApplicable(format!(
            "{path:?} is not declared under [[service.artifact]] of {target}"
        ))),
        Some(file) if file.good_hash.is_empty() => Err(PluginError::NotApplicable(format!(
            "{path} was never snapshotted: `grace artifacts snapshot` does it"
        ))),
        Some(file) => Ok(file),
    }
}

fn short(hash: &str) -> &str {
    if hash.is_empty() {
        "nothing"
    } else {
        hash.get(..12).unwrap_or(hash)
    }
}

export_action!(Artifact);
