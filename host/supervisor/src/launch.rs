//! Starting one instance: its port, directory, files, user, variables, and the fork.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use grace_model::config::{Service, Socket};
use grace_model::event::What;
use grace_model::id::InstanceId;
use grace_os::leftovers::MARKER;
use grace_os::notify::NotifySocket;
use grace_os::spawn::{Child, DEFAULT_PATH, Session, Spawn, SpawnError};
use grace_os::user::{self, User};
use grace_os::{Signal, clock, fifo, listen, pidfd, port, umask};
use grace_plan::restart::Event;
use grace_sandbox::Prepared;

use crate::confine::{self, InGroup};
use crate::core::{Core, Message};
use crate::log::Output;
use crate::slot::{Notify, Running, Slot, marker};
use crate::watch;

/// Whom services run as when Grace is root and they say nothing.
const UNPRIVILEGED: &str = "nobody";

/// The files that an ordinary program makes are closed to writers, not to readers.
const USUAL_MASK: u32 = 0o022;

/// Why an instance has no process; for a person.
type Reason = String;

impl Core {
    /// Starts a process for an instance and answers its machine.
    pub(crate) fn spawn_instance(&mut self, id: &InstanceId, generation: u64) {
        let now = clock::boot_ms();
        let event = match self.try_spawn(id, generation, now) {
            Ok(()) => Event::Spawned,
            Err(reason) => {
                tracing::error!(instance = %id, reason, "could not be started");
                Event::SpawnFailed { reason }
            }
        };
        self.events.push_back((id.clone(), event));
    }

