//! Raises the engine's epoch while a call runs that did not end at once, so that a guest that
//! only computes meets its deadline. It must not run otherwise: an idle ticker costs CPU for
//! ever, and waking one for each call of some microseconds costs more than the call.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Time between two looks of a running guest at the clock. A deadline is met this much late at
/// most, beside what the machine's load adds.
const TICK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    running: u32,
    /// Whether the thread waits for `running` to rise.
    parked: bool,
    stopped: bool,
}

/// The thread and who wants it to run.
pub struct Ticker {
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// While one of these lives, the epoch rises.
pub struct Ticking<'a> {
    ticker: &'a Ticker,
}

impl Ticker {
    /// Starts the thread, parked.
    pub fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("wasm-epoch".to_owned())
            .spawn(move || {
                tick(&of_thread, &engine);
            })?;
        Ok(Self { shared })
    }

    /// Lets the epoch rise until the answer is dropped.
    pub fn run(&self) -> Ticking<'_> {
        let (state, wake) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running += 1;
        if state.parked {
            state.parked = false;
            wake.notify_one();
        }
        Ticking { ticker: self }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        let (state, _) = &*self.ticker.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (state, wake) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        wake.notify_one();
    }
}

fn tick(shared: &(Mutex<State>, Condvar), engine: &EngineWeak) {
    let (state, wake) = shared;
    loop {
        {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.running == 0 && !state.stopped {
                state.parked = true;
                state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped {
                return;
            }
            state.parked = false;
        }
        std::thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
