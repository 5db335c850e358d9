//! What this machine gives: each primitive tried, with the reason when it is missing and what to
//! do about it. Each is tried once, when somebody first needs to know.

use std::fmt::Display;
use std::sync::OnceLock;

use grace_model::isolation::Missing;
use grace_os::cgroup::Controller;
use grace_os::confine::{Capabilities, Confinement, OwnTmp, landlock, seccomp};
use grace_os::spawn::{Spawn, SpawnError};
use grace_os::user;
use serde::Serialize;

use crate::home::Home;

/// What a trial gave: some words about it, or what is missing.
pub(crate) type Given = Result<String, Missing>;

/// This machine, for this process and its children.
#[derive(Debug, Default)]
pub struct Machine {
    landlock: OnceLock<Given>,
    signals: OnceLock<Given>,
    filters: OnceLock<Given>,
    users: OnceLock<Given>,
    mounts: OnceLock<Given>,
    network: OnceLock<Given>,
    processes: OnceLock<Given>,
}

/// One primitive as `grace doctor` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Primitive {
    /// What it is called.
    pub name: String,
    /// Whether it can be used here.
    pub given: bool,
    /// What was found, or why it cannot be used.
    pub found: String,
    /// What it is for; or, when it is missing, how to get it.
    pub means: String,
}

impl Machine {
    /// Nothing tried yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries everything. Control groups are tried at `home`, where they would be made.
    #[must_use]
    pub fn primitives(&self, home: &Home) -> Vec<Primitive> {
        let groups = Controller::ALL.map(|controller| {
            let (name, means) = match controller {
                Controller::Memory => (
                    "cgroup memory",
                    "`limits.memory`, and out-of-memory kills told per instance",
                ),
                Controller::Cpu => ("cgroup cpu", "`limits.cpu`"),
                Controller::CpuUsed => ("cgroup accounting", "processor time of a whole instance"),
                Controller::Pids => ("cgroup pids", "`limits.pids`: a fork bomb stays small"),
            };
            primitive(name, means, &home.given(controller))
        });
        let rest = [
            primitive("user namespace", "the next two without root", self.users()),
            primitive(
                "mount namespace",
                "`isolation.private_tmp` and `isolation.read_only`",
                self.mounts(),
            ),
            primitive(
                "network namespace",
                "`isolation.network = \"none\"`",
                self.network(),
            ),
            primitive(
                "process namespace",
                "copies of instances, in which capsules are replayed",
                self.processes(),
            ),
            primitive("landlock", "`isolation.writable`", self.landlock()),
            primitive(
                "landlock signals",
                "an instance cannot signal or trace its neighbours",
                self.signals(),
            ),
            primitive("seccomp", "`isolation.syscalls`", self.filters()),
            primitive("capabilities", "`isolation.drop_capabilities`", &Ok(held())),
        ];
        groups.into_iter().chain(rest).collect()
    }

    /// Rules on files.
    pub(crate) fn landlock(&self) -> &Given {
        self.landlock
            .get_or_init(|| landlock_from(landlock::WRITES_FROM))
    }

    /// Rules on signals.
    pub(crate) fn signals(&self) -> &Given {
        self.signals
            .get_or_init(|| landlock_from(landlock::SIGNALS_FROM))
    }

    /// Filters of system calls.
    pub(crate) fn filters(&self) -> &Given {
        self.filters.get_or_init(|| {
            let tried = seccomp::available().map_err(|error| error.to_string());
            let tried = tried.and_then(|()| {
                trial(Confinement {
                    filter: Some(seccomp::Filter::kernel()),
                    ..Confinement::default()
                })
            });
            match tried {
                Ok(()) => Ok("works".to_owned()),
                Err(why) => Err(missing(
                    "seccomp filters",
                    why,
                    "use a kernel with CONFIG_SECCOMP_FILTER, or a container that allows seccomp()",
                )),
            }
        })
    }

    /// User namespaces; root needs none.
    pub(crate) fn users(&self) -> &Given {
        self.users.get_or_init(|| {
            let tried = trial(Confinement {
                own_users: true,
                ..Confinement::default()
            });
            match tried {
                Ok(()) => Ok("works".to_owned()),
                Err(why) => Err(missing("user namespaces", why, USERS_REMEDY)),
            }
        })
    }