    fn try_spawn(&mut self, id: &InstanceId, generation: u64, now: u64) -> Result<(), Reason> {
        let used: Vec<u16> = self.slots.values().map(|slot| slot.port).collect();
        let data = self.layout.data(id);
        let Some(slot) = self.slots.get_mut(id) else {
            return Err("there is no such instance".to_owned());
        };
        let service = slot.service.clone();
        choose_port(slot, &used, &self.host)?;
        let user = whom(&service)?;
        make_data(&data, user.as_ref())?;
        seed(&service, &data, user.as_ref())?;
        open_output(slot, &self.layout, user.as_ref())?;
        open_notify(
            slot,
            &self.layout,
            &self.host,
            user.is_some(),
            &self.messages,
        )?;
        let (subject, port) = (slot.subject(), slot.port);
        self.hold(id);
        self.record(What::SpawnIntent {
            subject: subject.clone(),
            port,
        });
        let (child, confined) = self.fork(id, generation, &data, user)?;
        let messages = self.messages.clone();
        let death = Message::Death {
            instance: id.clone(),
            generation,
        };
        let watch = watch::death(&child.handle, &messages, death).map_err(|error| {
            // A process that nobody watches must not run.
            let _ = pidfd::send_signal(&child.handle, Signal::Kill);
            error.to_string()
        })?;
        self.link.store(&format!("pidfd:{id}"), &child.handle);
        self.record(What::Spawned {
            subject: subject.clone(),
            process: child.id.clone(),
            port,
        });
        self.tell_isolation(subject, confined.report);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.started += 1;
            slot.running = Some(Running {
                process: child.id,
                handle: child.handle,
                watch,
                generation,
                own: true,
                started_at: now,
                stopped_since: None,
                stopped_told: 0,
                beat_at: None,
                late_told: None,
                cause_by: None,
                group: confined.group.map(InGroup::new),
            });
        }
        Ok(())
    }

    fn fork(
        &self,
        id: &InstanceId,
        generation: u64,
        data: &Path,
        user: Option<User>,
    ) -> Result<(Child, Prepared), Reason> {
        let Some(slot) = self.slots.get(id) else {
            return Err("there is no such instance".to_owned());
        };
        let service = &slot.service;
        let Some(program) = service.command.first().map(|text| fill(text, slot, data)) else {
            return Err(format!("service {} has no command", service.name));
        };
        let confined = self.prepare(slot, generation, data, &program)?;
        started(confined, |confined| {
            self.start(slot, generation, data, user.clone(), &program, confined)
        })
        .map_err(|error| error.to_string())
    }

    fn start(
        &self,
        slot: &Slot,
        generation: u64,
        data: &Path,
        user: Option<User>,
        program: &str,
        confined: &mut Prepared,
    ) -> Result<Child, SpawnError> {
        let (id, service) = (&slot.id, &slot.service);
        let output = fifo::open_writer(&self.layout.fifo(id))?;
        let mut spawn = Spawn::new(program)
            .args(
                service
                    .command
                    .iter()
                    .skip(1)
                    .map(|text| fill(text, slot, data)),
            )
            .dir(&service.work_dir)
            .envs(variables(service, user.as_ref()))
            .env("GRACE_DATA", data)
            .env(MARKER, marker(&self.host, id, generation))
            .stdout(output.as_fd())
            .stderr(output.as_fd())
            .session(Session::New)
            .subreaper(true)
            .open_files(confined.open_files.unwrap_or(self.files))
            .no_new_privileges(confined.no_new_privileges)
            .confine(std::mem::take(&mut confined.confinement));
        if slot.port != 0 {
            spawn = spawn.env("PORT", slot.port.to_string());
        }
        if let Some(notify) = &slot.notify {
            spawn = spawn.env("NOTIFY_SOCKET", &notify.address);
        }
        if let Some(limit) = service.heartbeat_ms {
            spawn = spawn.env("WATCHDOG_USEC", limit.saturating_mul(1_000).to_string());
        }
        if let Some(socket) = &slot.socket {
            spawn = spawn.listen_fds([(service.name.as_str(), socket.as_fd())]);
        }
        if let Some(user) = user {
            spawn = spawn.user(user);
        }
        let mask = umask::set(USUAL_MASK);
        let child = spawn.start();
        umask::set(mask);
        child
    }

    /// Has the keeper hold what must outlive this process.
    pub(crate) fn hold(&self, id: &InstanceId) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        if let Some(socket) = &slot.socket {
            self.link.store(&format!("socket:{id}"), socket);
        }
        if let Some(notify) = &slot.notify {
            self.link.store(&format!("notify:{id}"), &notify.socket);
        }
        if let Some(output) = &slot.output
            && let Ok(fd) = output.reader().try_clone()
        {
            self.link.store(&format!("fifo:{id}"), &OwnedFd::from(fd));
        }
    }
}

/// Fills in what an instance has of its own.
fn fill(text: &str, slot: &Slot, data: &Path) -> String {
    text.replace("{port}", &slot.port.to_string())
        .replace("{data}", &data.to_string_lossy())
        .replace("{instance}", slot.id.as_str())
}

/// Starts a child as it was prepared. When it cannot start like that and nobody asked for any of
/// it, it starts without: what nobody asked for keeps no instance from running.
fn started<T>(
    mut confined: Prepared,
    mut start: impl FnMut(&mut Prepared) -> Result<T, SpawnError>,
) -> Result<(T, Prepared), SpawnError> {
    let mut child = start(&mut confined);
    if let Err(error @ SpawnError::Confine { .. }) = &child
        && !confined.asked
    {
        let without = confine::bare(error);
        release(std::mem::replace(&mut confined, without));
        child = start(&mut confined);
    }
    match child {
        Ok(child) => Ok((child, confined)),
        Err(error) => {
            release(confined);
            Err(error)
        }
    }
}

/// Removes the group of a process that was not started.
fn release(confined: Prepared) {
    if let Some(group) = confined.group
        && let Err(error) = group.remove()
    {
        tracing::warn!(%error, "its group stays");
    }
}

