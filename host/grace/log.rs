//! What processes say of themselves. Those of Grace have `logs/grace.log` as their standard error,
//! which the supervisor keeps from growing without end.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variable that says how much is written, such as `debug` or `grace_proxy=debug`.
const VARIABLE: &str = "GRACE_LOG";

/// For one of Grace's own processes: from `info` on, each line with the process's name.
pub fn of_process(process: &'static str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter);
    let _ = builder.with_writer(Named { process }).try_init();
}

/// For commands: errors only, unless asked.
pub fn of_command() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("error"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = builder.try_init();
}

/// Puts the process's name before each line.
struct Named {
    process: &'static str,
}

/// One line, written at once, so that processes do not mix theirs.
struct Line {
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Named {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            bytes: format!("{} ", self.process).into_bytes(),
        }
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A full disk loses lines of the log and nothing else.
        let _ = io::Write::write_all(&mut io::stderr(), &self.bytes);
    }
}
