//! The live view: one thread looks at the host, which may keep it waiting; the other draws and
//! takes keys, and waits for nobody.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::draw::{self, Away};
use super::frame::{Frame, History};
use super::keys::{Wish, typed};
use super::source::{Look, Source};
use super::terminal::Held;
use crate::front::Signals;
use crate::problem::{OrProblem, Outcome, Problem};

/// Time after which a signal or a new look is noticed though no key comes.
const TURN: Duration = Duration::from_millis(50);

/// What is drawn.
struct View {
    history: History,
    frame: Option<Frame>,
    away: Option<(String, Instant)>,
    wish: Wish,
    heard: Instant,
    interval: Duration,
}

/// Watches until it is left.
pub fn run(source: Source, interval: Duration, panic: bool) -> Outcome {
    let signals = Signals::new()?;
    // One look waits at most: who draws wants the newest, and the looker waits for who draws.
    let (tell, told) = sync_channel(1);
    let (hurry, wait) = sync_channel(1);
    std::thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || look(source, interval, &tell, &wait))
        .or_problem("no thread to look at the host", "")?;
    let mut held = Held::take().or_problem("the terminal", "`grace top --once` needs none")?;
    let mut size = held.size();
    let mut view = View {
        history: History::default(),
        frame: None,
        away: None,
        wish: Wish::default(),
        heard: Instant::now(),
        interval,
    };
    let mut changed = true;
    let mut drawn = Instant::now();
    loop {
        match told.try_recv() {
            Ok(look) => {
                view.hear(look);
                changed = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(Problem::new(
                    "who looked at the host ended",
                    "start it again",
                ));
            }
        }
        // Ages on the screen go on, also when nothing comes.
        if changed || drawn.elapsed() >= Duration::from_secs(1) {
            changed = false;
            drawn = Instant::now();
            view.draw(&mut held);
            #[allow(clippy::panic, reason = "that is what was asked for, by a test")]
            if panic && view.frame.is_some() {
                panic!("a panic on purpose");
            }
        }
        if signals.wait(Duration::ZERO) {
            break;
        }
        let Some(bytes) = held.typed(TURN).or_problem("the terminal", "")? else {
            break;
        };
        let now = held.size();
        changed |= now != size || !bytes.is_empty();
        size = now;
        for key in typed(&bytes) {
            view.wish.key(key, view.frame.as_ref());
        }
        if view.wish.quit {
            break;
        }
    }
    drop(held);
    drop(hurry);
    Ok(std::process::ExitCode::SUCCESS)
}

impl View {
    fn hear(&mut self, look: Look) {
        self.heard = Instant::now();
        match look {
            Look::Up(told) => {
                self.away = None;
                self.history.put(*told);
                if !self.wish.paused || self.frame.is_none() {
                    self.frame = self.history.frame();
                }
            }
            Look::Away(why) => {
                // Counters of a host that comes back have nothing to do with those of before.
                self.history = History::default();
                let since = self.away.take().map(|(_, since)| since);
                self.away = Some((why, since.unwrap_or_else(Instant::now)));
            }
        }
    }

    fn draw(&mut self, held: &mut Held) {
        let silent = self.heard.elapsed();
        let away = match &self.away {
            Some((why, since)) => Some(Away {
                why: why.clone(),
                for_s: since.elapsed().as_secs(),
            }),
            // Longer than a look may take when all is well.
            None if silent > self.interval + Duration::from_secs(2) => Some(Away {
                why: "it does not answer".to_owned(),
                for_s: silent.as_secs(),
            }),
            None => None,
        };
        let size = held.size();
        held.show(draw::screen(
            self.frame.as_ref(),
            away.as_ref(),
            &mut self.wish,
            size,
        ));
    }
}

/// Looks again and again, until nobody wants to know.
fn look(mut source: Source, interval: Duration, tell: &SyncSender<Look>, wait: &Receiver<()>) {
    loop {
        let begun = Instant::now();
        if tell.send(source.look()).is_err() {
            return;
        }
        match wait.recv_timeout(interval.saturating_sub(begun.elapsed())) {
            Err(RecvTimeoutError::Timeout) | Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
