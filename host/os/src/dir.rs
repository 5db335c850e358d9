//! Private directories: ours, and nobody else's to look into.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::OsError;
use crate::user;

/// Why a directory is not usable as ours.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It belongs to another user.
    #[error("{} is owned by {owner} and this is {us}: run as {owner}, or name another state \
             directory", .path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        us: String,
    },
    /// Something else has its name.
    #[error("{} is no directory: move it away, or name another state directory", .path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Something else.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// Makes a directory, and those above it, and sees that it is ours and 0700.
///
/// # Errors
/// [`DirError`].
pub fn private(path: &Path) -> Result<(), DirError> {
    let failed = |call, source| OsError::new(call, path.display(), source);
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(DirError::NoDirectory {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(failed("mkdir", error).into()),
    }
    let meta = fs::metadata(path).map_err(|source| failed("stat", source))?;
    let us = user::effective_uid();
    if meta.uid() != us {
        return Err(DirError::NotOurs {
            path: path.to_owned(),
            owner: user::name_of(meta.uid()),
            us: user::name_of(us),
        });
    }
    if meta.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|source| failed("chmod", source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_private_and_one_of_another_user_is_refused_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        private(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        private(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        // A directory that is not ours exists for every user: root's for others, and for
        // root one that it gives away.
        let foreign = if user::is_root() {
            nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(65_534)), None).unwrap();
            path
        } else {
            PathBuf::from("/")
        };
        let error = private(&foreign).unwrap_err();
        assert!(matches!(error, DirError::NotOurs { .. }), "{error}");
        assert!(error.to_string().contains("state directory"), "{error}");
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "").unwrap();
        assert!(matches!(private(&path), Err(DirError::NoDirectory { .. })));
    }
}
