//! One home of groups, and shells that run in it as a service's instance would.

use std::fs;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use grace_model::config::Service;
use grace_model::id::ServiceName;
use grace_model::isolation::Report;
use grace_os::cgroup::Group;
use grace_os::spawn::{Child, Session, Spawn};
use grace_os::user::{self, User};
use grace_os::wait::{self, WaitStatus};
use grace_os::{Signal, pidfd};
use grace_sandbox::{Home, Machine, Prepared, Refused, Target, prepare};

/// Longer than anything takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

/// The shell itself would keep 100 MB.
pub const HOG: &str = "x=$(head -c 100000000 /dev/zero | tr '\\0' a); sleep 1";

pub struct Stage {
    pub home: Home,
    pub machine: Machine,
    pub dir: tempfile::TempDir,
    number: AtomicU32,
}

/// A shell that runs confined; ended with all its family when dropped.
pub struct Shell {
    pub child: Child,
    pub group: Option<Group>,
    pub report: Report,
    output: PipeReader,
    waited: bool,
}

/// A name that no other test has.
pub fn host(word: &str) -> String {
    format!("test-{word}-{}", std::process::id())
}

pub fn nobody() -> User {
    user::lookup("nobody").unwrap().expect("there is a nobody")
}

/// A service with this change.
pub fn service(change: impl FnOnce(&mut Service)) -> Service {
    let mut service = Service::new(
        ServiceName::from("shop"),
        vec!["sh".to_owned()],
        PathBuf::from("/"),
    );
    change(&mut service);
    service
}

pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !look() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Stage {
    pub fn new(word: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            home: Home::open(&host(word), None),
            machine: Machine::new(),
            dir,
            number: AtomicU32::new(0),
        }
    }

    /// A directory that a shell may write to, as its data directory.
    pub fn data(&self, of: Option<&User>) -> PathBuf {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let data = self.dir.path().join(format!("data-{number}"));
        fs::create_dir(&data).unwrap();
        if let Some(user) = of {
            user::give(&data, user).unwrap();
        }
        data
    }

    pub fn prepare(&self, service: &Service, data: &Path) -> Result<Prepared, Refused> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let name = format!("shop-1.{number}");
        let target = Target {
            group: &name,
            data,
            needs: &[],
            writes: &[],
        };
        prepare(service, &target, &self.machine, &self.home)
    }

    /// Runs a script as nobody when this is root, else as oneself.
    pub fn run(&self, service: &Service, script: &str) -> Shell {
        let user = user::is_root().then(nobody);
        self.run_as(service, user, script)
    }

    pub fn run_as(&self, service: &Service, user: Option<User>, script: &str) -> Shell {
        let data = self.data(user.as_ref());
        let prepared = self.prepare(service, &data);
        let mut prepared = prepared.unwrap_or_else(|error| panic!("{error}"));
        let (reader, writer) = std::io::pipe().unwrap();
        let mut spawn = Spawn::new("/bin/sh")
            .args(["-c", script, "sh"])
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("DATA", &data)
            .stdout(writer.as_fd())
            .stderr(writer.as_fd())
            .session(Session::New)
            .no_new_privileges(prepared.no_new_privileges)
            .confine(std::mem::take(&mut prepared.confinement));
        if let Some(files) = prepared.open_files {
            spawn = spawn.open_files(files);
        }
        if let Some(user) = user {
            spawn = spawn.user(user);
        }
        let child = spawn.start().unwrap_or_else(|error| panic!("{error}"));
        Shell {
            child,
            group: prepared.group,
            report: prepared.report,
            output: reader,
            waited: false,
        }
    }

    /// What a script writes, once it and all that hold its output have ended.
    pub fn says(&self, service: &Service, script: &str) -> String {
        self.run(service, script).text()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.home.close();
    }
}

impl Shell {
    pub fn group(&self) -> &Group {
        self.group.as_ref().expect("it has a group")
    }

    pub fn text(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        text
    }

    /// Reads up to the end of a line.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub fn is_alive(&self) -> bool {
        !pidfd::is_dead(&self.child.handle).unwrap()
    }

    pub fn ended(&mut self) -> WaitStatus {
        assert!(pidfd::wait_dead(&self.child.handle, LONG).unwrap());
        self.waited = true;
        wait::wait_pid(self.child.pid).unwrap().unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = pidfd::send_signal(&self.child.handle, Signal::Kill);
        if !self.waited {
            let _ = wait::wait_pid(self.child.pid);
        }
        if let Some(group) = &self.group {
            let _ = group.kill(LONG);
            until("the group's end", || group.remove().is_ok());
        }
    }
}
