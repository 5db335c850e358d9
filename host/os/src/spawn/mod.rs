//! Starting a child with exactly what it was given: environment, files, user, session. What
//! can be wrong is said before the fork where that is possible, and what only the child can
//! see comes back to the parent as an error too. It decides nothing about restarts.

mod busy;
mod child;
mod program;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use grace_model::instance::ProcessId;

use crate::confine::{self, Confinement};
use crate::error::OsError;
use crate::inherit::FIRST_FD;
use crate::limit::OpenFiles;
use crate::user::User;
use crate::{pidfd, process};

pub use program::find_program;

/// Where programs are looked for when the child's environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a child could not be started. There is none then.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such program.
    #[error(
        "program {program:?} was not found {looked}: check its spelling, or give its full path"
    )]
    NotFound {
        /// As it was given.
        program: OsString,
        /// Where it was looked for.
        looked: String,
    },
    /// It is there and cannot be run.
    #[error("program {} cannot be run: {reason}", .path.display())]
    NotExecutable {
        /// Where it is.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The directory to run in cannot be entered.
    #[error("working directory {} cannot be entered: {source}", .dir.display())]
    WorkDir {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The child could not become what it was to be.
    #[error("{} could not be started: {step}: {source}", .path.display())]
    Step {
        /// The program.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An argument, variable or number that no process can have.
    #[error("{program:?} cannot be started: {what}")]
    BadInput {
        /// As it was given.
        program: OsString,
        /// What is wrong.
        what: String,
    },
    /// It could not be confined as it was to be.
    #[error("{} could not be confined: {}: {source}", .path.display(), .step.text())]
    Confine {
        /// The program.
        path: PathBuf,
        /// What was tried.
        step: confine::Step,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something else.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// Whom the child belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Session {
    /// Its parent's session and group.
    #[default]
    Same,
    /// A group of its own.
    Group,
    /// A session of its own, without a terminal.
    New,
}

/// A child to be started. Standard input is `/dev/null`; output too unless it is given.
#[derive(Debug)]
pub struct Spawn<'fd> {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    dir: Option<PathBuf>,
    streams: [Option<BorrowedFd<'fd>>; 3],
    fds: BTreeMap<i32, BorrowedFd<'fd>>,
    listen_names: Vec<String>,
    user: Option<User>,
    session: Session,
    subreaper: bool,
    die_with_parent: bool,
    no_new_privileges: bool,
    open_files: Option<OpenFiles>,
    confinement: Confinement,
}

/// A child that runs its program (or has ended since).
#[derive(Debug)]
pub struct Child {
    /// Its pid.
    pub pid: u32,
    /// Which process it is.
    pub id: ProcessId,
    /// A handle of it.
    pub handle: OwnedFd,
}

impl<'fd> Spawn<'fd> {
    /// A child running this program: a path, or a name to be looked for in the child's PATH.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: None,
            streams: [None; 3],
            fds: BTreeMap::new(),
            listen_names: Vec::new(),
            user: None,
            session: Session::default(),
            subreaper: false,
            die_with_parent: false,
            no_new_privileges: false,
            open_files: None,
            confinement: Confinement::default(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable. Nothing of our own environment is passed on.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Sets variables.
    #[must_use]
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(
            variables
                .into_iter()
                .map(|(key, value)| (key.into(), value.into())),
        );
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, fd: BorrowedFd<'fd>) -> Self {
        self.set_stream(0, fd);
        self
    }

    /// Sets standard output.
    #[must_use]
    pub fn stdout(mut self, fd: BorrowedFd<'fd>) -> Self {
        self.set_stream(1, fd);
        self
    }

    /// Sets standard error.
    #[must_use]
    pub fn stderr(mut self, fd: BorrowedFd<'fd>) -> Self {
        self.set_stream(2, fd);
        self
    }

    fn set_stream(&mut self, at: usize, fd: BorrowedFd<'fd>) {
        if let Some(stream) = self.streams.get_mut(at) {
            *stream = Some(fd);
        }
    }

    /// Gives the child an open file under a number from 3 on.
    #[must_use]
    pub fn fd(mut self, number: i32, fd: BorrowedFd<'fd>) -> Self {
        self.fds.insert(number, fd);
        self
    }

    /// Gives the child open files from number 3 on with `LISTEN_FDS`, `LISTEN_FDNAMES` and
    /// `LISTEN_PID`. Names have no colon.
    #[must_use]
    pub fn listen_fds<'name>(
        mut self,
        fds: impl IntoIterator<Item = (&'name str, BorrowedFd<'fd>)>,
    ) -> Self {
        for (name, fd) in fds {
            let number =
                FIRST_FD.saturating_add(i32::try_from(self.listen_names.len()).unwrap_or(0));
            self.fds.insert(number, fd);
            self.listen_names.push(name.to_owned());
        }
        self
    }

    /// Runs it as this user, with the user's groups.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets its session.
    #[must_use]
    pub fn session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// Whether its orphaned descendants become its children while it lives.
    #[must_use]
    pub fn subreaper(mut self, on: bool) -> Self {
        self.subreaper = on;
        self
    }

    /// Whether it is killed when the thread that starts it ends, by whatever.
    #[must_use]
    pub fn die_with_parent(mut self, on: bool) -> Self {
        self.die_with_parent = on;
        self
    }

    /// Whether it and its descendants can never gain privileges by exec.
    #[must_use]
    pub fn no_new_privileges(mut self, on: bool) -> Self {
        self.no_new_privileges = on;
        self
    }

    /// Sets how many files it may open; else it has our own limit.
    #[must_use]
    pub fn open_files(mut self, limit: OpenFiles) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Confines it: all of this or no child.
    #[must_use]
    pub fn confine(mut self, by: Confinement) -> Self {
        self.confinement = by;
        self
    }

    /// Does all that [`Self::start`] does short of executing the program, which need not exist.
    ///
    /// # Errors
    /// [`SpawnError`], as the start would have had.
    pub fn try_out(self) -> Result<(), SpawnError> {
        let null = open_null()?;
        let program = PathBuf::from(&self.program);
        let mut plan = self.plan(&program, null.as_fd())?;
        plan.trial = true;
        let pid = child::fork_and_exec(&mut plan).map_err(|failure| match failure {
            child::Failure::Parent(error) => error.into(),
            child::Failure::Child { step, source } => self.explain(&program, step, source),
        })?;
        // It has closed its pipe and has nothing more to do.
        let _ = crate::wait::wait_pid(pid);
        Ok(())
    }

    /// Starts it. Returns when its program runs. A program that is still being written is
    /// tried again for an eighth of a second.
    ///
    /// Nobody else of this process may reap children meanwhile: reap in the thread that
    /// spawns.
    ///
    /// # Errors
    /// [`SpawnError`]; then nothing is left running.
    pub fn start(self) -> Result<Child, SpawnError> {
        let path_variable = self
            .env
            .get(OsStr::new("PATH"))
            .map_or(OsStr::new(DEFAULT_PATH), |value| value);
        let program = find_program(&self.program, path_variable, self.dir.as_deref())?;
        if let Some(dir) = &self.dir {
            let enterable = std::fs::metadata(dir).and_then(|meta| {
                if meta.is_dir() {
                    Ok(())
                } else {
                    Err(rustix::io::Errno::NOTDIR.into())
                }
            });
            enterable.map_err(|source| SpawnError::WorkDir {
                dir: dir.clone(),
                source,
            })?;
        }
        let null = open_null()?;
        let mut plan = self.plan(&program, null.as_fd())?;
        let started = busy::again(|| child::fork_and_exec(&mut plan), std::thread::sleep);
        let pid = started.map_err(|failure| match failure {
            child::Failure::Parent(error) => error.into(),
            child::Failure::Child { step, source } => self.explain(&program, step, source),
        })?;
        // The child is not reaped before we return, so its pid is still its own.
        let handle = pidfd::open(pid)?;
        let id = process::identity(pid).ok_or_else(|| {
            OsError::new(
                "read",
                format_args!("/proc/{pid}/stat"),
                rustix::io::Errno::NOENT,
            )
        })?;
        Ok(Child { pid, id, handle })
    }

    fn plan(&self, program: &Path, null: BorrowedFd<'_>) -> Result<child::Plan, SpawnError> {
        let bad = |what: String| SpawnError::BadInput {
            program: self.program.clone(),
            what,
        };
        let text = |value: &OsStr| {
            CString::new(value.as_bytes())
                .map_err(|_| bad(format!("{value:?} has a zero byte inside")))
        };
        let mut argv = vec![text(&self.program)?];
        for arg in &self.args {
            argv.push(text(arg)?);
        }
        let mut env = Vec::new();
        for (key, value) in &self.env {
            if key.is_empty() || key.as_bytes().contains(&b'=') {
                return Err(bad(format!("{key:?} is no name of a variable")));
            }
            let mut entry = key.clone();
            entry.push("=");
            entry.push(value);
            env.push(
                CString::new(entry.into_vec())
                    .map_err(|_| bad(format!("variable {key:?} has a zero byte inside")))?
                    .into_bytes_with_nul(),
            );
        }
        if !self.listen_names.is_empty() {
            if let Some(name) = self.listen_names.iter().find(|name| name.contains(':')) {
                return Err(bad(format!("socket name {name:?} has a colon")));
            }
            env.push(format!("LISTEN_FDS={}\0", self.listen_names.len()).into_bytes());
            env.push(format!("LISTEN_FDNAMES={}\0", self.listen_names.join(":")).into_bytes());
        }
        if let Some(number) = self.fds.keys().find(|number| **number < FIRST_FD) {
            return Err(bad(format!(
                "open file number {number} is a standard stream's"
            )));
        }
        let mut moves = Vec::new();
        for (number, stream) in (0..).zip(&self.streams) {
            moves.push(child::Move::new(stream.unwrap_or(null).as_raw_fd(), number));
        }
        for (number, fd) in &self.fds {
            moves.push(child::Move::new(fd.as_raw_fd(), *number));
        }
        Ok(child::Plan {
            program: text(program.as_os_str())?,
            argv,
            env,
            tell_pid: !self.listen_names.is_empty(),
            dir: self
                .dir
                .as_deref()
                .map(|dir| text(dir.as_os_str()))
                .transpose()?,
            moves,
            user: self
                .user
                .as_ref()
                .map(|user| (user.uid, user.gid, user.groups.clone())),
            session: self.session,
            subreaper: self.subreaper,
            die_with_parent: self.die_with_parent,
            no_new_privileges: self.no_new_privileges,
            open_files: self.open_files,
            confinement: self
                .confinement
                .prepare()
                .map_err(|path| bad(format!("{path:?} has a zero byte inside")))?,
            trial: false,
        })
    }

    fn explain(&self, program: &Path, step: child::Step, source: std::io::Error) -> SpawnError {
        let path = program.to_owned();
        match (step, source.raw_os_error()) {
            (child::Step::Exec, Some(libc::ENOENT)) => SpawnError::NotExecutable {
                path,
                reason: "the interpreter named in its first line, or its loader, does not exist"
                    .to_owned(),
            },
            (child::Step::Exec, Some(libc::ENOEXEC)) => SpawnError::NotExecutable {
                path,
                reason: "it is no program for this machine; a script needs a first line such as \
                         #!/bin/sh"
                    .to_owned(),
            },
            (child::Step::Exec, Some(libc::EACCES)) => SpawnError::NotExecutable {
                path,
                reason: match &self.user {
                    Some(user) => format!("user {} may not execute it", user.name),
                    None => "this user may not execute it".to_owned(),
                },
            },
            (child::Step::Exec, Some(libc::ETXTBSY)) => SpawnError::NotExecutable {
                path,
                reason: "it is open for writing in some process; write a new program beside it \
                         and rename that to its name"
                    .to_owned(),
            },
            (child::Step::Directory, _) => SpawnError::WorkDir {
                dir: self.dir.clone().unwrap_or_default(),
                source,
            },
            (child::Step::Confine(step), _) => SpawnError::Confine { path, step, source },
            _ => SpawnError::Step {
                path,
                step: step.text(),
                source,
            },
        }
    }
}

fn open_null() -> Result<std::fs::File, OsError> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|source| OsError::new("open", "/dev/null", source))
}
