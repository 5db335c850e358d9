//! From a request to a report: read the directory, see the command fail, find where, search, hold
//! court. The order of the steps, and nothing of how each is done.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::candidate::Candidate;
use crate::court::{self, Ruling};
use crate::diff;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::locate::{self, Spectrum, Suspicion};
use crate::operators;
use crate::project::{Project, Role};
use crate::report::{Report, Verdict};
use crate::search::{Found, Hunt, Lab, LabError, Task, pairs, ranked};
use crate::syntax;
use crate::workspace::{self, Room, Run, Settings, Slot, Status};

/// Becomes true when the search must end.
pub type Stop = Arc<AtomicBool>;

/// How many copies run at once: the machine that this is built for has two cores.
const COPIES: usize = 2;
/// Of the time, the share that is kept for the court.
const COURT: f64 = 0.25;
/// How much longer than its timeout a command may compile.
const BUILDING: u32 = 8;
/// A candidate that hangs costs this at least, also where the timeout is longer.
const SHORTEST: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory with the source.
    pub dir: PathBuf,
    /// The command that fails, for `sh -c`.
    pub test: OsString,
    /// For the whole search.
    pub budget: Duration,
    /// For one run.
    pub timeout: Duration,
    /// The same seed gives the same diff.
    pub seed: u64,
    /// Whether the directory is changed in the end.
    pub apply: bool,
    /// The caller's variables, of which the command gets a few.
    pub env: Vec<(OsString, OsString)>,
    /// Where copies are made.
    pub scratch: PathBuf,
}

