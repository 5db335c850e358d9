//! What the worker does beside answering: lines of log, and its own death at a given time.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Options;

/// Starts the threads for it. They end with the process.
pub fn start(options: &Options) {
    if let Some(after) = options.die_after {
        std::thread::spawn(move || {
            std::thread::sleep(after);
            eprintln!("shop-worker: told to die after {} ms", after.as_millis());
            std::process::exit(1);
        });
    }
    let rate = options.log_rate;
    if rate > 0 {
        std::thread::spawn(move || write_lines(rate));
    }
}

/// Numbered lines, so that who reads them can tell whether one is missing. A reader that does
/// not read stops this thread and nothing else.
fn write_lines(rate: u32) {
    let pid = std::process::id();
    let start = Instant::now();
    let mut written = 0_u64;
    loop {
        // By the clock, not by the number of sleeps: short sleeps are longer than asked.
        let due = start.elapsed().as_secs_f64() * f64::from(rate);
        let mut out = std::io::stdout().lock();
        while (written as f64) < due {
            written = written.saturating_add(1);
            if writeln!(out, "line {written} of {pid}").is_err() {
                return;
            }
        }
        let _ = out.flush();
        drop(out);
        std::thread::sleep(Duration::from_millis(2));
    }
}
