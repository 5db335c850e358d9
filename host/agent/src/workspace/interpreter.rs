//! Interpreters behind a script: version managers put a shell script before each program, which
//! costs more than a short test. Each is asked once where the real one is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::run::{Room, Settings, Status};

/// What asks an interpreter for its own file.
const ASK: [(&str, &str); 3] = [
    ("python3", "python3 -c 'import sys; print(sys.executable)'"),
    ("python", "python -c 'import sys; print(sys.executable)'"),
    ("node", "node -p process.execPath"),
];

/// Fills `bin` with links to the real interpreters that `PATH` hides behind scripts. Says
/// whether there are any.
pub fn shortcuts(bin: &Path, path: &OsStr, room: &Room, settings: &Settings<'_>) -> bool {
    let mut any = false;
    for (name, ask) in ASK {
        let Some(found) = first(path, name) else {
            continue;
        };
        if !is_script(&found) {
            continue;
        }
        let Ok(run) = room.run(&Settings {
            command: &OsString::from(ask),
            ..*settings
        }) else {
            continue;
        };
        let real = PathBuf::from(run.output.trim());
        if run.status == Status::Exited(0)
            && real.is_absolute()
            && real.is_file()
            && fs::create_dir_all(bin).is_ok()
        {
            any |= symlink(real, bin.join(name)).is_ok();
        }
    }
    any
}

fn first(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn is_script(file: &Path) -> bool {
    let mut head = [0; 2];
    fs::File::open(file)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok_and(|()| head == *b"#!")
}
