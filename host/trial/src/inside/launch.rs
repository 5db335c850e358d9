//! The service's process inside a copy: its data, its variables, its output.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use grace_capsule::copy_tree;
use grace_model::config::Service;
use grace_model::instance::ExitCause;
use grace_os::confine::{Capabilities, Confinement, Filter};
use grace_os::spawn::{Child, DEFAULT_PATH, Session, Spawn};
use grace_os::user::{self, User};
use grace_os::wait;

use crate::job::Job;

/// Where the copy's data is: in the `/tmp` that nobody else sees.
const DATA: &str = "/tmp/grace-copy/data";
/// Any port will do where nobody else listens.
const PORT: u16 = 8_080;
/// Output that is kept, as the supervisor does of a real instance.
const TAIL: usize = 4 * 1024;
/// Whom services run as when Grace is root and they say nothing.
const UNPRIVILEGED: &str = "nobody";

/// The service's process in here.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pub(super) port: u16,
    exit: Option<ExitCause>,
    tail: Arc<Mutex<VecDeque<u8>>>,
}

/// Starts it.
pub(super) fn launch(job: &Job) -> Result<Running, String> {
    let service = &job.service;
    let user = whom(service)?;
    let data = Path::new(DATA);
    let failed = |error: std::io::Error| format!("its data directory could not be made: {error}");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(data)
        .map_err(failed)?;
    if let Some(snapshot) = &job.snapshot {
        if !snapshot.is_dir() {
            return Err(format!("its snapshot {} is missing", snapshot.display()));
        }
        let mut give = |path: &Path| match &user {
            // Not through a link, which may lead anywhere.
            Some(user) if !path.is_symlink() => {
                user::give(path, user).map_err(std::io::Error::other)
            }
            _ => Ok(()),
        };
        copy_tree(snapshot, data, u64::MAX, &mut give)
            .map_err(|error| format!("its data directory could not be made: {error}"))?;
    }
    seed(service, data, user.as_ref()).map_err(failed)?;
    if let Some(user) = &user {
        user::give(data, user).map_err(|error| error.to_string())?;
    }
    let fill = |text: &String| {
        text.replace("{port}", &PORT.to_string())
            .replace("{data}", DATA)
            .replace("{instance}", job.instance.as_str())
    };
    let Some(program) = service.command.first().map(fill) else {
        return Err("its service has no command".to_owned());
    };
    let (read, write) = pipe().map_err(|error| error.to_string())?;
    let mut spawn = Spawn::new(program)
        .args(service.command.iter().skip(1).map(fill))
        .dir(&service.work_dir)
        .env("PATH", DEFAULT_PATH)
        .env("HOME", DATA)
        .envs(
            service
                .env
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        )
        .env("GRACE_DATA", DATA)
        .env("GRACE_COPY", "1")
        .env("PORT", PORT.to_string())
        .stdout(write.as_fd())
        .stderr(write.as_fd())
        .session(Session::New)
        .no_new_privileges(true)
        .confine(Confinement {
            drop: if user::is_root() {
                Capabilities::all()
            } else {
                Capabilities::default()
            },
            filter: job.filter.then(Filter::kernel),
            file_bytes: service.limits.file_bytes,
            ..Confinement::default()
        });
    if let Some(user) = user {
        spawn = spawn.user(user);
    }
    let child = spawn.start().map_err(|error| error.to_string())?;
    drop(write);
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let own = Arc::clone(&tail);
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || follow(read, &own))
        .map_err(|error| error.to_string())?;
    Ok(Running {
        child,
        port: PORT,
        exit: None,
        tail,
    })
}

impl Running {
    /// How it ended, if it has. Also takes the ends of those that it left behind.
    pub(super) fn ended(&mut self) -> Option<ExitCause> {
        if self.exit.is_none() {
            let ends = wait::wait_any_nonblocking().unwrap_or_default();
            let own = ends.iter().find(|(pid, _)| *pid == self.child.pid);
            self.exit = own.map(|(_, status)| status.cause());
        }
        self.exit.clone()
    }

    /// The last lines that it wrote.
    pub(super) fn output(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn follow(mut read: impl Read, tail: &Mutex<VecDeque<u8>>) {
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = read.read(&mut some) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(some.get(..count).unwrap_or_default());
        let over = tail.len().saturating_sub(TAIL);
        tail.drain(..over);
    }
}

fn whom(service: &Service) -> Result<Option<User>, String> {
    if !user::is_root() {
        return Ok(None);
    }
    let name = service.user.as_deref().unwrap_or(UNPRIVILEGED);
    match user::lookup(name).map_err(|error| error.to_string())? {
        Some(user) if user.uid == user::effective_uid() => Ok(None),
        Some(user) => Ok(Some(user)),
        None => Err(format!("dependency missing: user {name}")),
    }
}

/// Declared configuration that the snapshot does not hold.
fn seed(service: &Service, data: &Path, user: Option<&User>) -> std::io::Result<()> {
    for file in &service.config {
        let to = PathBuf::from(file.path.replace("{data}", DATA));
        let Some(seed) = file
            .seed
            .as_ref()
            .filter(|_| to.starts_with(data) && !to.exists())
        else {
            continue;
        };
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        fs::copy(seed, &to)?;
        if let Some(user) = user {
            user::give(&to, user).map_err(std::io::Error::other)?;
        }
    }
    Ok(())
}
