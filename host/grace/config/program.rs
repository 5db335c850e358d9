//! Whether a service's program can be started at all, told before anything is started.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use grace_os::spawn::{SpawnError, find_program};
use grace_os::user::User;

/// The program's absolute path, or why it cannot run and what helps.
pub fn find(program: &str, path: &OsStr, dir: &Path) -> Result<PathBuf, String> {
    find_program(OsStr::new(program), path, Some(dir))
        .map(|found| tidy(&found))
        .map_err(|error| match error {
            SpawnError::NotFound { .. } if program.contains('/') => {
                format!(
                    "there is no program {}; relative paths start at {}",
                    dir.join(program).display(),
                    dir.display()
                )
            }
            SpawnError::NotFound { .. } => {
                let here = dir.join(program);
                let hint = if here.is_file() {
                    format!("; for the one in {} write \"./{program}\"", dir.display())
                } else {
                    String::new()
                };
                format!(
                    "there is no program {program:?} in PATH ({}){hint}",
                    path.to_string_lossy()
                )
            }
            other => other.to_string(),
        })
}

/// The same path without `.` in the middle, for messages and process lists.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// What keeps `user` from running `program`, if anything does. Root's own home is the usual
/// reason: root's services run as somebody else, who may not pass through it.
pub fn barrier(program: &Path, user: &User) -> Option<String> {
    if let Some(folder) = closed_folder(program, user) {
        return Some(format!(
            "user {:?} may not pass through {} to run it; move it to a place all may read, \
             or set `user`",
            user.name,
            folder.display()
        ));
    }
    let whole = program.canonicalize().ok()?;
    let meta = whole.metadata().ok()?;
    (!allows(&meta, user, 0o1)).then(|| {
        let file = whole.display();
        format!(
            "user {:?} may not execute {file}; run: chmod o+rx {file}, or set `user`",
            user.name
        )
    })
}

/// The first folder on the way to `path` that `user` may not pass through. A path that does not
/// exist is asked as far as it does.
pub fn closed_folder(path: &Path, user: &User) -> Option<PathBuf> {
    let there = path.ancestors().find_map(|above| {
        let whole = above.canonicalize().ok()?;
        Some(if above == path {
            whole
        } else {
            whole.join("-")
        })
    })?;
    there
        .ancestors()
        .skip(1)
        .find(|folder| {
            folder
                .metadata()
                .is_ok_and(|meta| !allows(&meta, user, 0o1))
        })
        .map(Path::to_path_buf)
}

/// Whether `user` may read an existing file; nothing is said about the way to it.
pub fn may_read(file: &Path, user: &User) -> bool {
    file.metadata().is_ok_and(|meta| allows(&meta, user, 0o4))
}

/// Whether the mode's bit for `user` is set: 1 to execute or pass through, 4 to read.
fn allows(meta: &std::fs::Metadata, user: &User, bit: u32) -> bool {
    let bit = if user.uid == 0 {
        if bit == 0o4 {
            return true;
        }
        0o111
    } else if meta.uid() == user.uid {
        bit << 6
    } else if meta.gid() == user.gid || user.groups.contains(&meta.gid()) {
        bit << 3
    } else {
        bit
    };
    meta.mode() & bit != 0
}
