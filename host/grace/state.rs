//! The state directory before anything runs in it: ours, private, writable, of a version we know.

use std::fs;
use std::path::Path;

use grace_model::layout::{Layout, STATE_VERSION};
use grace_os::{dir, file};
use grace_supervisor::migrate;

use crate::problem::{OrProblem, Problem};

/// Makes the directory, or sees that the one there is usable. One of an earlier layout stays of
/// that layout: somebody may run in it, see [`migrate()`].
pub fn prepare(layout: &Layout) -> Result<(), Problem> {
    let root = layout.root();
    let mut version = STATE_VERSION;
    match fs::read_to_string(layout.version()) {
        Ok(text) => version = known(layout, text.trim())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => refuse_foreign(root)?,
        // The directory is looked at first: an owner explains more than a file's mode.
        Err(error) => {
            dir::private(root)?;
            return Err(error).or_problem(layout.version().display(), "remove the file");
        }
    }
    if !usable(root) {
        dir::private(root)?;
    }
    dir::private(&layout.run())?;
    dir::private(&layout.logs())?;
    // Written each time: a directory that cannot be written, or a full disk, is told here and
    // not by the first thing that is lost.
    write_version(layout, version)
}

fn write_version(layout: &Layout, version: u32) -> Result<(), Problem> {
    let text = format!("{version}\n");
    file::write_atomic(&layout.version(), text.as_bytes(), 0o600)?;
    Ok(())
}

/// Brings a directory of an earlier layout to this one, while nobody runs in it. Its version is
/// written last: whatever was cut off before that is done again.
pub fn migrate(layout: &Layout) -> Result<(), Problem> {
    let text = fs::read_to_string(layout.version()).or_problem(layout.version().display(), "")?;
    let was = known(layout, text.trim())?;
    if was == STATE_VERSION {
        // Cut off right after its end, perhaps.
        migrate::forget_1(layout);
        return Ok(());
    }
    if was < 2 {
        migrate::from_1(layout).or_problem(
            format!("migrating {} from layout {was}", layout.root().display()),
            "see the file that is named; without run/fleet.json the host begins anew",
        )?;
    }
    write_version(layout, STATE_VERSION)?;
    migrate::forget_1(layout);
    crate::show::note(&format!(
        "{} was of layout {was} and is of layout {STATE_VERSION} now",
        layout.root().display()
    ));
    Ok(())
}

/// Whether it is ours and closed as it must be. As root the supervisor lets others pass through
/// it to the data of their own instances; a running service would lose its files if that were
/// taken back.
fn usable(root: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    fs::metadata(root).is_ok_and(|meta| {
        let mode = meta.permissions().mode() & 0o777;
        let us = grace_os::user::effective_uid();
        meta.uid() == us && (mode == 0o700 || (us == 0 && mode == 0o711))
    })
}

/// The layout's version. A later Grace may have written what this one would misread.
pub fn known(layout: &Layout, text: &str) -> Result<u32, Problem> {
    let root = layout.root().display();
    let Some(version) = text.parse::<u32>().ok().filter(|version| *version > 0) else {
        return Err(Problem::new(
            format!("{}: {text:?} is no version", layout.version().display()),
            "if the directory is Grace's, remove that file; else name another state directory",
        ));
    };
    if version > STATE_VERSION {
        return Err(Problem::new(
            format!(
                "{root} was written by a later Grace (layout {version}; this one knows {STATE_VERSION})"
            ),
            "use that Grace, or name another state directory",
        ));
    }
    Ok(version)
}

/// A directory with other things in it is not taken over: it would be made private.
fn refuse_foreign(root: &Path) -> Result<(), Problem> {
    let Ok(mut entries) = fs::read_dir(root) else {
        return Ok(());
    };
    if entries.next().is_none() {
        return Ok(());
    }
    // Whose it is comes first; `private` only looks when the mode is right already.
    let meta = fs::metadata(root).or_problem(root.display(), "")?;
    let us = grace_os::user::effective_uid();
    let owner = std::os::unix::fs::MetadataExt::uid(&meta);
    if owner != us {
        dir::private(root)?;
    }
    Err(Problem::new(
        format!(
            "{} is not empty and no state directory of Grace",
            root.display()
        ),
        "name a new or empty directory with `state` or `--state`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_directory_is_private_and_has_a_version() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("a/state"));
        prepare(&layout).unwrap();
        prepare(&layout).unwrap();
        let mode = fs::metadata(layout.root()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        assert_eq!(fs::read_to_string(layout.version()).unwrap().trim(), "2");
    }

    #[test]
    fn a_later_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::write(layout.version(), "99\n").unwrap();
        let problem = prepare(&layout).unwrap_err();
        assert!(problem.what().contains("later Grace"), "{problem}");
        assert_eq!(fs::read_to_string(layout.version()).unwrap(), "99\n");
        fs::write(layout.version(), "x").unwrap();
        assert!(prepare(&layout).unwrap_err().what().contains("no version"));
    }

    #[test]
    fn an_earlier_version_stays_until_nobody_runs_and_is_migrated_then() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::write(layout.version(), "1\n").unwrap();
        let version = || fs::read_to_string(layout.version()).unwrap();
        prepare(&layout).unwrap();
        assert_eq!(version(), "1\n");
        // What cannot be migrated keeps its version.
        fs::write(layout.run().join("fleet.json"), "{").unwrap();
        let problem = migrate(&layout).unwrap_err();
        assert!(problem.what().contains("from layout 1"), "{problem}");
        assert_eq!(version(), "1\n");
        fs::remove_file(layout.run().join("fleet.json")).unwrap();
        migrate::forget_1(&layout);
        migrate(&layout).unwrap();
        assert_eq!(version(), "2\n");
    }

    #[test]
    fn a_directory_with_other_things_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("letter.txt"), "").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let problem = prepare(&Layout::new(dir.path())).unwrap_err();
        assert!(
            problem.what().contains("no state directory of Grace"),
            "{problem}"
        );
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755);
    }

    #[test]
    fn a_directory_owned_by_another_is_refused_with_the_owners_name() {
        // Root's own directory is another's for everybody else; root needs one that it gave away.
        let dir = tempfile::tempdir().unwrap();
        let foreign = if grace_os::user::is_root() {
            let Ok(Some(nobody)) = grace_os::user::lookup("nobody") else {
                grace_needs::not_run(
                    "a_directory_owned_by_another_is_refused_with_the_owners_name",
                    "there is no user nobody; get it by: useradd --system nobody",
                );
                return;
            };
            grace_os::user::give(dir.path(), &nobody).unwrap();
            dir.path()
        } else {
            Path::new("/")
        };
        let problem = prepare(&Layout::new(foreign)).unwrap_err();
        assert!(problem.what().contains("is owned by"), "{problem}");
    }
}
