//! `grace top`: the fleet, its traffic and its incidents, live in a terminal; or once, as text or
//! as a document. Each part has its file: where it comes from, what a frame holds, what is typed,
//! how it is drawn, and how the terminal is left.

mod draw;
mod frame;
mod grid;
mod keys;
mod live;
mod source;
mod terminal;
mod words;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show;

use frame::{Frame, History};
use source::{Look, Source};

/// Columns of a frame that nobody's terminal bounds.
const PLAIN_WIDTH: u16 = 100;
/// Shortest time between two looks: what is shown is measured once a second.
const SHORTEST: Duration = Duration::from_millis(200);

/// The fleet, its traffic and its incidents, live: sort, filter, pause
///
/// Keys: q quit, s sort, r reverse, f filter a service, p pause, arrows scroll.
#[derive(Debug, Args)]
pub struct Top {
    /// Print one frame as plain text and end
    #[arg(long)]
    once: bool,
    /// Time between two looks, such as 500ms or 2s [default: 1s]; with --json a document a line
    #[arg(long, value_name = "TIME")]
    interval: Option<Interval>,
    /// Fail on purpose, so that a test sees how the terminal is left
    #[arg(long, hide = true)]
    panic: bool,
}

/// A time of at least [`SHORTEST`].
#[derive(Debug, Clone, Copy)]
struct Interval(Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit_ms) = match text.strip_suffix("ms") {
            Some(number) => (number, 1),
            None => (text.strip_suffix('s').unwrap_or_default(), 1_000),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit_ms))
            .map(Duration::from_millis)
            .filter(|time| *time >= SHORTEST && *time <= Duration::from_secs(3_600))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is no time from 200ms to 3600s; write it as 500ms or 2s")
            })
    }
}

impl Top {
    /// Shows it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        let interval = self.interval.map_or(Duration::from_secs(1), |it| it.0);
        if globals.json && self.interval.is_some() && !self.once {
            return stream(&mut Source::new(layout), interval);
        }
        if globals.json || self.once {
            return once(&mut Source::new(layout), globals.json);
        }
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Problem::new(
                "standard input or output is no terminal",
                "`grace top --once` prints one frame, `grace top --json` a document",
            ));
        }
        // The first look decides whether there is anything to watch at all.
        let mut source = Source::new(layout);
        if let Look::Away(why) = source.look() {
            return Err(Problem::new(
                why,
                "`grace up` starts it; `--state DIR` or `--config FILE` names another",
            ));
        }
        live::run(source, interval, self.panic)
    }
}

/// Two looks, so that there are rates, and one frame of them.
fn once(source: &mut Source, json: bool) -> Outcome {
    let frame = first_frame(source)?;
    if json {
        show::document(&frame)?;
    } else {
        for line in draw::plain(&frame, PLAIN_WIDTH) {
            show::line(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn first_frame(source: &mut Source) -> Result<Frame, Problem> {
    /// Rates need a second measurement, and there is one a second.
    const PATIENCE: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(100);
    let mut history = History::default();
    let begun = std::time::Instant::now();
    loop {
        match source.look() {
            Look::Up(told) => history.put(*told),
            Look::Away(why) => {
                return Err(Problem::new(
                    why,
                    "`grace up` starts it; `--state DIR` or `--config FILE` names another",
                ));
            }
        }
        if (history.has_rates() || begun.elapsed() > PATIENCE)
            && let Some(frame) = history.frame()
        {
            return Ok(frame);
        }
        std::thread::sleep(PAUSE);
    }
}

/// A document a line, also while the host is away, until nobody reads any more.
fn stream(source: &mut Source, interval: Duration) -> Outcome {
    use std::io::Write;
    let mut history = History::default();
    loop {
        let begun = std::time::Instant::now();
        let text = match source.look() {
            Look::Up(told) => {
                history.put(*told);
                history.frame().map(|frame| serde_json::to_string(&frame))
            }
            Look::Away(why) => {
                history = History::default();
                Some(serde_json::to_string(&serde_json::json!({ "away": why })))
            }
        };
        if let Some(Ok(text)) = text
            && writeln!(std::io::stdout(), "{text}").is_err()
        {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(interval.saturating_sub(begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_bounds() {
        let ms = |text: &str| text.parse::<Interval>().map(|it| it.0.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2s"), Ok(2_000));
        for bad in [
            "",
            "2",
            "0s",
            "199ms",
            "-1s",
            "4000s",
            "s",
            "99999999999999999999s",
        ] {
            assert!(ms(bad).unwrap_err().contains("write it as"), "{bad}");
        }
    }
}
