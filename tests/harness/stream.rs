//! A program that goes on and says things: its lines as they come, its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::{eventually_some, signal};

/// Lines as they come.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let write = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                write
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        lines
    }

    pub fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line.
    pub fn wait(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        eventually_some(what, || self.all().into_iter().find(|line| is(line)))
    }

    /// Waits for a JSON line.
    pub fn wait_json(
        &self,
        what: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        eventually_some(what, || {
            self.all()
                .iter()
                .map(|line| {
                    serde_json::from_str(line)
                        .unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
                })
                .find(|value| is(value))
        })
    }
}

/// A running program. Dropping it kills it.
pub struct Program {
    child: Child,
    pub out: Lines,
    pub err: Lines,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = Lines::of(child.stdout.take().expect("stdout"));
        let err = Lines::of(child.stderr.take().expect("stderr"));
        Self { child, out, err }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end by itself.
    pub fn ended(&mut self) -> i32 {
        eventually_some("the program's end", || {
            let status = self.child.try_wait().expect("wait")?;
            Some(status.code().unwrap_or(-1))
        })
    }

    /// Ends it with a signal.
    pub fn end(&mut self, name: &str) -> i32 {
        signal(name, self.pid());
        self.ended()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
