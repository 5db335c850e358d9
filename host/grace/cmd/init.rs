//! `grace init`: a `grace.toml` to start from.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::config;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;

/// Write a grace.toml that names every key
#[derive(Debug, Args)]
pub struct Init {
    /// Print it instead
    #[arg(long)]
    print: bool,
    /// The service's program and arguments, such as: ./shop --port {port}
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Init {
    /// Writes it, and never over another.
    pub fn run(self, globals: &Globals) -> Outcome {
        let text = self.text()?;
        if self.print {
            show::line(text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let file = globals.file();
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&file)
            .and_then(|mut out| out.write_all(text.as_bytes()));
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Problem::new(
                    format!("{} exists already", file.display()),
                    "edit it, or write beside it: `grace init --config OTHER.toml`",
                ));
            }
            other => other.or_problem(format_args!("cannot write {}", file.display()), "")?,
        }
        if globals.json {
            show::document(&json!({ "written": file }))?;
        } else {
            let next = if self.command.is_empty() {
                "set `command` in it, then `grace up`"
            } else {
                "next: `grace up`"
            };
            show::line(&format!("wrote {}; {next}", file.display()));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The example, with the given command in place of its own.
    fn text(&self) -> Result<String, Problem> {
        let [program, ..] = self.command.as_slice() else {
            return Ok(config::EXAMPLE.to_owned());
        };
        let name = super::run::name_of(program);
        let command = serde_json::to_string(&self.command).or_problem("the command", "")?;
        Ok(config::EXAMPLE
            .replacen("name = \"shop\"", &format!("name = {name:?}"), 1)
            .replacen(
                "command = [\"./shop\", \"--port\", \"{port}\"]",
                &format!("command = {command}"),
                1,
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_command_takes_the_place_of_the_examples() {
        let init = Init {
            print: true,
            command: vec!["./a b".into(), "{port}".into()],
        };
        let text = init.text().unwrap();
        assert!(
            text.contains("command = [\"./a b\",\"{port}\"]") && text.contains("name = \"a-b\""),
            "{text}"
        );
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["service"][0]["command"][0].as_str(), Some("./a b"));
    }
}
