//! Whom root's service runs as when it names no user: `nobody`, unless `nobody` cannot reach what
//! the service is made of. It must not know of running hosts.

use std::path::Path;

use grace_model::config::Service;
use grace_os::user::{self, User};

use super::program;

/// Whom root's services run as when they name nobody.
pub const UNPRIVILEGED: &str = "nobody";

/// Settles the user of a service of root that names none. What an unprivileged user cannot reach
/// would never start, so such a service runs as root and `root_because` says why, in one line.
pub fn settle(service: &mut Service, state_dir: &Path) {
    if service.user.is_some() {
        return;
    }
    let Ok(Some(nobody)) = user::lookup(UNPRIVILEGED) else {
        return;
    };
    if let Some(what) = out_of_reach(service, state_dir, &nobody) {
        service.user = Some("root".to_owned());
        service.root_because = Some(what);
    }
}

fn out_of_reach(service: &Service, state_dir: &Path, user: &User) -> Option<String> {
    let shut = |path: &Path| {
        program::closed_folder(path, user).map(|folder| {
            format!(
                "user {} may not pass through {}",
                user.name,
                folder.display()
            )
        })
    };
    let unread = |file: &Path| {
        shut(file).or_else(|| {
            (file.is_file() && !program::may_read(file, user))
                .then(|| format!("user {} may not read {}", user.name, file.display()))
        })
    };
    shut(state_dir)
        .or_else(|| shut(&service.work_dir.join("-")))
        .or_else(|| {
            let program = Path::new(service.command.first()?);
            program
                .is_absolute()
                .then_some(program)
                .and_then(|program| {
                    program::barrier(program, user).map(|_| {
                        shut(program).unwrap_or_else(|| {
                            format!("user {} may not execute {}", user.name, program.display())
                        })
                    })
                })
        })
        .or_else(|| {
            service.command.iter().skip(1).find_map(|argument| {
                let file = service.work_dir.join(argument);
                file.exists().then(|| unread(&file)).flatten()
            })
        })
        .or_else(|| {
            service
                .config
                .iter()
                .filter(|file| !file.path.contains('{'))
                .find_map(|file| unread(Path::new(&file.path)))
        })
}
