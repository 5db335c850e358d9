//! A strict look at the raw bytes of a client's connection, before hyper has them. hyper drops a
//! Content-Length beside a Transfer-Encoding without a word and takes a bare line feed for a
//! line's end; both are how requests are smuggled past a proxy. This scanner sees every head and
//! every chunk as it was sent, and says from which head on the connection is not to be trusted,
//! and that a body cannot be followed any more. Names, values and request lines are left to
//! hyper's parser, which is strict about them; `fuzz` proves that both together let through what
//! a strict reader reads in the same way. It answers nothing itself.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::flow::Flow;

mod words;

use words::{Head, chunk_size};

/// Longest line of a head. Above the largest head, so that hyper has refused it by then.
const LINE_MAX: usize = 128 * 1024;
/// Longest line of a chunk's size with its extensions, which nobody uses.
const CHUNK_LINE_MAX: usize = 1_024;
/// Longest line behind a chunked body.
const TRAILER_MAX: usize = 16 * 1024;
/// Empty lines before a request; RFC 9112, 2.2 asks for one to be borne.
const EMPTY_MAX: u32 = 4;

/// Between two requests: nothing of a head has come.
const BETWEEN: u8 = 0;
/// In the middle of a head.
const IN_HEAD: u8 = 1;
/// In a body, or not scanned any more.
const BEYOND: u8 = 2;

/// What the scanner found, read by the connection's service on the same thread.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Number of the first head that is not to be trusted, from 0.
    bad_from: AtomicU64,
    /// Heads seen to their end.
    heads: AtomicU64,
    /// Reads that brought something.
    reads: AtomicU32,
    place: AtomicU8,
    /// The client taking what is sent to it.
    pub(crate) out: Flow,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            bad_from: AtomicU64::new(u64::MAX),
            heads: AtomicU64::new(0),
            reads: AtomicU32::new(0),
            place: AtomicU8::new(BETWEEN),
            out: Flow::new(Instant::now()),
        }
    }
}

impl Verdict {
    /// Whether request `number` of the connection, from 0, may be believed.
    pub(crate) fn trusts(&self, number: u64) -> bool {
        number < self.bad_from.load(Ordering::Relaxed)
    }

    pub(crate) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    pub(crate) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The connection speaks in frames of HTTP/2, which frame in one way only.
    pub(crate) fn frames(&self) {
        self.heads.store(1, Ordering::Relaxed);
        self.place.store(BEYOND, Ordering::Relaxed);
    }

