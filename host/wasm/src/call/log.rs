//! Interface `log`: a few lines a call into the host's log. A flood is cut and counted, never
//! passed on and never an error.

use crate::bindings::log::{Host, Level};
use crate::state::CallState;

const MAX_LINES: u32 = 64;
const MAX_LINE: usize = 4 << 10;

/// What a call has logged.
#[derive(Debug, Default)]
pub struct LogQuota {
    lines: u32,
    cut: u32,
}

impl LogQuota {
    /// Whether one more line may be passed on; counts it either way.
    fn take(&mut self) -> bool {
        if self.lines < MAX_LINES {
            self.lines += 1;
            true
        } else {
            self.cut = self.cut.saturating_add(1);
            false
        }
    }

    /// Lines passed on and lines cut.
    pub fn counts(&self) -> (u32, u32) {
        (self.lines, self.cut)
    }

    /// Says at the end of a call what is missing.
    pub fn close(&self, plugin: &str) {
        if self.cut > 0 {
            tracing::warn!(target: "plugin", plugin, cut = self.cut, "lines over {MAX_LINES} a call were cut");
        }
    }
}

impl Host for CallState {
    fn emit(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        if !self.log.take() {
            return Ok(());
        }
        let message = shortened(&message);
        let plugin = &*self.plugin;
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
        Ok(())
    }
}

/// At most [`MAX_LINE`] bytes of one line, without what could fake another line of the log.
fn shortened(message: &str) -> String {
    let mut end = message.len().min(MAX_LINE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, cut) = message.split_at_checked(end).unwrap_or((message, ""));
    let mut line: String = kept
        .chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect();
    if !cut.is_empty() {
        line.push_str(&format!(" [{} bytes cut]", cut.len()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        let line = shortened(&"ü".repeat(MAX_LINE));
        assert!(line.ends_with("bytes cut]"), "{line}");
        assert!(line.len() < MAX_LINE + 40);
    }

    #[test]
    fn a_line_cannot_fake_a_second_one() {
        assert_eq!(shortened("a\nERROR b\x1b[2J"), "a ERROR b [2J");
    }

    #[test]
    fn lines_over_the_quota_are_counted() {
        let mut quota = LogQuota::default();
        for _ in 0..100 {
            quota.take();
        }
        assert_eq!(quota.counts(), (64, 36));
    }
}