    /// Mounts of one's own.
    pub(crate) fn mounts(&self) -> &Given {
        self.mounts.get_or_init(|| {
            let tried = trial(Confinement {
                own_users: !user::is_root(),
                own_tmp: Some(OwnTmp {
                    bytes: 1 << 20,
                    keep: Vec::new(),
                }),
                read_only: vec!["/".into()],
                ..Confinement::default()
            });
            namespace("mount namespaces", tried)
        })
    }

    /// Processes of one's own.
    pub(crate) fn processes(&self) -> &Given {
        self.processes.get_or_init(|| {
            let tried = trial(Confinement {
                own_users: !user::is_root(),
                own_processes: true,
                ..Confinement::default()
            });
            namespace("namespaces of processes", tried)
        })
    }

    /// A network of one's own.
    pub(crate) fn network(&self) -> &Given {
        self.network.get_or_init(|| {
            let tried = trial(Confinement {
                own_users: !user::is_root(),
                own_network: true,
                ..Confinement::default()
            });
            namespace("network namespaces", tried)
        })
    }
}

const USERS_REMEDY: &str = "run `grace` as root; or allow them: sysctl user.max_user_namespaces=15000, \
     and where these exist, kernel.unprivileged_userns_clone=1 and \
     kernel.apparmor_restrict_unprivileged_userns=0";

fn namespace(what: &str, tried: Result<(), String>) -> Given {
    let how = if user::is_root() {
        "works"
    } else {
        "works, in a user namespace"
    };
    let remedy = if user::is_root() {
        "give this root its powers back: in a container, run it with CAP_SYS_ADMIN; check \
         user.max_mnt_namespaces and user.max_net_namespaces"
    } else {
        USERS_REMEDY
    };
    match tried {
        Ok(()) => Ok(how.to_owned()),
        Err(why) => Err(missing(what, why, remedy)),
    }
}

fn landlock_from(needed: u32) -> Given {
    let (what, from) = if needed >= landlock::SIGNALS_FROM {
        ("protection of neighbours from its signals", "6.12")
    } else {
        ("Landlock", "6.2")
    };
    let rules = landlock::Rules {
        keep_signals: needed >= landlock::SIGNALS_FROM,
        writable: (needed < landlock::SIGNALS_FROM).then_some(&[]),
        files: &[],
    };
    let tried = landlock::abi()
        .map_err(|error| error.to_string())
        .and_then(|abi| {
            if abi < needed {
                return Err(format!("Landlock's ABI is {abi}, and {needed} is needed"));
            }
            let landlock = grace_os::confine::Landlock::new(&rules).map_err(|e| e.to_string())?;
            trial(Confinement {
                landlock: Some(landlock),
                ..Confinement::default()
            })?;
            Ok(abi)
        });
    match tried {
        Ok(abi) => Ok(format!("ABI {abi}")),
        Err(why) => Err(missing(
            what,
            why,
            format!("use Linux {from} or later, with landlock in the boot parameter lsm="),
        )),
    }
}

/// Whether a child can be confined like this.
fn trial(by: Confinement) -> Result<(), String> {
    let tried = Spawn::new("a trial").confine(by).try_out();
    tried.map_err(|error| match &error {
        SpawnError::Confine { step, source, .. } => format!("{}: {source}", step.text()),
        _ => error.to_string(),
    })
}

fn held() -> String {
    let held = Capabilities::held_by(std::process::id());
    if held.is_empty() {
        "this process has none, so none can be kept".to_owned()
    } else if Capabilities::all().and(held) == Capabilities::all() {
        "this process has all".to_owned()
    } else {
        format!("this process has: {held}")
    }
}

pub(crate) fn missing(what: impl Display, why: impl Display, remedy: impl Display) -> Missing {
    Missing {
        what: what.to_string(),
        why: why.to_string(),
        remedy: remedy.to_string(),
    }
}

fn primitive(name: &str, means: &str, given: &Given) -> Primitive {
    let name = name.to_owned();
    match given {
        Ok(found) => Primitive {
            name,
            given: true,
            found: found.clone(),
            means: format!("for {means}"),
        },
        Err(missing) => Primitive {
            name,
            given: false,
            found: missing.why.clone(),
            means: format!("no {means}; to get it: {}", missing.remedy),
        },
    }
}