/// Keeps the port it had if that is free; else finds one.
fn choose_port(slot: &mut Slot, used: &[u16], host: &str) -> Result<(), Reason> {
    if slot.service.socket == Socket::None {
        slot.port = 0;
        return Ok(());
    }
    if slot.socket.is_some() {
        return Ok(());
    }
    let range = port::instance_range();
    let own = slot.port;
    let preferred = if own == 0 {
        // Hosts on one machine begin in different places, or they meet at every start.
        let text = format!("{host}{}", slot.id);
        let hash = text.bytes().fold(7_u32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        let length = u32::try_from(range.len()).unwrap_or(1).max(1);
        range
            .start()
            .saturating_add(u16::try_from(hash % length).unwrap_or(0))
    } else {
        own
    };
    let taken = |port: u16| port != own && used.contains(&port);
    let port = port::free_port(Some(preferred), range, taken).map_err(|e| e.to_string())?;
    slot.port = port;
    if slot.service.socket == Socket::Inherit {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        slot.socket = Some(
            listen::bind_exclusive(addr)
                .map_err(|e| e.to_string())?
                .into(),
        );
    }
    Ok(())
}

/// None: as we are.
pub(crate) fn whom(service: &Service) -> Result<Option<User>, Reason> {
    let name = match &service.user {
        Some(name) => name.as_str(),
        None if user::is_root() => UNPRIVILEGED,
        None => return Ok(None),
    };
    let found = user::lookup(name).map_err(|error| error.to_string())?;
    let Some(found) = found else {
        return Err(format!(
            "user {name:?} does not exist; set `user` of service {}",
            service.name
        ));
    };
    if found.uid == user::effective_uid() {
        return Ok(None);
    }
    if !user::is_root() {
        return Err(format!(
            "only root can run service {} as {name}",
            service.name
        ));
    }
    Ok(Some(found))
}

pub(crate) fn make_data(data: &Path, user: Option<&User>) -> Result<(), Reason> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data);
    made.map_err(|error| failed(data, error))?;
    let Some(user) = user else { return Ok(()) };
    user::give(data, user).map_err(|error| error.to_string())?;
    // Another user must get through to its own directory; what lies beside it is closed by
    // its own mode (all files of Grace are made under a mask of 077).
    for above in data.ancestors().skip(1).take(2) {
        let mode = fs::metadata(above)
            .map_err(|error| failed(above, error))?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(above, fs::Permissions::from_mode((mode & 0o777) | 0o011))
                .map_err(|error| failed(above, error))?;
        }
    }
    let shut = data
        .ancestors()
        .skip(3)
        .find(|above| fs::metadata(above).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0));
    match shut {
        Some(above) => Err(format!(
            "user {} cannot reach {}, because {} is closed to others; use another state \
             directory, or set `user` of the service",
            user.name,
            data.display(),
            above.display()
        )),
        None => Ok(()),
    }
}

/// Copies declared configuration to where the instance expects it, once.
fn seed(service: &Service, data: &Path, user: Option<&User>) -> Result<(), Reason> {
    for file in &service.config {
        let Some(from) = &file.seed else { continue };
        let to = PathBuf::from(file.path.replace("{data}", &data.to_string_lossy()));
        if to.exists() {
            continue;
        }
        let failed = |error: std::io::Error| {
            format!(
                "{} could not be made from {}: {error}",
                to.display(),
                from.display()
            )
        };
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).map_err(failed)?;
        }
        let beside = to.with_extension("grace-new");
        fs::copy(from, &beside).map_err(failed)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).map_err(failed)?;
        if let Some(user) = user {
            user::give(&beside, user).map_err(|error| error.to_string())?;
        }
        fs::rename(&beside, &to).map_err(failed)?;
    }
    Ok(())
}

