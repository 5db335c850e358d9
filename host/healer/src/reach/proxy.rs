//! The load balancer's numbers, asked on its socket. It may be away or stopped: then there are
//! none, and nobody waits long for them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use grace_model::report::ProxyReport;

/// A proxy that takes longer is none.
const LIMIT: Duration = Duration::from_millis(500);
/// Longest line: 256 instances of ten services are about 1 MB.
const LINE_MAX: u64 = 16 << 20;

/// The way to the proxy.
pub struct Proxy {
    path: PathBuf,
    /// Kept open between questions.
    line: Option<BufReader<UnixStream>>,
}

impl Proxy {
    /// The proxy behind this socket; it need not be there yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, line: None }
    }

    /// Its numbers. None while it is away.
    pub fn report(&mut self) -> Option<ProxyReport> {
        // A kept connection may be that of a proxy that died since: try once more anew.
        for kept in [self.line.take(), None] {
            let anew = kept.is_none();
            match self.ask(kept) {
                Ok((line, report)) => {
                    self.line = Some(line);
                    return Some(report);
                }
                Err(error) if anew => {
                    tracing::debug!(cause = %error, "no numbers from the proxy");
                }
                // It did not answer in time: it would not do so on another connection either.
                Err(error) if is_timeout(&error) => return None,
                Err(_) => {}
            }
        }
        None
    }

    fn ask(
        &self,
        kept: Option<BufReader<UnixStream>>,
    ) -> std::io::Result<(BufReader<UnixStream>, ProxyReport)> {
        let mut line = match kept {
            Some(line) => line,
            None => BufReader::new(UnixStream::connect(&self.path)?),
        };
        line.get_ref().set_read_timeout(Some(LIMIT))?;
        line.get_ref().set_write_timeout(Some(LIMIT))?;
        line.get_mut().write_all(b"stats\n")?;
        let mut text = Vec::new();
        if (&mut line).take(LINE_MAX).read_until(b'\n', &mut text)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok((line, serde_json::from_slice(&text)?))
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
