//! Command lines of the two programs: `--name value` and `--name`.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// Arguments that are taken one by one.
pub struct Args(std::vec::IntoIter<OsString>);

impl Args {
    pub fn new(args: impl IntoIterator<Item = OsString>) -> Self {
        Self(args.into_iter().collect::<Vec<_>>().into_iter())
    }

    /// The next option's name.
    pub fn next_name(&mut self) -> Result<Option<String>> {
        match self.0.next() {
            None => Ok(None),
            Some(name) => match name.into_string() {
                Ok(name) if name.starts_with("--") => Ok(Some(name)),
                Ok(name) => bail!("{name:?} is no option; see --help"),
                Err(name) => bail!("{} is no option; see --help", name.display()),
            },
        }
    }

    pub fn raw(&mut self, name: &str) -> Result<OsString> {
        self.0.next().ok_or_else(|| anyhow!("{name} needs a value"))
    }

    pub fn text(&mut self, name: &str) -> Result<String> {
        self.raw(name)?
            .into_string()
            .map_err(|value| anyhow!("{name} {}: not UTF-8", value.display()))
    }

    pub fn value<T>(&mut self, name: &str) -> Result<T>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("{name} {text}"))
    }

    pub fn millis(&mut self, name: &str) -> Result<Duration> {
        Ok(Duration::from_millis(self.value(name)?))
    }

    /// `500ms`, `2s`, `1m`; a bare number is seconds.
    pub fn duration(&mut self, name: &str) -> Result<Duration> {
        let text = self.text(name)?;
        parse_duration(&text).ok_or_else(|| anyhow!("{name} {text}: give 500ms, 2s or 1m"))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit_ms) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1_000)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60_000)
    } else {
        (text, 1_000)
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("3", 3_000)] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("soon"), None);
    }
}
