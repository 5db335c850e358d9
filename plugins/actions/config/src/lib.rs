//! Action pack `config`: declared configuration files and their last good copies. It must not
//! know formats: whether a file parses is told by the host.

#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(test)]
mod tests;

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::host::File;
use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The pack.
pub struct Config;

/// What `config.restore` replaced.
#[derive(Serialize, Deserialize)]
struct Replaced {
    id: String,
    path: String,
    hash: String,
}

impl ActionPack for Config {
    fn describe() -> Vec<ActionInfo> {
        let target = || required("target", ParamType::Target, "the instance");
        let path = || required("path", ParamType::Text, "the file, as declared");
        vec![
            action(
                "config.snapshot",
                "Make the file as it is the last good copy",
                Risk::Low,
            )
            .taking([target(), path()])
            .giving(&["changed", "hash"]),
            action(
                "config.restore",
                "Put the last good copy back",
                Risk::Medium,
            )
            .taking([target(), path()])
            .giving(&["changed", "replaced"])
            .undoable(),
            action(
                "config.validate",
                "Fail when a file does not parse",
                Risk::None,
            )
            .taking([
                target(),
                optional(
                    "path",
                    ParamType::Text,
                    "the file; all declared files without it",
                ),
            ])
            .giving(&["files"]),
        ]
    }

    fn plan(call: &Call) -> Result<Vec<String>> {
        let id = call.need_text("target")?;
        match call.action.as_str() {
            "config.snapshot" => {
                let file = declared(id, call.need_text("path")?)?;
                Ok(vec![match &file.problem {
                    Some(problem) => format!("nothing: {} does not parse: {problem}", file.path),
                    None if file.hash == file.good_hash => {
                        format!("nothing: {} is its own last good copy", file.path)
                    }
                    None => format!("make {} of {id} its last good copy", file.path),
                }])
            }
            "config.restore" => {
                let file = declared(id, call.need_text("path")?)?;
                if file.good_hash.is_empty() {
                    return Err(no_good_copy(id, &file.path));
                }
                Ok(vec![if file.hash == file.good_hash {
                    format!("nothing: {} of {id} is the last good copy", file.path)
                } else {
                    format!(
                        "put the last good copy of {} of {id} back ({} instead of {})",
                        file.path,
                        short(&file.good_hash),
                        short(&file.hash)
                    )
                }])
            }
            "config.validate" => Ok(chosen(call)?
                .iter()
                .map(|file| format!("check that {} of {id} parses", file.path))
                .collect()),
            other => Err(unknown(other)),
        }
    }

    fn run(call: &Call) -> Result<Receipt> {
        let id = call.need_text("target")?;
        match call.action.as_str() {
            "config.snapshot" => {
                let path = call.need_text("path")?;
                let before = declared(id, path)?.good_hash;
                let hash = host::files::snapshot(id, path)?;
                let changed = hash != before;
                Ok(receipt(
                    changed,
                    format!("{path} of {id} is the last good copy: {}", short(&hash)),
                )
                .output("changed", changed)
                .output("hash", hash))
            }
            "config.restore" => {
                let path = call.need_text("path")?;
                match host::files::restore(id, path)? {
                    None => Ok(receipt(
                        false,
                        format!("{path} of {id} was the last good copy already"),
                    )
                    .output("changed", false)
                    .output("replaced", "")),
                    Some(hash) => {
                        let undo = Replaced {
                            id: id.into(),
                            path: path.into(),
                            hash: hash.clone(),
                        };
                        receipt(
                            true,
                            format!(
                                "put the last good copy of {path} of {id} back; what was there is kept as {}",
                                short(&hash)
                            ),
                        )
                        .output("changed", true)
                        .output("replaced", hash)
                        .undo_with(&undo)
                    }
                }
            }
            "config.validate" => {
                let files = chosen(call)?;
                for file in &files {
                    if let Some(problem) = &file.problem {
                        return Err(PluginError::InvalidInput(format!(
                            "{} of {id} does not parse: {problem}",
                            file.path
                        )));
                    }
                }
                let count = files.len() as u64;
                Ok(
                    receipt(false, format!("{count} configuration files of {id} parse"))
                        .output("files", count),
                )
            }
            other => Err(unknown(other)),
        }
    }

    fn undo(_action: &str, receipt: &Receipt) -> Result<()> {
        match receipt.undo_data::<Replaced>()? {
            None => Ok(()),
            Some(replaced) => host::files::put_back(&replaced.id, &replaced.path, &replaced.hash),
        }
    }
}

fn declared(id: &str, path: &str) -> Result<File> {
    let files = host::files::files(id)?;
    let names: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    files
        .into_iter()
        .find(|file| file.path == path)
        .ok_or_else(|| {
            PluginError::NotApplicable(format!(
                "{path:?} is not declared under [[service.config]] of {id}; declared: {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            ))
        })
}

fn chosen(call: &Call) -> Result<Vec<File>> {
    let id = call.need_text("target")?;
    match call.text("path") {
        Some(path) if !path.is_empty() => Ok(vec![declared(id, path)?]),
        _ => host::files::files(id),
    }
}

fn no_good_copy(id: &str, path: &str) -> PluginError {
    PluginError::NotApplicable(format!("there is no last good copy of {path} of {id} yet"))
}

fn short(hash: &str) -> &str {
    if hash.is_empty() {
        "no file"
    } else {
        hash.get(..12).unwrap_or(hash)
    }
}

export_action!(Config);
