//! Whether a file may become what a running host runs. Everything here only looks: the host is
//! not touched, and nothing is run before the file has said of itself that it is Grace.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grace_model::layout::Layout;
use grace_supervisor::program::Program;
use serde_json::Value;

use crate::mark::Mark;
use crate::place::absolute;
use crate::problem::{OrProblem, Problem};

/// Time for the new program's own check, which reads two files.
const CHECK: Duration = Duration::from_secs(30);
/// Time for a file that is still being written to be finished.
const BUSY: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// A file that passed every check.
#[derive(Debug)]
pub struct Candidate {
    /// It.
    pub program: Program,
    /// Its version.
    pub version: String,
}

/// Checks the file at `path` for the host of `layout`, whose file is `config` if it has one.
pub fn check(path: &Path, layout: &Layout, config: Option<&Path>) -> Result<Candidate, Problem> {
    let path = absolute(path)?;
    let shown = path.display();
    let meta = fs::metadata(&path).or_problem(
        &shown,
        "name the file of the Grace that is to run: `grace upgrade PATH`",
    )?;
    if !meta.is_file() {
        return Err(Problem::new(
            format!("{shown} is no file"),
            "name the file of the Grace that is to run: `grace upgrade PATH`",
        ));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(Problem::new(
            format!("{shown} may not be executed"),
            format!("`chmod +x {shown}`"),
        ));
    }
    let file = fs::File::open(&path).or_problem(&shown, "make it readable for this user")?;
    let Some(mark) = Mark::find(file).or_problem(&shown, "see whether its disk is well")? else {
        return Err(Problem::new(
            format!("{shown} is not Grace"),
            "name the file of a Grace that can be upgraded to; `grace upgrade` alone takes the one you call",
        ));
    };
    fits(&path, &mark, layout)?;
    ask(&path, layout, config)?;
    let program = Program::at(&path).or_problem(&shown, "")?;
    Ok(Candidate {
        program,
        version: mark.version,
    })
}

/// In place both programs must read what the other wrote, for there is a way back.
fn fits(path: &Path, mark: &Mark, layout: &Layout) -> Result<(), Problem> {
    let text = fs::read_to_string(layout.version()).or_problem(layout.version().display(), "")?;
    let has: u32 = text.trim().parse().or_problem(
        layout.version().display(),
        "`grace down`, then `grace up` writes it anew",
    )?;
    let (shown, root) = (path.display(), layout.root().display());
    let Mark { state, version } = mark;
    if *state < has {
        return Err(Problem::new(
            format!(
                "{shown} is Grace {version}, which knows the state layout {state}; {root} has {has}"
            ),
            "upgrade to one that knows it; an older one needs another state directory",
        ));
    }
    if *state > has {
        return Err(Problem::new(
            format!(
                "{shown} is Grace {version}, whose state layout is {state}; {root} has {has}, and is migrated only while nothing runs in it"
            ),
            format!("`grace down`, then `{shown} up`: the start migrates it"),
        ));
    }
    Ok(())
}

/// Whether it runs here and takes this host's configuration, by its own word.
fn ask(path: &Path, layout: &Layout, config: Option<&Path>) -> Result<(), Problem> {
    let shown = path.display();
    let mut command = Command::new(path);
    command.args(["internal", "check", "--json", "--state"]);
    command.arg(layout.root());
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let end = Instant::now() + BUSY;
    let child = loop {
        match command.spawn() {
            // Whoever wrote it has only just let go.
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < end =>
            {
                std::thread::sleep(LOOK);
            }
            other => break other,
        }
    };
    let child = child.or_problem(
        format!("{shown} does not run on this machine"),
        "get the build for this machine",
    )?;
    let (code, out, err) = finish(child, CHECK).map_err(|why| {
        Problem::new(
            format!("{shown} did not answer when it was asked whether it takes this host: {why}"),
            format!("`{shown} --version` shows whether it works at all"),
        )
    })?;
    let answer: Value = serde_json::from_str(out.trim()).unwrap_or_default();
    if code == Some(0) && answer.get("takes") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let why = text("error").unwrap_or_else(|| err.trim().to_owned());
    Err(Problem::new(
        format!("{shown} does not take this host: {why}"),
        text("help").unwrap_or_else(|| "upgrade to another".to_owned()),
    ))
}

/// How it ended and what it said, which is little: it fits into its pipes.
fn finish(mut child: Child, longest: Duration) -> Result<(Option<i32>, String, String), String> {
    let end = Instant::now() + longest;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(LOOK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", longest.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    if let Some(mut pipe) = child.stdout.take() {
        let _ = pipe.read_to_string(&mut out);
    }
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_string(&mut err);
    }
    Ok((status.code(), out, err))
}

/// The program that a process runs, as something that can be started again: its file, or a copy
/// of it when the file has been replaced.
pub fn keep(layout: &Layout, pid: u32) -> Result<Program, Problem> {
    let running = Program::of_process(pid).ok_or_else(|| {
        Problem::new(
            format!("what pid {pid} runs cannot be seen"),
            "upgrade as the user who started the host, or as root",
        )
    })?;
    if let Ok(there) = Program::at(&running.path)
        && there.is_same(&running)
    {
        return Ok(there);
    }
    let dir = layout.programs();
    let place: PathBuf = dir.join(format!("grace-{pid}"));
    let remedy = "make room, or `grace down` and `grace up` with the new program";
    fs::create_dir_all(&dir).or_problem(dir.display(), remedy)?;
    fs::copy(format!("/proc/{pid}/exe"), &place).or_problem(place.display(), remedy)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
        .or_problem(place.display(), remedy)?;
    Program::at(&place).or_problem(place.display(), remedy)
}
