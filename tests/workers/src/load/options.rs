//! What the load is told.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::Uri;

use crate::args::Args;

/// The text of `--help`.
pub const HELP: &str = "\
open-load: requests on a schedule, never retried, each counted as a client would see it

  --url URL          http://HOST:PORT/PATH; each request adds its own id=... to the query
  --rate N           requests a second
  --for TIME         500ms, 2s, 1m; without it until SIGTERM or SIGINT
  --timeout TIME     a request not answered 200 with its id by then has failed (2s)
  --connections N    connections kept open and used in turn (16); more are opened when all
                     are busy

Prints a JSON line a second and the report as the last one. Exit 0: none failed, 1: some did,
2: it could not run.
";

/// What the load is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where to; http only.
    pub url: Uri,
    /// Requests a second.
    pub rate: f64,
    /// How long; none: until it is stopped.
    pub length: Option<Duration>,
    /// Longest time from a request's sending to the end of its answer.
    pub timeout: Duration,
    /// Connections kept open.
    pub connections: usize,
}

impl Options {
    /// A load with the usual timeout.
    ///
    /// # Errors
    /// When the address is no `http://HOST:PORT/PATH`.
    pub fn new(url: &str, rate: f64) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("--url {url}"))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            bail!("--url {url}: give http://HOST:PORT/PATH");
        }
        if !(rate.is_finite() && rate > 0.0 && rate <= 1_000_000.0) {
            bail!("--rate {rate}: give more than 0 and at most 1000000");
        }
        let timeout = Duration::from_secs(2);
        Ok(Self {
            url: uri,
            rate,
            length: None,
            timeout,
            connections: 16,
        })
    }

    /// Reads a command line; none when help was asked for.
    ///
    /// # Errors
    /// For a person.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>> {
        let mut args = Args::new(args);
        let (mut url, mut rate, mut length, mut timeout, mut connections) =
            (None, None, None, None, None);
        while let Some(name) = args.next_name()? {
            let name = name.as_str();
            match name {
                "--help" => return Ok(None),
                "--url" => url = Some(args.text(name)?),
                "--rate" => rate = Some(args.value(name)?),
                "--for" => length = Some(args.duration(name)?),
                "--timeout" => timeout = Some(args.duration(name)?),
                "--connections" => connections = Some(args.value(name)?),
                _ => bail!("{name} is no option; see --help"),
            }
        }
        let mut options = Self::new(
            &url.context("--url is missing")?,
            rate.context("--rate is missing")?,
        )?;
        options.length = length;
        options.timeout = timeout.unwrap_or(options.timeout);
        options.connections = connections.unwrap_or(options.connections);
        Ok(Some(options))
    }
}
