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
    let whole = program.canonicalize().ok()?;
    for folder in whole.ancestors().skip(1) {
        let meta = folder.metadata().ok()?;
        if !may_execute(&meta, user) {
            return Some(format!(
                "user {:?} may not pass through {} to run it; move it to a place all may read, \
                 or set `user`",
                user.name,
                folder.display()
            ));
        }
    }
    let meta = whole.metadata().ok()?;
    (!may_execute(&meta, user)).then(|| {
        let file = whole.display();
        format!(
            "user {:?} may not execute {file}; run: chmod o+rx {file}, or set `user`",
            user.name
        )
    })
}

fn may_execute(meta: &std::fs::Metadata, user: &User) -> bool {
    let bit = if user.uid == 0 {
        0o111
    } else if meta.uid() == user.uid {
        0o100
    } else if meta.gid() == user.gid || user.groups.contains(&meta.gid()) {
        0o010
    } else {
        0o001
    };
    meta.mode() & bit != 0
}
