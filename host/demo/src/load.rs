//! The load: a child process that sends requests on a schedule and never tries one again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use grace_os::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::screen::Screen;
use crate::strike::strike;

/// What the load has seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Requests sent.
    pub sent: u64,
    /// Not answered 200 with their own id within two seconds.
    pub failed: u64,
    /// Sent a second.
    #[serde(default)]
    pub rate: f64,
    /// The first that failed, and why.
    #[serde(default, skip_serializing)]
    pub failures: Vec<Failure>,
    /// The slowest answer.
    #[serde(default, skip_serializing)]
    pub longest_ms: f64,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// Milliseconds after the load's start at which it was due.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
}

/// A running load.
pub struct Load {
    child: Child,
    seen: Arc<Mutex<Requests>>,
    reader: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts it.
    pub fn start(grace: &Path, url: &str, rate: u32) -> Result<Self> {
        let mut child = Command::new(grace)
            .args([
                "internal",
                "open-load",
                "--url",
                url,
                "--rate",
                &rate.to_string(),
                "--timeout",
                "2s",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", grace.display()))?;
        let stdout = child.stdout.take().context("the load has no output")?;
        let seen = Arc::new(Mutex::new(Requests::default()));
        let write = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(requests) = read(&line) {
                    *write.lock().unwrap_or_else(PoisonError::into_inner) = requests;
                }
            }
        });
        Ok(Self {
            child,
            seen,
            reader: Some(reader),
        })
    }

    /// Waits until requests have been answered for a while.
    pub fn warm_up(&mut self, time: Duration, screen: &Screen) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time || self.seen().sent == 0 {
            if let Some(status) = self.child.try_wait()? {
                bail!("the load ended at once ({status})");
            }
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("the load sent nothing in 20 s");
            }
            screen.rest(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Requests {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where what it sees is written.
    pub fn count(&self) -> Arc<Mutex<Requests>> {
        Arc::clone(&self.seen)
    }

    /// Ends it and gives the whole count.
    pub fn stop(mut self) -> Result<Requests> {
        strike(self.child.id(), Signal::Terminate).context("cannot end the load")?;
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        // 1 says that requests failed, which is for the report to tell.
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("the load failed ({status})");
        }
        let requests = self.seen();
        if requests.sent == 0 {
            bail!("the load sent nothing");
        }
        Ok(requests)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(line: &str) -> Option<Requests> {
    let value: Value = serde_json::from_str(line).ok()?;
    serde_json::from_value(value).ok()
}
