//! A terminal's settings and size. Whoever changes the settings puts them back.

use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::{OsError, Result};

/// How a terminal was.
#[derive(Debug, Clone)]
pub struct Settings(Termios);

/// How a terminal is now.
///
/// # Errors
/// [`OsError`]: ENOTTY when it is none.
pub fn settings(of: impl AsFd) -> Result<Settings> {
    tcgetattr(of)
        .map(Settings)
        .map_err(|source| OsError::new("tcgetattr", "the terminal", source))
}

/// Keys come one by one as they are typed, unseen, and none is a signal.
///
/// # Errors
/// [`OsError`]; then it is as it was.
pub fn make_raw(of: impl AsFd, settings: &Settings) -> Result<()> {
    let mut raw = settings.0.clone();
    raw.make_raw();
    set(of, &raw)
}

/// As it was.
///
/// # Errors
/// [`OsError`].
pub fn restore(of: impl AsFd, settings: &Settings) -> Result<()> {
    set(of, &settings.0)
}

fn set(of: impl AsFd, to: &Termios) -> Result<()> {
    tcsetattr(of, OptionalActions::Now, to)
        .map_err(|source| OsError::new("tcsetattr", "the terminal", source))
}

/// Columns and rows; none when it is no terminal or does not know.
#[must_use]
pub fn size(of: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(of).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_has_no_settings_and_no_size() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(
            settings(&file)
                .unwrap_err()
                .to_string()
                .contains("tcgetattr")
        );
        assert_eq!(size(&file), None);
    }
}
