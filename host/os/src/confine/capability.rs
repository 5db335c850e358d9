//! Capabilities: which there are, which we hold, and giving them up.

#![allow(
    unsafe_code,
    reason = "capset has no safe form in the crates that we name"
)]

use std::fmt;
use std::str::FromStr;

/// Names in the order of their numbers, from `linux/capability.h`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Every one that has a name here.
    #[must_use]
    pub fn all() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of this that are in the other too.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What a process holds and can use.
    #[must_use]
    pub fn held_by(pid: u32) -> Self {
        Self::of_status(pid, "CapEff:")
    }

    /// What a process or its descendants could ever hold.
    #[must_use]
    pub fn bounding_of(pid: u32) -> Self {
        Self::of_status(pid, "CapBnd:")
    }

    fn of_status(pid: u32, key: &str) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let bits = text
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix(key)?.trim(), 16).ok());
        Self(bits.unwrap_or(0))
    }

    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl FromStr for Capabilities {
    type Err = String;

    /// `all`, or one name such as `net_raw` or `CAP_NET_RAW`.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        if name == "all" {
            return Ok(Self::all());
        }
        let name = name.strip_prefix("cap_").unwrap_or(&name);
        match NAMES.iter().position(|known| *known == name) {
            Some(number) => Ok(Self(1 << number)),
            None => Err(format!(
                "there is no capability {text:?}; write \"all\", or a name of capabilities(7) such \
                 as \"net_raw\""
            )),
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("all");
        }
        let mut first = true;
        for number in self.numbers() {
            if !first {
                f.write_str(" ")?;
            }
            first = false;
            match NAMES.get(number as usize) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{number}")?,
            }
        }
        Ok(())
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, of which version 3 has two.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Takes them from what exec may give. What this kernel does not know is not there anyway.
///
/// # Safety
/// Only in a child right after fork.
pub(super) unsafe fn drop_bounding(drop: Capabilities) -> bool {
    drop.numbers().all(|number| {
        // SAFETY: numbers only.
        unsafe {
            libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) != 1
                || libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) == 0
        }
    })
}

/// Gives up those that are held.
///
/// # Safety
/// Only in a child right after fork.
pub(super) unsafe fn drop_held(drop: Capabilities) -> bool {
    if drop.is_empty() {
        return true;
    }
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads and writes exactly one header and two data structures. Ambient
    // capabilities go with the permitted ones.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) < 0 {
            return false;
        }
        for (one, shift) in data.iter_mut().zip([0, 32]) {
            let keep = !((drop.0 >> shift) as u32);
            one.effective &= keep;
            one.permitted &= keep;
            one.inheritable &= keep;
        }
        libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_and_shown_by_name() {
        let two: Capabilities = "CAP_NET_RAW".parse().unwrap();
        let two = two.with("kill".parse().unwrap());
        assert_eq!(two.to_string(), "kill net_raw");
        assert_eq!("ALL".parse::<Capabilities>().unwrap().to_string(), "all");
        assert!(
            "net_war"
                .parse::<Capabilities>()
                .unwrap_err()
                .contains("net_raw")
        );
        assert!(Capabilities::default().is_empty());
    }
}
