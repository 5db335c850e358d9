//! What a component imports and exports, by name, read before anything of it is compiled; and
//! whether that fits its world. Compiles nothing and grants nothing.

use grace_model::manifest::World;
use wasmparser::{Encoding, Parser, Payload};

use crate::grant::Capability;

/// WASI 0.2 packages that the stand-ins cover.
const WASI: [&str; 6] = [
    "wasi:io",
    "wasi:clocks",
    "wasi:random",
    "wasi:cli",
    "wasi:filesystem",
    "wasi:sockets",
];

/// Names at the top level of a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// Cause and remedy of a component that cannot be used.
pub type Misfit = (String, String);

/// Reads the names of `wasm`.
pub fn read(wasm: &[u8]) -> Result<Names, Misfit> {
    if wasm.is_empty() {
        return Err(misfit(
            "the file is empty",
            "was it copied completely? copy it again",
        ));
    }
    if !wasm.starts_with(b"\0asm") {
        let text = wasm
            .iter()
            .take(64)
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        return Err(if text && wasm.trim_ascii_start().starts_with(b"(") {
            misfit(
                "it is WebAssembly text, not a binary",
                "translate it with `wasm-tools parse`",
            )
        } else {
            misfit(
                "it is no WebAssembly",
                "put a component here; `grace plugin new` makes one to start from",
            )
        });
    }
    let mut names = Names::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding == Encoding::Module {
                    return Err(misfit(
                        "it is a core module, not a component",
                        "build it with `cargo build --target wasm32-wasip2` (wasm32-unknown-unknown and wasm32-wasip1 make core modules)",
                    ));
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names
                        .imports
                        .push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names
                        .exports
                        .push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn broken(error: wasmparser::BinaryReaderError) -> Misfit {
    let message = error.message();
    if message.contains("unexpected end") || message.contains("end-of-file") {
        misfit("it is truncated", "was it copied completely? copy it again")
    } else {
        (
            format!("it is damaged at byte {}: {message}", error.offset()),
            "build it again, or copy it again".to_owned(),
        )
    }
}

fn misfit(cause: &str, remedy: &str) -> Misfit {
    (cause.to_owned(), remedy.to_owned())
}

/// Checks that every import is one of `world` or of WASI 0.2, and says which capabilities they
/// need.
pub fn check_imports(world: World, names: &Names) -> Result<Vec<Capability>, Misfit> {
    let mut needs = Vec::new();
    for import in &names.imports {
        let (package, interface, version) = split(import);
        let known = match package {
            "grace:plugin" if track(version) == "0.1" => {
                let capability = Capability::of_interface(interface);
                let open = matches!(interface, "types" | "log" | "config");
                let fits = open || (world == World::Action && capability.is_some());
                needs.extend(capability.filter(|_| fits));
                fits
            }
            package => WASI.contains(&package) && track(version) == "0.2",
        };
        if !known {
            return Err((
                format!(
                    "it imports {import}, which is neither in world {} of grace:plugin@0.1 nor in WASI 0.2",
                    world.word()
                ),
                remedy_for(package, interface, world),
            ));
        }
    }
    Ok(needs)
}

fn remedy_for(package: &str, interface: &str, world: World) -> String {
    if package == "grace:plugin"
        && world == World::Detector
        && Capability::of_interface(interface).is_some()
    {
        return "a detector is pure; let it make a finding and an action do the rest".to_owned();
    }
    match package {
        "grace:plugin" => "build it against grace:plugin@0.1.0 of this host".to_owned(),
        "wasi:http" => "use `probe`, or a net:HOST:PORT grant with WASI sockets; a JavaScript component leaves it out when it is built without the features http and fetch-event".to_owned(),
        _ => "remove the import; wit/README.md lists what a plugin may import".to_owned(),
    }
}

/// Checks that the export of `world` is there.
pub fn check_exports(world: World, names: &Names) -> Result<(), Misfit> {
    let (needed, other, other_world) = match world {
        World::Detector => ("detect", "act", World::Action),
        World::Action => ("act", "detect", World::Detector),
    };
    let mut another_version = None;
    let mut has_other = false;
    for export in &names.exports {
        let (package, interface, version) = split(export);
        if package != "grace:plugin" {
            continue;
        }
        if interface == needed && track(version) == "0.1" {
            return Ok(());
        }
        if interface == needed {
            another_version = Some(export);
        }
        has_other |= interface == other;
    }
    if let Some(export) = another_version {
        return Err((
            format!("it exports {export}, and this host speaks grace:plugin@0.1"),
            "build it against grace:plugin@0.1.0".to_owned(),
        ));
    }
    if has_other {
        return Err((
            format!(
                "it exports grace:plugin/{other}, so it is of world {}, and its manifest says world = {:?}",
                other_world.word(),
                world.word()
            ),
            format!(
                "write world = {:?} in the manifest, or build the right plugin",
                other_world.word()
            ),
        ));
    }
    let found = match names.exports.as_slice() {
        [] => "exports nothing".to_owned(),
        exports => format!("exports only {}", exports.join(", ")),
    };
    Err((
        format!("it does not export grace:plugin/{needed}@0.1.0 (it {found})"),
        format!(
            "export interface `{needed}` of world {}, as wit/worlds.wit has it",
            world.word()
        ),
    ))
}

/// `wasi:io/poll@0.2.6` as package, interface and version.
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    (package, interface, version)
}

/// `0.2.6` as `0.2`: versions on one track are compatible.
fn track(version: &str) -> &str {
    version
        .match_indices('.')
        .nth(1)
        .map_or(version, |(at, _)| version.get(..at).unwrap_or(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(imports: &[&str], exports: &[&str]) -> Names {
        let own = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        Names {
            imports: own(imports),
            exports: own(exports),
        }
    }

    #[test]
    fn imports_of_the_world_and_of_wasi_need_what_they_open() {
        let names = names(
            &[
                "grace:plugin/types@0.1.0",
                "grace:plugin/clock@0.1.3",
                "wasi:io/poll@0.2.6",
            ],
            &[],
        );
        assert_eq!(
            check_imports(World::Action, &names),
            Ok(vec![Capability::Clock])
        );
        let (cause, _) = check_imports(World::Detector, &names).expect_err("a detector is pure");
        assert!(cause.contains("grace:plugin/clock@0.1.3"), "{cause}");
    }

    #[test]
    fn any_other_import_is_refused_by_its_name() {
        for import in [
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:io/poll@0.3.0",
            "env",
            "grace:plugin/log@0.2.0",
        ] {
            let (cause, _) =
                check_imports(World::Action, &names(&[import], &[])).expect_err(import);
            assert!(cause.contains(import), "{cause}");
        }
    }

    #[test]
    fn an_export_of_another_world_or_version_is_named() {
        let act = names(&[], &["grace:plugin/act@0.1.0"]);
        assert_eq!(check_exports(World::Action, &act), Ok(()));
        let (cause, remedy) = check_exports(World::Detector, &act).expect_err("wrong world");
        assert!(cause.contains("of world action") && remedy.contains("world = \"action\""));
        let (cause, _) = check_exports(World::Detector, &names(&[], &["run"])).expect_err("none");
        assert!(
            cause.contains("grace:plugin/detect@0.1.0 (it exports only run)"),
            "{cause}"
        );
        let later = names(&[], &["grace:plugin/detect@0.2.0"]);
        let (cause, _) = check_exports(World::Detector, &later).expect_err("later version");
        assert!(cause.contains("grace:plugin/detect@0.2.0"), "{cause}");
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let cause = |bytes: &[u8]| read(bytes).expect_err("no component").0;
        assert_eq!(cause(b""), "the file is empty");
        assert_eq!(cause(b"#!/bin/sh\n"), "it is no WebAssembly");
        assert_eq!(
            cause(b"(component)"),
            "it is WebAssembly text, not a binary"
        );
        assert_eq!(
            cause(b"\0asm\x01\0\0\0"),
            "it is a core module, not a component"
        );
        assert_eq!(cause(b"\0asm\x0d\0"), "it is truncated");
    }
}