    /// Something was read that needs no scanning.
    pub(crate) fn came(&self) {
        self.reads
            .store(self.reads().wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn in_head(&self) -> bool {
        self.place.load(Ordering::Relaxed) == IN_HEAD
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Expecting a request line.
    Start,
    /// Expecting a header line.
    Headers,
    /// This many bytes of a body to go.
    Body(u64),
    /// Expecting the line of a chunk's size.
    ChunkSize,
    /// This many bytes of a chunk to go.
    Chunk(u64),
    /// Expecting the end of a chunk's line.
    ChunkEnd,
    /// After the last chunk.
    Trailers,
    /// Not scanned any more.
    Off,
}

/// The scanner of one connection.
#[derive(Debug)]
pub(crate) struct Scanner {
    place: Place,
    /// The beginning of a line that went over the end of a read.
    part: Vec<u8>,
    head: Head,
    heads: u64,
    /// Empty lines since the last request.
    empty: u32,
    /// A body, or what stands between requests, cannot be followed any more.
    lost: bool,
}

/// What comes cannot be followed; nothing more of the connection may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body's framing is malformed")]
pub(crate) struct Lost;

impl Default for Scanner {
    fn default() -> Self {
        Self {
            place: Place::Start,
            part: Vec::new(),
            head: Head::default(),
            heads: 0,
            empty: 0,
            lost: false,
        }
    }
}

impl Scanner {
    /// Looks at the next bytes of the connection. A head that is not to be trusted is told by
    /// the verdict, so that it can be answered; anything else that is wrong is an error.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], verdict: &Verdict) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        verdict.came();
        while !bytes.is_empty() {
            match self.place {
                Place::Off => break,
                Place::Body(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.place = if left == 0 {
                        self.next()
                    } else {
                        Place::Body(left)
                    };
                }
                Place::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.place = if left == 0 {
                        Place::ChunkEnd
                    } else {
                        Place::Chunk(left)
                    };
                }
                _ => bytes = self.take_line(bytes, verdict),
            }
        }
        let place = match self.place {
            Place::Start if self.part.is_empty() => BETWEEN,
            Place::Start | Place::Headers => IN_HEAD,
            _ => BEYOND,
        };
        verdict.place.store(place, Ordering::Relaxed);
        if self.lost { Err(Lost) } else { Ok(()) }
    }

    /// What comes after a request.
    fn next(&mut self) -> Place {
        self.empty = 0;
        if self.head.upgrade {
            Place::Off
        } else {
            Place::Start
        }
    }

    fn line_max(&self) -> usize {
        match self.place {
            Place::ChunkSize => CHUNK_LINE_MAX,
            Place::ChunkEnd => 1,
            Place::Trailers => TRAILER_MAX,
            _ => LINE_MAX,
        }
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8], verdict: &Verdict) -> &'b [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.part.len() + bytes.len() > self.line_max() {
                self.distrust(verdict);
            } else {
                self.part.extend_from_slice(bytes);
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end + 1);
        if self.part.is_empty() {
            self.line(line, verdict);
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(line);
            self.line(&part, verdict);
            part.clear();
            self.part = part;
        }
        rest
    }

    fn line(&mut self, line: &[u8], verdict: &Verdict) {
        let max = self.line_max();
        let Some(line) = line.strip_suffix(b"\r\n").filter(|it| it.len() <= max) else {
            // A bare line feed. In a head it makes that head bad, elsewhere all that follows.
            self.distrust(verdict);
            return;
        };
        match self.place {
            Place::Start if line.is_empty() => {
                self.empty += 1;
                if self.empty > EMPTY_MAX {
                    self.lost = true;
                    self.distrust(verdict);
                }
            }
            Place::Start => {
                self.head = Head {
                    // hyper would cut a fragment off and pass the rest on.
                    bad: memchr::memchr(b'#', line).is_some(),
                    ..Head::default()
                };
                self.place = Place::Headers;
            }
            Place::Headers if line.is_empty() => self.end_head(verdict),
            Place::Headers => self.head.read(line),
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => self.place = Place::Trailers,
                Some(size) => self.place = Place::Chunk(size),
                None => self.distrust(verdict),
            },
            Place::ChunkEnd if line.is_empty() => self.place = Place::ChunkSize,
            Place::Trailers if line.is_empty() => self.place = self.next(),
            Place::Trailers => {
                let mut trailer = Head::default();
                trailer.read(line);
                // One that frames belongs into the head and nowhere else.
                if trailer.bad || trailer.length.is_some() || trailer.chunked {
                    self.distrust(verdict);
                }
            }
            _ => self.distrust(verdict),
        }
    }

    fn end_head(&mut self, verdict: &Verdict) {
        if self.head.bad || (self.head.chunked && self.head.length.is_some()) {
            self.distrust(verdict);
            return;
        }
        self.heads += 1;
        verdict.heads.store(self.heads, Ordering::Relaxed);
        self.place = match self.head.length {
            _ if self.head.chunked => Place::ChunkSize,
            Some(length) if length > 0 => Place::Body(length),
            _ => self.next(),
        };
    }

    /// The head that is being read, or the next one, is the first not to be trusted.
    fn distrust(&mut self, verdict: &Verdict) {
        self.lost |= !matches!(self.place, Place::Start | Place::Headers);
        verdict.bad_from.store(self.heads, Ordering::Relaxed);
        self.place = Place::Off;
        self.part = Vec::new();
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (bytes.get(take..).unwrap_or_default(), left - take as u64)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests;
