//! Users: who we are, and whom a child may become.

use nix::unistd::{Gid, Uid};

use crate::error::{OsError, Result};

/// A user to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: std::path::PathBuf,
}

/// Finds a user by name; none when there is none.
///
/// # Errors
/// [`OsError`] when the user database cannot be read.
pub fn lookup(name: &str) -> Result<Option<User>> {
    let entry = nix::unistd::User::from_name(name)
        .map_err(|source| OsError::new("getpwnam", name, source))?;
    let Some(entry) = entry else { return Ok(None) };
    let c_name = std::ffi::CString::new(name)
        .map_err(|source| OsError::new("getgrouplist", name, source))?;
    let groups = nix::unistd::getgrouplist(&c_name, entry.gid)
        .map_err(|source| OsError::new("getgrouplist", name, source))?;
    Ok(Some(User {
        name: name.to_owned(),
        uid: entry.uid.as_raw(),
        gid: entry.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        home: entry.dir,
    }))
}

/// The name of a user, or its number as text.
#[must_use]
pub fn name_of(uid: u32) -> String {
    match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(entry)) => entry.name,
        _ => uid.to_string(),
    }
}

/// The user this process acts as.
#[must_use]
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// The group this process acts as.
#[must_use]
pub fn effective_gid() -> u32 {
    Gid::effective().as_raw()
}

/// Whether it acts as root.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Gives a file or directory to a user.
///
/// # Errors
/// [`OsError`].
pub fn give(path: &std::path::Path, user: &User) -> Result<()> {
    nix::unistd::chown(
        path,
        Some(Uid::from_raw(user.uid)),
        Some(Gid::from_raw(user.gid)),
    )
    .map_err(|source| OsError::new("chown", path.display(), source))
}
