//! Compiles the components of a folder for a baseline CPU; `cargo xtask dist` puts the result
//! inside the binary.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;

/// Compiles components ahead of time
#[derive(Debug, Args)]
pub struct Precompile {
    /// Folder of components
    #[arg(long)]
    from: PathBuf,
    /// Folder for the result
    #[arg(long)]
    to: PathBuf,
}

impl Precompile {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        fs::create_dir_all(&self.to).or_problem(self.to.display(), "")?;
        let mut made = Vec::new();
        let entries = fs::read_dir(&self.from)
            .or_problem(self.from.display(), "run `cargo xtask plugins` first")?;
        for entry in entries {
            let path = entry.or_problem(self.from.display(), "")?.path();
            let Some(stem) = path
                .file_stem()
                .filter(|_| path.extension().is_some_and(|end| end == "wasm"))
            else {
                continue;
            };
            let wasm = fs::read(&path).or_problem(path.display(), "")?;
            let code = grace_wasm::precompile(&wasm)
                .map_err(|error| Problem::new(format!("{}: {error}", path.display()), ""))?;
            let file = self.to.join(stem).with_extension("cwasm");
            // An untouched file spares building the program again.
            if !fs::read(&file).is_ok_and(|old| old == code) {
                fs::write(&file, code).or_problem(file.display(), "")?;
            }
            made.push(file);
        }
        if made.is_empty() {
            return Err(Problem::new(
                format!("there is no component in {}", self.from.display()),
                "run `cargo xtask plugins` first",
            ));
        }
        made.sort();
        if globals.json {
            show::document(&serde_json::json!({ "precompiled": made }))?;
        } else {
            made.iter()
                .for_each(|file| show::line(&file.display().to_string()));
        }
        Ok(ExitCode::SUCCESS)
    }
}
