//! `grace plugin grant`: the operator's key. Written to `grants.toml` in the state directory,
//! which a running host reads again by itself.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use clap::Args;
use grace_model::layout::Layout;
use serde_json::json;

use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::{capability, show, state};

/// Let a plugin do something it asks for
#[derive(Debug, Args)]
pub struct Grant {
    /// The plugin
    name: String,
    /// What it may do, such as metrics:read or fs:read:/srv
    #[arg(required = true, value_name = "CAP")]
    capabilities: Vec<String>,
    /// Take it back
    #[arg(long)]
    revoke: bool,
}

type Grants = BTreeMap<String, Vec<String>>;

impl Grant {
    /// Writes it down.
    pub fn run(self, globals: &Globals) -> Outcome {
        for text in &self.capabilities {
            capability::check(text).map_err(|what| Problem::new(what, "see wit/README.md"))?;
        }
        let layout = globals.layout()?;
        state::prepare(&layout)?;
        let mut grants = read(&layout)?;
        let own = grants.entry(self.name.clone()).or_default();
        let before = own.clone();
        own.retain(|one| !self.capabilities.contains(one));
        if !self.revoke {
            own.extend(self.capabilities.iter().cloned());
            own.sort();
            own.dedup();
        }
        let now = own.clone();
        grants.retain(|_, list| !list.is_empty());
        write(&layout, &grants)?;
        if globals.json {
            show::document(&json!({ "name": self.name, "granted": now }))?;
            return Ok(ExitCode::SUCCESS);
        }
        for text in &self.capabilities {
            let (had, has) = (before.contains(text), now.contains(text));
            let what = match (had, has) {
                (false, true) => format!(
                    "{} may use now: {text}: {}",
                    self.name,
                    capability::opens(text)
                ),
                (true, false) => format!("{} may no longer use: {text}", self.name),
                (true, true) => format!("{} had {text} already", self.name),
                (false, false) => format!(
                    "{} did not have {text} here; grace.toml may grant it",
                    self.name
                ),
            };
            show::line(&what);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn read(layout: &Layout) -> Result<Grants, Problem> {
    let file = layout.grants();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Grants::new()),
        Err(error) => {
            return Err(error).or_problem(format_args!("cannot read {}", file.display()), "");
        }
    };
    toml::from_str(&text)
        .map_err(|error| error.message().to_owned())
        .or_problem(
            file.display(),
            "correct the file; it holds lines such as: my-plugin = [\"clock\"]",
        )
}

fn write(layout: &Layout, grants: &Grants) -> Result<(), Problem> {
    let body = toml::to_string(grants).or_problem("the grants", "")?;
    let text = format!("# Written by `grace plugin grant`.\n{body}");
    grace_os::file::write_atomic(&layout.grants(), text.as_bytes(), 0o600)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn grant(state: &std::path::Path, args: &[&str]) -> Outcome {
        let mut all = vec!["grace", "plugin", "grant", "--state"];
        let state = state.display().to_string();
        all.push(&state);
        all.extend(args);
        let cli = crate::cli::Cli::try_parse_from(all).unwrap();
        cli.command.run(&cli.globals)
    }

    #[test]
    fn grants_are_added_taken_back_and_read_by_the_plugin_host() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("s");
        grant(&state, &["mine", "probe", "fs:read:/srv"]).unwrap();
        grant(&state, &["mine", "clock", "probe"]).unwrap();
        grant(&state, &["other", "notify"]).unwrap();
        grant(&state, &["mine", "fs:read:/srv", "--revoke"]).unwrap();
        let file = Layout::new(&state).grants();
        let read = grace_wasm::read_grants(&file).unwrap();
        assert_eq!(read[&"mine".into()], ["clock", "probe"]);
        assert_eq!(read[&"other".into()], ["notify"]);
        let problem = grant(&state, &["mine", "prob"]).unwrap_err();
        assert!(
            problem.what().contains("did you mean \"probe\""),
            "{problem}"
        );
    }

    #[test]
    fn a_damaged_file_is_told_and_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("s"));
        state::prepare(&layout).unwrap();
        fs::write(layout.grants(), "mine = [").unwrap();
        let problem = grant(layout.root(), &["mine", "probe"]).unwrap_err();
        assert!(problem.what().contains("grants.toml"), "{problem}");
        assert_eq!(fs::read_to_string(layout.grants()).unwrap(), "mine = [");
    }
}
