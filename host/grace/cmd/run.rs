//! `grace run`: a host for one program, without a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use clap::Args;

use super::up::{Less, say_what_is_missing};
use crate::config::{self, Surroundings};
use crate::front::Front;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};

/// How the names of temporary state directories begin.
const TEMPORARY: &str = "grace-run-";

/// Balance and heal a program without a file
#[derive(Debug, Args)]
#[command(after_help = "Example: grace run -n 3 --listen :8080 -- python3 -m http.server {port}")]
pub struct Run {
    /// How many instances
    #[arg(short = 'n', long, default_value_t = 1, value_name = "N")]
    instances: u32,
    /// Where clients connect, such as :8080; without it the program has no traffic
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// An instance is ready when GET of this path is answered 200 to 399 [default: when it accepts connections]
    #[arg(long, value_name = "PATH")]
    ready_http: Option<String>,
    /// As root: whom the program runs as [default: nobody, or root when nobody cannot reach its files]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    less: Less,
    /// The program and its arguments; {port} is each instance's own port, also in $PORT
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Run {
    /// Runs it in front, and leaves nothing behind.
    pub fn run(self, globals: &Globals) -> Outcome {
        let given = globals.given_state()?;
        let state = match &given {
            Some(state) => state.clone(),
            None => temporary()?,
        };
        self.host(state, given.is_none(), globals.json)
    }

    fn host(&self, state: PathBuf, temporary: bool, json: bool) -> Outcome {
        let here = std::env::current_dir().or_problem("the current directory", "go to another")?;
        let text = self.as_toml();
        let around = Surroundings::here(Some(state));
        // The same checks as for a file; there is no line to point at.
        let mut config = config::parse(&text, &here, &around).map_err(|faults| {
            let all: Vec<&str> = faults.iter().map(|fault| fault.what.as_str()).collect();
            Problem::new(all.join("\n"), "see `grace run --help`")
        })?;
        self.less.apply(&mut config);
        say_what_is_missing(&config);
        Front {
            config,
            detach: false,
            json,
            temporary,
        }
        .run()
    }

    fn as_toml(&self) -> String {
        let program = self.command.first().map_or("", String::as_str);
        let mut service = toml::Table::new();
        service.insert("name".into(), name_of(program).into());
        service.insert("command".into(), self.command.clone().into());
        service.insert("instances".into(), i64::from(self.instances).into());
        if let Some(listen) = &self.listen {
            service.insert("listen".into(), listen.clone().into());
        }
        if let Some(user) = &self.user {
            service.insert("user".into(), user.clone().into());
        }
        if let Some(path) = &self.ready_http {
            let mut ready = toml::Table::new();
            ready.insert("http".into(), path.clone().into());
            service.insert("ready".into(), ready.into());
        }
        let mut file = toml::Table::new();
        file.insert("service".into(), vec![toml::Value::from(service)].into());
        file.to_string()
    }
}

/// A service's name from a program's.
pub fn name_of(program: &str) -> String {
    let file = program.rsplit('/').next().unwrap_or(program);
    let stem = file.split('.').next().unwrap_or(file).to_ascii_lowercase();
    let mut name = String::new();
    for c in stem.chars() {
        let good = c.is_ascii_lowercase() || (!name.is_empty() && c.is_ascii_digit());
        if good {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(40);
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "app".to_owned()
    } else {
        name.to_owned()
    }
}

/// State directories of this user's hosts that `grace run` started and that still run.
pub fn running() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY))
        // Anybody may make a directory of this name; only one's own is believed.
        .filter(|entry| {
            fs::symlink_metadata(entry.path())
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == grace_os::user::effective_uid())
        })
        .map(|entry| entry.path())
        .filter(|path| {
            crate::supervisor::Alive::look(&grace_model::layout::Layout::new(path)).any()
        })
        .collect();
    found.sort();
    found
}

/// A private directory of a name that is not taken; short, for sockets lie below it.
fn temporary() -> Result<PathBuf, Problem> {
    use std::os::unix::fs::DirBuilderExt;
    let above = std::env::temp_dir();
    for number in 0..1_000 {
        let path = above.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).or_problem(path.display(), "name one with `--state DIR`");
            }
        }
    }
    Err(Problem::new(
        format!("{} is full of old directories", above.display()),
        "remove grace-run-*",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_model::config::Ready;
    use grace_model::id::ServiceName;

    #[test]
    fn a_programs_name_makes_a_services_name() {
        for (program, name) in [
            ("/usr/bin/python3", "python3"),
            ("./My_App.v2.sh", "my-app"),
            ("7z", "z"),
            ("///", "app"),
            ("日本", "app"),
        ] {
            assert_eq!(name_of(program), name);
            assert!(ServiceName::parse(&name_of(program)).is_ok());
        }
        assert!(ServiceName::parse(&name_of(&"x".repeat(200))).is_ok());
    }

    #[test]
    fn options_become_the_same_configuration_as_a_file() {
        let run = Run {
            instances: 3,
            listen: Some(":0".into()),
            user: None,
            ready_http: Some("/healthz".into()),
            less: Less::default(),
            command: vec!["sh".into(), "-c".into(), "exec \"x\" {port}".into()],
        };
        let around = Surroundings {
            root: false,
            ..Surroundings::here(Some("/tmp/s".into()))
        };
        let config = config::parse(&run.as_toml(), std::path::Path::new("/"), &around).unwrap();
        let service = &config.services[0];
        assert_eq!(
            (service.instances, &service.ready),
            (3, &Ready::Http("/healthz".into()))
        );
        assert_eq!(service.command[1..], ["-c", "exec \"x\" {port}"]);
        let bad = Run {
            listen: Some("nowhere".into()),
            ..run
        };
        let faults = config::parse(&bad.as_toml(), std::path::Path::new("/"), &around).unwrap_err();
        assert!(faults[0].what.contains("no port"), "{faults:?}");
    }
}