pub(crate) fn open_output(
    slot: &mut Slot,
    layout: &grace_model::layout::Layout,
    user: Option<&User>,
) -> Result<(), Reason> {
    let path = layout.fifo(&slot.id);
    if slot.output.is_none() {
        let ring = usize::try_from(slot.service.output_ring_bytes).unwrap_or(usize::MAX);
        let output = Output::open(&path, &layout.log(&slot.id), ring);
        let output = output.map_err(|e| e.to_string())?;
        slot.output = Some(output);
    }
    if let Some(user) = user {
        // So that it can open /dev/stdout anew.
        user::give(&path, user).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn open_notify(
    slot: &mut Slot,
    layout: &grace_model::layout::Layout,
    host: &str,
    foreign: bool,
    messages: &tokio::sync::mpsc::Sender<Message>,
) -> Result<(), Reason> {
    if slot.notify.is_some() {
        return Ok(());
    }
    let path = layout.notify_socket(&slot.id);
    // Another user cannot get to a path of ours, and a long path is no address at all.
    let socket = if foreign || path.as_os_str().len() > 100 {
        NotifySocket::bind_abstract(&abstract_name(host, &slot.id))
    } else {
        NotifySocket::bind(&path)
    };
    let socket = socket.map_err(|error| error.to_string())?;
    take_notify(slot, socket, messages)
}

pub(crate) fn abstract_name(host: &str, id: &InstanceId) -> String {
    format!("grace/{host}/{id}")
}

/// Listens to a notify socket that was made or kept.
pub(crate) fn take_notify(
    slot: &mut Slot,
    socket: NotifySocket,
    messages: &tokio::sync::mpsc::Sender<Message>,
) -> Result<(), Reason> {
    let address = socket.address().to_owned();
    let kept = socket
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    let task = watch::notifications(socket, slot.id.clone(), messages)
        .map_err(|error| error.to_string())?;
    slot.notify = Some(Notify {
        address,
        socket: kept,
        task,
    });
    Ok(())
}

/// The environment: a few of ours, and what the service says.
fn variables(service: &Service, user: Option<&User>) -> Vec<(String, String)> {
    let ours = |key: &str| std::env::var(key).ok();
    let mut all = vec![(
        "PATH".to_owned(),
        ours("PATH").unwrap_or(DEFAULT_PATH.to_owned()),
    )];
    for key in ["LANG", "TZ"] {
        all.extend(ours(key).map(|value| (key.to_owned(), value)));
    }
    match user {
        Some(user) => {
            all.push(("HOME".to_owned(), user.home.display().to_string()));
            all.push(("USER".to_owned(), user.name.clone()));
        }
        None => {
            for key in ["HOME", "USER"] {
                all.extend(ours(key).map(|value| (key.to_owned(), value)));
            }
        }
    }
    all.extend(
        service
            .env
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    all
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use grace_os::confine::Confinement;

    use super::*;

    /// What no machine gives: mounts over a path that is not there.
    fn refused(asked: bool) -> Prepared {
        Prepared {
            confinement: Confinement {
                own_users: !user::is_root(),
                read_only: vec![PathBuf::from("/no/such/path")],
                ..Confinement::default()
            },
            no_new_privileges: true,
            asked,
            ..Prepared::default()
        }
    }

    fn sleeper(confined: &mut Prepared) -> Result<Child, SpawnError> {
        Spawn::new("sleep")
            .args(["600"])
            .no_new_privileges(confined.no_new_privileges)
            .confine(std::mem::take(&mut confined.confinement))
            .start()
    }

    #[test]
    fn what_cannot_start_with_what_nobody_asked_for_starts_without_and_says_so() {
        let (child, confined) = started(refused(false), sleeper).unwrap();
        pidfd::send_signal(&child.handle, Signal::Kill).unwrap();
        let line = confined.report.missing_line().unwrap();
        assert!(
            line.contains("any other isolation") && line.contains("making its"),
            "{line}"
        );
        assert_eq!(confined.report.applied, ["no new privileges"]);
        assert!(confined.no_new_privileges);
        // An ask is strict.
        let error = started(refused(true), sleeper).unwrap_err();
        assert!(matches!(error, SpawnError::Confine { .. }), "{error}");
        // What fails for another reason is not tried without.
        let mut tries = 0;
        let missing = started(refused(false), |confined| {
            tries += 1;
            confined.confinement = Confinement::default();
            Spawn::new("/no/such/program").start()
        });
        assert!(missing.is_err());
        assert_eq!(tries, 1);
    }
}
