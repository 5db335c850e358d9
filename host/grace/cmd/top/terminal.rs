//! The terminal as it was found: whatever ends the view, a key, a signal or a panic, it is left
//! as it was.

use std::io::{self, Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use grace_os::terminal::{self, Settings};
use grace_os::{OsError, poll};

use super::grid::Grid;

/// A screen of its own, empty, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// The usual screen, with its cursor, in no style.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// Where a terminal does not know its size.
const SIZE: (u16, u16) = (80, 24);

/// How the terminal was, while it is held.
static BEFORE: Mutex<Option<Settings>> = Mutex::new(None);

/// A terminal that is drawn on, until it is dropped.
pub struct Held {
    shown: Grid,
    styles: bool,
}

impl Held {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none; then it is as it was.
    pub fn take() -> Result<Self, OsError> {
        give_back_on_panic();
        let before = terminal::settings(stdin())?;
        terminal::make_raw(stdin(), &before)?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        say(ENTER);
        let choice = anstream::AutoStream::choice(&stdout());
        Ok(Self {
            shown: Grid::default(),
            styles: choice != anstream::ColorChoice::Never,
        })
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        terminal::size(stdout()).unwrap_or(SIZE)
    }

    /// Shows a grid.
    pub fn show(&mut self, grid: Grid) {
        say(&grid.changes(&self.shown, self.styles));
        self.shown = grid;
    }

    /// What was typed within a time; none when nobody can type any more.
    ///
    /// # Errors
    /// When the terminal cannot be waited for.
    pub fn typed(&self, longest: Duration) -> Result<Option<Vec<u8>>, OsError> {
        let input = stdin();
        if !poll::readable(&[input.as_fd()], longest)?.contains(&true) {
            return Ok(Some(Vec::new()));
        }
        // As large as what the library reads ahead, so that nothing waits there unseen.
        let mut bytes = vec![0; 8 * 1024];
        match input.lock().read(&mut bytes) {
            Ok(count @ 1..) => {
                bytes.truncate(count);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(Vec::new())),
            // A terminal that has hung up.
            _ => Ok(None),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was; nothing when it is not held.
fn give_back() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = before.take() {
        say(LEAVE);
        // A terminal that has gone cannot be given back.
        let _ = terminal::restore(stdin(), &before);
    }
}

fn say(text: &str) {
    let mut out = stdout().lock();
    // Nobody sees it when the terminal has gone, which `typed` tells.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A panic's message belongs on the screen that stays.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            usual(info);
        }));
    });
}
