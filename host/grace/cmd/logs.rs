//! `grace logs`: read from the files, so that it works whatever is down. What a full disk kept out
//! of them is asked of the supervisor, which may be away.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use grace_model::layout::Layout;
use serde_json::json;

use crate::config::closest;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;
use crate::supervisor::Line;

/// Output of an instance or of all instances of a service; without a name, Grace's own log
#[derive(Debug, Args)]
pub struct Logs {
    /// Such as shop-1, or shop for all of the service
    instance: Option<String>,
    /// Go on as lines are written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each to begin with
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    lines: usize,
}

impl Logs {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        let files = files(&layout, self.instance.as_deref())?;
        let several = files.len() > 1;
        let tell = |name: &str, text: &str| {
            if globals.json && self.follow {
                show::line(&json!({ "from": name, "line": text }).to_string());
            } else if several {
                show::line(&format!("{} {text}", show::paint(show::DIM, name)));
            } else {
                show::line(text);
            }
        };
        let mut followed = Vec::new();
        let mut documents = Vec::new();
        for (name, path) in files {
            // The end first: what comes meanwhile is news, and neither lost nor told twice.
            let follow = Follow::at_end(path.clone());
            let unsaved = unsaved(&layout, &name, self.lines);
            let tail = match tail_until(&path, self.lines, follow.end) {
                // What memory has is better than a complaint about the file.
                Err(_) if !unsaved.is_empty() => Vec::new(),
                other => other.or_problem(format_args!("cannot read {}", path.display()), "")?,
            };
            for text in tail.iter().chain(&unsaved) {
                if globals.json && !self.follow {
                    documents.push(json!({ "from": name, "line": text }));
                } else {
                    tell(&name, text);
                }
            }
            followed.push((name, follow));
        }
        if globals.json && !self.follow {
            show::document(&json!({ "lines": documents }))?;
        }
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        loop {
            for (name, follow) in &mut followed {
                follow.news(&mut |text| tell(name, text));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The current log files of an instance or a service, by name.
fn files(layout: &Layout, wanted: Option<&str>) -> Result<Vec<(String, PathBuf)>, Problem> {
    let mut all: Vec<(String, PathBuf)> = fs::read_dir(layout.logs())
        .or_problem(
            format_args!("cannot read {}", layout.logs().display()),
            "was a host ever up here? `grace up` starts one",
        )?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?.to_owned();
            Some((name, path))
        })
        .collect();
    all.sort();
    let wanted = wanted.unwrap_or("grace");
    let found: Vec<_> = all
        .iter()
        .filter(|(name, _)| {
            let of_service = name.rsplit_once('-').is_some_and(|(service, number)| {
                service == wanted && number.parse::<u32>().is_ok()
            });
            name == wanted || of_service
        })
        .cloned()
        .collect();
    if found.is_empty() {
        let names = || all.iter().map(|(name, _)| name.as_str());
        let help = match closest(wanted, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(Problem::no(format!("there is no log of {wanted:?}"), help));
    }
    Ok(found)
}

/// Lines that a full disk kept out of the files and the supervisor still has, with a line before
/// them that says so. Mostly none; also when no supervisor answers.
fn unsaved(layout: &Layout, name: &str, most: usize) -> Vec<String> {
    if name == "grace" {
        return Vec::new();
    }
    let asked = Line::connect(layout).and_then(|mut line| line.unsaved(name));
    let Ok(Some((bytes, text))) = asked else {
        return Vec::new();
    };
    let lines: Vec<&str> = text.lines().collect();
    let newest = lines.iter().skip(lines.len().saturating_sub(most));
    let told = format!(
        "grace: {bytes} bytes of output could not be written to a file; the newest of them:"
    );
    std::iter::once(told)
        .chain(newest.map(|line| clean(line.as_bytes())))
        .collect()
}

/// The last `most` lines, from the rotated file too when the current one is short.
pub fn tail(path: &Path, most: usize) -> std::io::Result<Vec<String>> {
    tail_until(path, most, u64::MAX)
}

/// The same, of the first `end` bytes of the current file.
fn tail_until(path: &Path, most: usize, end: u64) -> std::io::Result<Vec<String>> {
    let mut last: VecDeque<String> = VecDeque::new();
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    for file in [PathBuf::from(older), path.to_owned()] {
        let mut reader = match File::open(&file) {
            Ok(open) => BufReader::new(open.take(if file == path { end } else { u64::MAX })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            last.push_back(clean(&bytes));
            if last.len() > most {
                last.pop_front();
            }
            bytes.clear();
        }
    }
    Ok(last.into())
}

/// A line as text that cannot steer the terminal beyond its colours.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches(['\n', '\r'])
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\t' | '\u{1b}'))
        .collect()
}

/// A file that grows, and is replaced when it is rotated.
struct Follow {
    path: PathBuf,
    file: Option<(File, u64)>,
    rest: Vec<u8>,
    /// Where it began.
    end: u64,
}

impl Follow {
    fn at_end(path: PathBuf) -> Self {
        let mut end = 0;
        let file = Self::open(&path).and_then(|(mut file, inode)| {
            end = file.seek(SeekFrom::End(0)).ok()?;
            Some((file, inode))
        });
        Self {
            path,
            file,
            rest: Vec::new(),
            end,
        }
    }

    fn open(path: &Path) -> Option<(File, u64)> {
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        Some((file, inode))
    }

    /// Passes on what was written since the last call.
    fn news(&mut self, tell: &mut dyn FnMut(&str)) {
        loop {
            if let Some((file, _)) = &mut self.file {
                let mut bytes = Vec::new();
                if file.read_to_end(&mut bytes).is_ok() {
                    self.rest.extend(bytes);
                }
                while let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.rest.drain(..=at).collect();
                    tell(&clean(&line));
                }
            }
            let now = fs::metadata(&self.path).ok().map(|meta| meta.ino());
            let same = now.is_none() || now == self.file.as_ref().map(|(_, inode)| *inode);
            if same {
                return;
            }
            self.file = Self::open(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_tail_reaches_into_the_rotated_file() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a-1.log");
        fs::write(dir.path().join("a-1.log.1"), "1\n2\n3\n").unwrap();
        fs::write(&log, "4\n5").unwrap();
        assert_eq!(tail(&log, 3).unwrap(), ["3", "4", "5"]);
        assert_eq!(tail(&log, 99).unwrap().len(), 5);
        assert!(tail(&log, 0).unwrap().is_empty());
    }

    #[test]
    fn following_goes_on_over_a_rotation_and_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a-1.log");
        fs::write(&log, "old\n").unwrap();
        let mut follow = Follow::at_end(log.clone());
        let mut seen = Vec::new();
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(b"one\nha").unwrap();
        follow.news(&mut |line| seen.push(line.to_owned()));
        file.write_all(b"lf\n").unwrap();
        fs::rename(&log, dir.path().join("a-1.log.1")).unwrap();
        fs::write(&log, "new\n").unwrap();
        follow.news(&mut |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "half", "new"]);
    }

    #[test]
    fn names_are_instances_services_or_a_suggestion() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert!(
            files(&layout, None)
                .unwrap_err()
                .remedy()
                .contains("grace up")
        );
        fs::create_dir(layout.logs()).unwrap();
        for name in ["grace", "shop-1", "shop-2", "shop-api-1"] {
            fs::write(layout.logs().join(format!("{name}.log")), "").unwrap();
        }
        let names = |wanted| -> Vec<String> {
            files(&layout, wanted)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names(None), ["grace"]);
        assert_eq!(names(Some("shop")), ["shop-1", "shop-2"]);
        assert_eq!(names(Some("shop-api-1")), ["shop-api-1"]);
        assert!(
            files(&layout, Some("shp-1"))
                .unwrap_err()
                .remedy()
                .contains("shop-1")
        );
    }
}
