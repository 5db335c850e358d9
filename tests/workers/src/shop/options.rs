//! What the worker is told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::Args;

/// The text of `--help`.
pub const HELP: &str = "\
shop-worker: a sample HTTP worker that fails when told to

  --port N           listen on 127.0.0.1:N (or $PORT; 0 for any, printed to stdout); not used
                     when a socket is inherited (LISTEN_FDS)
  --config FILE      JSON {\"greeting\": TEXT, \"delay_ms\": N}; read again when it changes; while
                     it is missing or wrong all but /healthz is answered 500
  --orders FILE      a line for every POST that is begun
  --ready-notify     READY=1 and then WATCHDOG=1 to $NOTIFY_SOCKET
  --log-rate N       N numbered lines a second to stdout
  --die-after-ms N   exit with code 1 after that time
  --hang-after-ms N  answer nothing any more after that time, and stay
  --fail-start       exit with code 1 at once
  --places N         serve N requests at once but for /healthz; others wait inside

Paths: any (its own id, pid and greeting as JSON), /healthz, /crash, /abort, /slow?ms=N,
/status?code=N, /bytes?count=N, /order (POST of JSON; a quantity below zero anywhere in it aborts
the process), /echo (POST), /ws (WebSocket echo), /break?errors=1, ?delay_ms=N,
?hold_mib=N or ?hang=1 (from then on this process answers all but /healthz with 500, or that much
later, holds that much memory, or answers nothing any more). SIGTERM ends it when its requests are
answered.
";

/// What the worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Port to listen on when no socket is inherited.
    pub port: Option<u16>,
    /// Its configuration file.
    pub config: Option<PathBuf>,
    /// Where every POST that is begun is written down.
    pub orders: Option<PathBuf>,
    /// Whether it tells `$NOTIFY_SOCKET` that it is ready and alive.
    pub ready_notify: bool,
    /// Lines a second to standard output.
    pub log_rate: u32,
    /// When it dies.
    pub die_after: Option<Duration>,
    /// When it hangs.
    pub hang_after: Option<Duration>,
    /// Whether it fails at once.
    pub fail_start: bool,
    /// Requests served at once. None: as many as come.
    pub places: Option<u16>,
}

impl Options {
    /// Reads a command line; none when help was asked for.
    ///
    /// # Errors
    /// For a person.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>> {
        let mut args = Args::new(args);
        let mut options = Self::default();
        while let Some(name) = args.next_name()? {
            let name = name.as_str();
            match name {
                "--help" => return Ok(None),
                "--port" => options.port = Some(args.value(name)?),
                "--config" => options.config = Some(PathBuf::from(args.raw(name)?)),
                "--orders" => options.orders = Some(PathBuf::from(args.raw(name)?)),
                "--ready-notify" => options.ready_notify = true,
                "--log-rate" => options.log_rate = args.value(name)?,
                "--die-after-ms" => options.die_after = Some(args.millis(name)?),
                "--hang-after-ms" => options.hang_after = Some(args.millis(name)?),
                "--fail-start" => options.fail_start = true,
                "--places" => options.places = Some(args.value(name)?),
                _ => bail!("{name} is no option; see --help"),
            }
        }
        Ok(Some(options))
    }
}
