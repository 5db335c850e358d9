//! Finding a program, before anything is forked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::SpawnError;

/// The absolute path of a program. A name without a slash is looked for in `path`, which is
/// written like `$PATH`; a relative path starts at `dir`.
///
/// # Errors
/// [`SpawnError::NotFound`] or [`SpawnError::NotExecutable`].
pub fn find_program(
    program: &OsStr,
    path: &OsStr,
    dir: Option<&Path>,
) -> Result<PathBuf, SpawnError> {
    let here = || match dir {
        Some(dir) => dir.to_owned(),
        None => std::env::current_dir().unwrap_or_default(),
    };
    if program.as_bytes().contains(&b'/') {
        let file = here().join(program);
        return match unusable(&file) {
            None => Ok(file),
            Some(Unusable::Absent) => Err(SpawnError::NotFound {
                program: program.to_owned(),
                looked: format!("as {}", file.display()),
            }),
            Some(Unusable::Because(reason)) => {
                Err(SpawnError::NotExecutable { path: file, reason })
            }
        };
    }
    let mut refused = None;
    for folder in std::env::split_paths(path).filter(|_| !program.is_empty()) {
        let file = here().join(folder).join(program);
        match unusable(&file) {
            None => return Ok(file),
            Some(Unusable::Absent) => {}
            Some(Unusable::Because(reason)) => {
                refused.get_or_insert(SpawnError::NotExecutable { path: file, reason });
            }
        }
    }
    Err(refused.unwrap_or_else(|| SpawnError::NotFound {
        program: program.to_owned(),
        looked: format!("in PATH {}", path.display()),
    }))
}

enum Unusable {
    Absent,
    Because(String),
}

fn unusable(file: &Path) -> Option<Unusable> {
    match std::fs::metadata(file) {
        Ok(meta) if meta.is_dir() => Some(Unusable::Because("it is a directory".to_owned())),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some(Unusable::Because(format!(
            "it is not marked executable; run: chmod +x {}",
            file.display()
        ))),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(
            Unusable::Because(format!("it cannot be looked at: {error}")),
        ),
        Err(_) => Some(Unusable::Absent),
    }
}