/// Why a search did not begin or did not end.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The directory.
    #[error(transparent)]
    Dir(#[from] workspace::ScanError),
    /// The command is content.
    #[error("the test command passes already: there is nothing to fix")]
    Passes,
    /// The command is no command.
    #[error("the test command cannot start: {0}")]
    CannotStart(String),
    /// The scratch directory or the command's start.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The scratch directory.
    #[error("{} cannot be used for copies: {}: free space there, or set TMPDIR", .0.display(), .1)]
    Scratch(PathBuf, std::io::Error),
    /// There is nothing that may be changed.
    #[error("{} holds no source or configuration that may be changed{}: Python, JavaScript, Rust, JSON, YAML and TOML are known, and tests are never changed", .0.display(), .1)]
    Nothing(PathBuf, String),
    /// The fix could not be written.
    #[error(transparent)]
    Apply(#[from] workspace::ApplyError),
    /// Someone ended it.
    #[error("the search was interrupted; the directory is as it was")]
    Interrupted,
}

/// Searches. What is noteworthy on the way goes to `say`, a line each.
///
/// # Errors
/// [`Refusal`]: nothing was found because nothing could be searched.
pub fn fix(request: &Request, stop: &Stop, say: &mut dyn FnMut(&str)) -> Result<Report, Refusal> {
    let begun = Instant::now();
    let mut report = search(request, stop, begun, say)?;
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

fn search(
    request: &Request,
    stop: &Stop,
    begun: Instant,
    say: &mut dyn FnMut(&str),
) -> Result<Report, Refusal> {
    let unreadable = |error| workspace::ScanError::Unreadable(request.dir.clone(), error);
    let dir = fs::canonicalize(&request.dir).map_err(unreadable)?;
    let scan = workspace::scan(&dir)?;
    for note in &scan.notes {
        say(note);
    }
    let project = Project::new(scan.texts.clone(), &request.test.to_string_lossy());
    let mutable = project
        .files
        .iter()
        .any(|file| matches!(file.role, Role::Source(_) | Role::Config(_)));
    if !mutable {
        let notes = if scan.notes.is_empty() {
            String::new()
        } else {
            format!(" ({})", scan.notes.join("; "))
        };
        return Err(Refusal::Nothing(dir, notes));
    }
    let scratch = |error| Refusal::Scratch(request.scratch.clone(), error);
    let room = tempfile::Builder::new()
        .prefix("grace-agent-")
        .tempdir_in(&request.scratch)
        .map_err(scratch)?;
    let top = fs::canonicalize(room.path()).map_err(scratch)?;
    let lab = lab(request, stop, &dir, &top, &scan, project).map_err(scratch)?;
    for missing in lab.missing() {
        say(&format!(
            "the command runs without {}: {}; to get it: {}",
            missing.what, missing.why, missing.remedy
        ));
    }
    let mut work = Work {
        request,
        stop,
        begun,
        top: &top,
        lab,
        chosen: Vec::new(),
    };
    let report = work.run()?;
    if report.result == Verdict::Fixed && request.apply {
        work.interrupted()?;
        workspace::apply(&dir, &work.chosen)?;
    }
    Ok(report)
}

fn lab(
    request: &Request,
    stop: &Stop,
    dir: &Path,
    top: &Path,
    scan: &workspace::Scan,
    project: Project,
) -> std::io::Result<Lab> {
    let mut slots = Vec::new();
    // A copy that is never run in: what the others are put back from.
    let name = dir.file_name().unwrap_or(std::ffi::OsStr::new("work"));
    let original = top.join("original");
    Slot::copy(dir, original.clone(), scan)?;
    for number in 0..COPIES {
        slots.push(Slot::copy(
            &original,
            top.join(number.to_string()).join(name),
            scan,
        )?);
    }
    let mut env = workspace::variables(&request.env);
    let bin = top.join("bin");
    let mut keep = vec![bin.clone()];
    keep.extend(below_tmp(request, dir));
    for helper in [top.join("helpers"), top.join("out"), bin.clone()] {
        fs::create_dir_all(helper)?;
    }
    keep.push(top.join("helpers"));
    for (name, text) in locate::HELPERS.iter().chain(court::HELPERS.iter()) {
        let file = top.join("helpers").join(name);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, text)?;
    }
    let name = format!("agent-{:x}", fastrand::u64(..));
    let room = Room::new(&name, keep, Arc::clone(stop));
    let path = env
        .iter()
        .rfind(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone())
        .unwrap_or_else(|| grace_os::spawn::DEFAULT_PATH.into());
    let settings = Settings {
        command: std::ffi::OsStr::new("true"),
        dir: &original,
        env: &env,
        more: &[],
        writable: &[],
        timeout: SHORTEST,
        building: Duration::ZERO,
    };
    if workspace::shortcuts(&bin, &path, &room, &settings) {
        let mut all = bin.into_os_string();
        all.push(":");
        all.push(path);
        env.push(("PATH".into(), all));
    }
    let compiles = project.files.iter().any(|file| {
        file.path
            .file_name()
            .is_some_and(|name| name == "Cargo.toml")
    }) || request.test.to_string_lossy().contains("cargo");
    let building = if compiles {
        request.timeout * BUILDING
    } else {
        Duration::ZERO
    };
    let task = Task {
        command: request.test.clone(),
        named: dir.to_owned(),
        env,
        timeout: request.timeout,
        building,
    };
    Ok(Lab::new(project, room, task, slots))
}

/// What the command or the search path names below `/tmp`, which is hidden otherwise. Not the
/// directory itself: the copies stand for it.
fn below_tmp(request: &Request, dir: &Path) -> Vec<PathBuf> {
    let command = request.test.to_string_lossy().into_owned();
    let words = command.split(|c: char| c.is_whitespace() || "'\";&|<>()=".contains(c));
    let path = request
        .env
        .iter()
        .filter(|(name, _)| {
            matches!(
                name.to_str(),
                Some(
                    "PATH"
                        | "PYTHONPATH"
                        | "NODE_PATH"
                        | "VIRTUAL_ENV"
                        | "CARGO_HOME"
                        | "RUSTUP_HOME"
                        | "HOME"
                )
            )
        })
        .flat_map(|(_, value)| std::env::split_paths(value).collect::<Vec<_>>());
    words
        .map(PathBuf::from)
        .chain(path)
        .filter(|word| word.is_absolute() && word.exists())
        .filter(|word| {
            ["/tmp", "/var/tmp"]
                .iter()
                .any(|top| word.starts_with(top) && word != Path::new(top))
        })
        .filter(|word| !word.starts_with(dir) && !dir.starts_with(word))
        .collect()
}

struct Work<'a> {
    request: &'a Request,
    stop: &'a Stop,
    begun: Instant,
    top: &'a Path,
    lab: Lab,
    /// The files of the fix, old and new.
    chosen: Vec<(PathBuf, Arc<str>, Arc<str>)>,
}

