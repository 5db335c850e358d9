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
            Some(Unusable::Closed(error)) => Err(SpawnError::NotExecutable {
                path: file,
                reason: format!("it cannot be looked at: {error}"),
            }),
            Some(Unusable::Because(reason)) => {
                Err(SpawnError::NotExecutable { path: file, reason })
            }
        };
    }
    let mut refused = None;
    let mut closed = Vec::new();
    for folder in std::env::split_paths(path).filter(|_| !program.is_empty()) {
        let file = here().join(folder).join(program);
        match unusable(&file) {
            None => return Ok(file),
            Some(Unusable::Absent) => {}
            // What is inside is not for this user, so the search goes on, as a shell's does.
            Some(Unusable::Closed(error)) => {
                let folder = file.parent().unwrap_or(&file).display().to_string();
                closed.push(format!("{folder} ({error})"));
            }
            Some(Unusable::Because(reason)) => {
                refused.get_or_insert(SpawnError::NotExecutable { path: file, reason });
            }
        }
    }
    Err(refused.unwrap_or_else(|| SpawnError::NotFound {
        program: program.to_owned(),
        looked: if closed.is_empty() {
            format!("in PATH {}", path.display())
        } else {
            format!(
                "in PATH {}, of which this user cannot enter {}",
                path.display(),
                closed.join(", ")
            )
        },
    }))
}

enum Unusable {
    Absent,
    /// A directory on the way to it cannot be entered.
    Closed(std::io::Error),
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
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Some(Unusable::Closed(error))
        }
        Err(_) => Some(Unusable::Absent),
    }
}

#[cfg(test)]
#[allow(
    unsafe_code,
    reason = "one thread of this test becomes an ordinary user for files"
)]
mod tests {
    use std::fs;

    use super::*;

    /// Runs as an ordinary user as far as files go, also when root runs the tests.
    fn as_user<T: Send>(look: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                // SAFETY: it takes a number and changes this thread alone, which ends below.
                unsafe { libc::setfsuid(65_534) };
                look()
            });
            looking.join().unwrap()
        })
    }

    #[test]
    fn a_directory_of_path_that_cannot_be_entered_hides_no_program_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
        for folder in [&closed, &open] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("tool"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let both = std::env::join_paths([&closed, &open]).unwrap();
        let (found, lost, direct) = as_user(|| {
            (
                find_program(OsStr::new("tool"), &both, None),
                find_program(OsStr::new("tool"), closed.as_os_str(), None),
                find_program(closed.join("tool").as_os_str(), &both, None),
            )
        });
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(found.unwrap(), open.join("tool"));
        let lost = lost.unwrap_err();
        assert!(matches!(lost, SpawnError::NotFound { .. }), "{lost}");
        let text = lost.to_string();
        assert!(
            text.contains("cannot enter") && text.contains("closed"),
            "{text}"
        );
        let direct = direct.unwrap_err().to_string();
        assert!(direct.contains("cannot be looked at"), "{direct}");
    }
}
