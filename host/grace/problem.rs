//! Why a command did not do what was asked: what, why, what helps, and which exit code says so.

use std::fmt;
use std::process::ExitCode;

/// What a command ends with.
pub type Outcome = Result<ExitCode, Problem>;

/// A command that did not do what was asked.
#[derive(Debug)]
pub struct Problem {
    what: String,
    remedy: String,
    code: u8,
}

impl Problem {
    /// It could not run.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
            code: 2,
        }
    }

    /// It ran, and the answer is no.
    pub fn no(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
            code: 1,
        }
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What helps; empty when the text says it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Its exit code.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// Errors whose text already names file, cause and remedy.
macro_rules! complete {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Problem::new(error.to_string(), "")
            }
        })*
    };
}

complete!(
    grace_os::dir::DirError,
    grace_os::listen::ListenError,
    grace_os::spawn::SpawnError,
    grace_model::id::NameError,
);

impl From<grace_os::OsError> for Problem {
    fn from(error: grace_os::OsError) -> Self {
        let remedy = match error.kind() {
            std::io::ErrorKind::StorageFull => "the disk is full: free some space and try again",
            std::io::ErrorKind::PermissionDenied => "run as the user who owns it",
            std::io::ErrorKind::ReadOnlyFilesystem => {
                "choose a state directory that can be written"
            }
            _ => "",
        };
        Problem::new(error.to_string(), remedy)
    }
}

impl From<crate::config::ConfigError> for Problem {
    fn from(error: crate::config::ConfigError) -> Self {
        let remedy = error.remedy();
        Problem::new(error.to_string(), remedy)
    }
}

impl From<grace_api::client::ClientError> for Problem {
    fn from(error: grace_api::client::ClientError) -> Self {
        use grace_api::client::ClientError as E;
        let remedy = error.remedy().to_owned();
        match &error {
            // The host answered, and the answer is no.
            E::Refused {
                status: 404 | 409, ..
            } => Problem::no(error.to_string(), remedy),
            _ => Problem::new(error.to_string(), remedy),
        }
    }
}

/// Adds file and remedy to an error of the system.
pub trait OrProblem<T> {
    /// `what` says what was tried on which file.
    fn or_problem(self, what: impl fmt::Display, remedy: &str) -> Result<T, Problem>;
}

impl<T, E: fmt::Display> OrProblem<T> for Result<T, E> {
    fn or_problem(self, what: impl fmt::Display, remedy: &str) -> Result<T, Problem> {
        self.map_err(|error| Problem::new(format!("{what}: {error}"), remedy))
    }
}