impl Work<'_> {
    fn run(&mut self) -> Result<Report, Refusal> {
        let first = self.lab.plain(0)?;
        self.interrupted()?;
        let failure = self.refuse(&first)?;
        self.settle_timeout(&first);
        let spectra = self.traced(&failure);
        self.interrupted()?;
        let suspicion = Suspicion::new(&self.lab.project, &failure, &spectra);
        let held = court::held_out(&failure, &spectra, self.request.seed);
        let mut candidates = self.unreadable(&failure);
        let repairs = candidates.len();
        let singles = ranked(
            &self.lab.project,
            &suspicion,
            operators::singles(&self.lab.project, &failure, &|file, line| {
                suspicion.line(file, line) >= crate::search::LEAST
            }),
            self.request.seed,
        );
        candidates.extend(
            syntax::values(&self.lab.project, &failure)
                .into_iter()
                .chain(singles),
        );
        let mut candidates = {
            let rest = candidates.split_off(repairs);
            candidates.extend(crate::search::order(rest, self.request.seed));
            candidates
        };
        let mut found = self.hunt(&candidates, &failure, &held);
        self.interrupted()?;
        if found.plausible.is_empty() && Instant::now() < self.search_end() {
            let singles = candidates.clone();
            candidates = pairs(&singles, &found.better, self.request.seed);
            found = self.hunt(&candidates, &failure, &held);
            self.interrupted()?;
        }
        if let Some(problem) = found.problem.take() {
            return Err(problem.into());
        }
        Ok(self.judge(&failure, &candidates, &found, &held))
    }

    /// What was asked for makes no sense.
    fn refuse(&self, first: &Run) -> Result<Failure, Refusal> {
        if first.passed() {
            return Err(Refusal::Passes);
        }
        let failure = Failure::read(first, &self.lab.project);
        let last = || {
            let line = first.output.lines().rfind(|line| !line.trim().is_empty());
            line.unwrap_or("it printed nothing").trim().to_owned()
        };
        let shell = first.output.lines().any(|line| {
            line.contains("not found") && (line.starts_with("sh:") || line.starts_with("/bin/sh:"))
                || line.contains("Permission denied") && line.contains("sh:")
        });
        match first.status {
            Status::Exited(127 | 126) => {
                return Err(Refusal::CannotStart(format!(
                    "{}; install it, or correct the command",
                    last()
                )));
            }
            Status::Exited(_) if shell && failure.frames.is_empty() => {
                return Err(Refusal::CannotStart(format!(
                    "{}; install it, or correct the command",
                    last()
                )));
            }
            _ => {}
        }
        // `python3 -m pytest` where there is no pytest: no candidate could change that.
        let command = self.request.test.to_string_lossy();
        let module = first.output.lines().find_map(|line| {
            let name = line
                .split("No module named ")
                .nth(1)?
                .trim()
                .trim_matches('\'')
                .to_owned();
            command.contains(&format!("-m {name}")).then_some(name)
        });
        if let Some(name) = module
            && failure.frames.is_empty()
        {
            return Err(Refusal::CannotStart(format!(
                "python has no module {name}; install it, or use unittest"
            )));
        }
        let unopened = [
            "can't open file",
            "Cannot find module",
            "could not find `Cargo.toml`",
        ];
        if failure.frames.is_empty()
            && unopened.iter().any(|word| failure.says(word))
            && !failure.says("Require stack:\n- ")
        {
            return Err(Refusal::CannotStart(format!(
                "{}; correct the command",
                last()
            )));
        }
        Ok(failure)
    }

    /// A candidate that hangs must not cost a whole timeout where the command takes a moment.
    fn settle_timeout(&mut self, first: &Run) {
        let compiled = self
            .lab
            .project
            .sources()
            .any(|(_, _, lang)| lang == Lang::Rust);
        if compiled {
            return;
        }
        let usual = if first.status == Status::TimedOut {
            SHORTEST
        } else {
            SHORTEST.max(first.took * 8)
        };
        self.lab.set_timeout(usual.min(self.request.timeout));
    }

    fn traced(&mut self, failure: &Failure) -> Vec<Spectrum> {
        let langs: BTreeSet<Lang> = self
            .lab
            .project
            .sources()
            .map(|(_, _, lang)| lang)
            .collect();
        if !langs.contains(&Lang::Python) && !langs.contains(&Lang::JavaScript) {
            return Vec::new();
        }
        let files = locate::instrumented(&self.lab.project);
        let out = self.top.join("out");
        let helpers = self.top.join("helpers");
        let seconds = self
            .request
            .timeout
            .as_secs_f64()
            .min(if failure.hang { 2.5 } else { 60.0 })
            * 0.7;
        let python_path = self
            .request
            .env
            .iter()
            .find(|(name, _)| name == "PYTHONPATH")
            .map(|(_, value)| value.as_os_str());
        let project = &self.lab.project;
        let more =
            |dir: &Path| locate::variables(&helpers, &out, dir, project, seconds, python_path);
        let writable = [out.clone()];
        let run = self.lab.run(0, &files, &more, &writable);
        let mut text = String::new();
        for entry in fs::read_dir(&out).into_iter().flatten().flatten() {
            text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
            let _ = fs::remove_file(entry.path());
        }
        match run {
            Ok(run) if run.passed() => Vec::new(),
            _ => locate::parse(&text, &self.lab.project),
        }
    }

    /// Candidates for what cannot be read; they come before all others.
    fn unreadable(&mut self, failure: &Failure) -> Vec<Candidate> {
        let project = &self.lab.project;
        let mut found = Vec::new();
        for (_, mut all) in syntax::broken(project) {
            found.append(&mut all);
        }
        for at in syntax::unreadable(project, failure) {
            if let Some(Role::Source(lang)) = project.files.get(at).map(|file| file.role) {
                found.extend(syntax::source(project, failure, at, lang));
            }
        }
        found.extend(syntax::imports(project, failure));
        found.extend(syntax::suggestions(project, failure));
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found
    }

    fn hunt(&self, list: &[Candidate], failure: &Failure, held: &BTreeSet<String>) -> Found {
        let compiled = self
            .lab
            .project
            .sources()
            .any(|(_, _, lang)| lang == Lang::Rust);
        Hunt {
            lab: &self.lab,
            held,
            failing: &failure.failing,
            deadline: self.search_end(),
            stop: self.stop,
            more: if compiled { (4, 24) } else { (30, 240) },
        }
        .run(list)
    }

    fn judge(
        &mut self,
        failure: &Failure,
        list: &[Candidate],
        found: &Found,
        held: &BTreeSet<String>,
    ) -> Report {
        let mut report = if found.plausible.is_empty() {
            let spent = Instant::now() >= self.search_end();
            let why = if spent {
                "the budget ended before a change made the command pass"
            } else {
                "no change that this search knows makes the command pass"
            };
            Report::without(
                Verdict::NotFixed,
                format!("{}; {why}{}", failure.short(), self.revert()),
            )
        } else {
            let ruling = court::hold(&court::Case {
                lab: &self.lab,
                list,
                plausible: &found.plausible,
                held,
                end: self.begun + self.request.budget,
                stop: self.stop,
                seed: self.request.seed,
                top: self.top,
            });
            self.ruled(failure, list, ruling)
        };
        report.tries = self.lab.tries();
        report
    }

    fn ruled(&mut self, failure: &Failure, list: &[Candidate], ruling: Ruling) -> Report {
        match ruling {
            Ruling::For(at, court) => {
                let Some(candidate) = list.get(at) else {
                    return Report::without(Verdict::NotFixed, failure.short());
                };
                let place = candidate.place(&self.lab.project);
                let changed = candidate.changed(&self.lab.project);
                let files = self.lab.files(&changed).into_iter().zip(&changed);
                self.chosen = files
                    .filter_map(|((path, new), (at, _))| {
                        let old = Arc::clone(&self.lab.project.files.get(*at)?.text);
                        Some((path, old, new))
                    })
                    .collect();
                Report {
                    result: Verdict::Fixed,
                    diff: diff::unified(&self.lab.project, candidate),
                    cause: format!("{place}: {} ({})", candidate.kind.text(), failure.short()),
                    court,
                    ..Report::without(Verdict::Fixed, "")
                }
            }
            Ruling::Against(why, court) => Report {
                court,
                ..Report::without(
                    Verdict::NotFixed,
                    format!("{}; {why}{}", failure.short(), self.revert()),
                )
            },
        }
    }

    /// Where git knows an earlier version, going back is always possible; it is said and not done.
    fn revert(&self) -> String {
        if self.request.dir.join(".git").exists() {
            "; a revert to the last commit (git stash) is possible and was not tried".to_owned()
        } else {
            String::new()
        }
    }

    fn search_end(&self) -> Instant {
        self.begun + self.request.budget.mul_f64(1.0 - COURT)
    }

    fn interrupted(&self) -> Result<(), Refusal> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Refusal::Interrupted)
        } else {
            Ok(())
        }
    }
}
