//! Signals to processes, by a handle of the process and no program: a machine without `kill` on
//! its PATH can be shown the demo too.

use anyhow::{Context, Result};
use grace_os::{Signal, pidfd};

/// Sends a signal to the process that has this pid now.
pub fn strike(pid: u32, signal: Signal) -> Result<()> {
    pidfd::open(pid)
        .and_then(|handle| pidfd::send_signal(handle, signal))
        .with_context(|| format!("cannot send {signal:?} to pid {pid}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::judge;

    #[test]
    fn a_signal_reaches_its_process_and_a_dead_one_is_an_error() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        strike(child.id(), Signal::Stop).expect("stop");
        let begun = std::time::Instant::now();
        while judge::runs(child.id()) && begun.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        assert!(!judge::runs(child.id()), "it was stopped");
        strike(child.id(), Signal::Kill).expect("kill");
        assert_eq!(child.wait().expect("wait").signal(), Some(9));
        let error = strike(child.id(), Signal::Kill).expect_err("it is gone");
        assert!(format!("{error:#}").contains("Kill"), "{error:#}");
    }
}
