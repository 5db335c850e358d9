//! Which host a command is about: from the global options to its files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use grace_api::client::Client;
use grace_model::layout::Layout;

use crate::config::{self, FILE_NAME};
use crate::problem::{OrProblem, Problem};

/// How long a healer that is being restarted is waited for.
const HEALER: Duration = Duration::from_secs(3);

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// State directory of the host
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Configuration file [default: grace.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Standard output is one JSON document, or one a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Globals {
    /// The configuration file, whether it exists or not.
    pub fn file(&self) -> PathBuf {
        self.config
            .clone()
            .unwrap_or_else(|| PathBuf::from(FILE_NAME))
    }

    /// `--state` as an absolute path.
    pub fn given_state(&self) -> Result<Option<PathBuf>, Problem> {
        self.state.as_deref().map(absolute).transpose()
    }

    /// Where the host's state is. Needs of the file no more than its `state`. Without a file it is
    /// the host of `grace run`, if this user has just one.
    pub fn layout(&self) -> Result<Layout, Problem> {
        if let Some(state) = self.given_state()? {
            return Ok(Layout::new(state));
        }
        let file = absolute(&self.file())?;
        let beside = file.parent().unwrap_or(Path::new("/")).join(".grace");
        match config::state_of(&file) {
            Ok(state) => Ok(Layout::new(state)),
            // A file that cannot be read must not hide a host that runs.
            Err(_) if beside.join("VERSION").exists() => Ok(Layout::new(beside)),
            Err(config::ConfigError::Unreadable { .. }) if self.config.is_none() => {
                only_running(&file)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A client of the host's API.
    pub fn api(&self) -> Result<Client, Problem> {
        let layout = self.layout()?;
        let socket = layout.api_socket();
        if !socket.exists() && !crate::supervisor::Alive::look(&layout).any() {
            return Err(crate::supervisor::not_up(&layout));
        }
        Ok(Client::new(&socket, HEALER))
    }
}

/// The one host of `grace run` that this user has, when there is no file to name another.
fn only_running(file: &Path) -> Result<Layout, Problem> {
    let missing = format!("there is no {FILE_NAME} here ({})", file.display());
    let running = crate::cmd::run::running();
    match running.as_slice() {
        [only] => Ok(Layout::new(only)),
        [] => Err(Problem::new(
            missing,
            "name it with `--config FILE`, or the host's state with `--state DIR`",
        )),
        several => {
            let all: Vec<String> = several
                .iter()
                .map(|state| format!("--state {}", state.display()))
                .collect();
            Err(Problem::new(
                format!("{missing}, and several hosts of `grace run` are up"),
                format!("name one: {}", all.join(", or ")),
            ))
        }
    }
}

/// An absolute path, without asking whether it exists.
pub fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path)
        .map(|path| path.components().collect())
        .or_problem(path.display(), "give an absolute path")
}
