//! `grace plugin new`: a folder that builds, tests and runs unchanged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use grace_model::id::ServiceName;
use serde_json::json;

use crate::builtin::{Piece, TEMPLATE};
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;

/// Make a folder with a new plugin that builds as it is
#[derive(Debug, Args)]
pub struct New {
    /// The plugin's name and its folder: 1 to 48 of a-z, 0-9 and -
    name: String,
    /// What it is
    #[arg(long, value_enum, default_value = "detector")]
    world: Kind,
    /// Where, instead of a folder of that name here
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Finds that something is wrong.
    Detector,
    /// Changes something.
    Action,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Detector => "detector",
            Kind::Action => "action",
        }
    }
}

impl New {
    /// Writes it, and never over something.
    pub fn run(self, globals: &Globals) -> Outcome {
        // The rule for services' names is also cargo's, and that of file names everywhere.
        if ServiceName::parse(&self.name).is_err() {
            return Err(Problem::new(
                format!("{:?} is no name for a plugin", self.name),
                "use 1 to 48 of a-z, 0-9 and -, starting with a letter",
            ));
        }
        let pieces = pieces(self.world.word());
        if pieces.is_empty() {
            return Err(Problem::new(
                "this grace was built without the template of a plugin",
                "build it in a checkout that has plugins/template",
            ));
        }
        let dir = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        let taken = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
        if taken || dir.is_file() {
            return Err(Problem::new(
                format!("{} is there already", dir.display()),
                "choose another name or `--dir`",
            ));
        }
        write(&dir, &self.name, &pieces)?;
        if globals.json {
            show::document(&json!({ "name": self.name, "world": self.world.word(), "dir": dir }))?;
        } else {
            show::line(&format!(
                "made {}; next: grace plugin test {0}",
                dir.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn pieces(world: &str) -> Vec<&'static Piece> {
    TEMPLATE
        .iter()
        .filter(|piece| piece.world == world || piece.world == "both")
        .collect()
}

fn write(dir: &Path, name: &str, pieces: &[&Piece]) -> Result<(), Problem> {
    for piece in pieces {
        let file = dir.join(piece.path);
        let above = file.parent().unwrap_or(dir);
        fs::create_dir_all(above)
            .or_problem(format_args!("cannot make {}", above.display()), "")?;
        let text = piece
            .text
            .replace("__name__", name)
            .replace("__crate__", &name.replace('-', "_"));
        fs::write(&file, text).or_problem(format_args!("cannot write {}", file.display()), "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_has_no_placeholder_left() {
        if TEMPLATE.is_empty() {
            panic!("plugins/template/embed.txt is not there");
        }
        for kind in [Kind::Detector, Kind::Action] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "my-plugin", &pieces(kind.word())).unwrap();
            let manifest = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
            assert!(manifest.contains("name = \"my-plugin\"") && manifest.contains("my_plugin"));
            let plugin = fs::read_to_string(dir.path().join("plugin.toml")).unwrap();
            assert!(
                plugin.contains(&format!("world = \"{}\"", kind.word())),
                "{plugin}"
            );
            let code = fs::read_to_string(dir.path().join("src/lib.rs")).unwrap();
            assert!(!code.contains("__name__") && !code.contains("__crate__"));
            assert!(dir.path().join("sdk/wit/worlds.wit").exists());
        }
    }
}
