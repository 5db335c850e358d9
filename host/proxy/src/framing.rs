//! A strict second look at the raw bytes of a client's connection. hyper drops a Content-Length
//! beside a Transfer-Encoding without a word and takes a bare line feed for a line's end; both
//! are how requests are smuggled past a proxy. This scanner sees every head as it was sent and
//! says from which one on the connection is not to be trusted. It answers nothing itself.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A single line longer than this is not looked at further. Above the largest head, so that
/// hyper has refused it by then.
const LINE_MAX: usize = 128 * 1024;

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
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            bad_from: AtomicU64::new(u64::MAX),
            heads: AtomicU64::new(0),
            reads: AtomicU32::new(0),
            place: AtomicU8::new(BETWEEN),
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
    /// This many bytes of a chunk to go, with its line's end.
    Chunk(u64),
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
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    bad: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            place: Place::Start,
            part: Vec::new(),
            head: Head::default(),
            heads: 0,
        }
    }
}

impl Scanner {
    /// Looks at the next bytes of the connection.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], verdict: &Verdict) {
        if bytes.is_empty() {
            return;
        }
        verdict
            .reads
            .store(verdict.reads().wrapping_add(1), Ordering::Relaxed);
        while !bytes.is_empty() {
            match self.place {
                Place::Off => break,
                Place::Body(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.place = if left == 0 {
                        Place::Start
                    } else {
                        Place::Body(left)
                    };
                }
                Place::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.place = if left == 0 {
                        Place::ChunkSize
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
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8], verdict: &Verdict) -> &'b [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.part.len() + bytes.len() > LINE_MAX {
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
        let Some(line) = line.strip_suffix(b"\r\n") else {
            // A bare line feed. In a head it makes that head bad, elsewhere all that follows.
            self.head.bad = true;
            self.distrust(verdict);
            return;
        };
        match self.place {
            // An empty line before a request is allowed and means nothing.
            Place::Start if line.is_empty() => {}
            Place::Start => {
                self.head = Head::default();
                self.place = Place::Headers;
            }
            Place::Headers if line.is_empty() => self.end_head(verdict),
            Place::Headers => self.head.read(line),
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => self.place = Place::Trailers,
                Some(size) => self.place = Place::Chunk(size.saturating_add(2)),
                None => self.distrust(verdict),
            },
            Place::Trailers if line.is_empty() => self.place = Place::Start,
            _ => {}
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
            _ if self.head.upgrade => Place::Off,
            _ if self.head.chunked => Place::ChunkSize,
            Some(length) if length > 0 => Place::Body(length),
            _ => Place::Start,
        };
    }

    /// The head that is being read, or the next one, is the first not to be trusted.
    fn distrust(&mut self, verdict: &Verdict) {
        verdict.bad_from.store(self.heads, Ordering::Relaxed);
        self.place = Place::Off;
        self.part = Vec::new();
    }
}

impl Head {
    fn read(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else {
            self.bad = true;
            return;
        };
        let (name, value) = line.split_at(colon);
        if name.first().is_none_or(|c| matches!(c, b' ' | b'\t'))
            || name.last().is_some_and(|c| matches!(c, b' ' | b'\t'))
        {
            // A folded line, or a space before the colon.
            self.bad = true;
            return;
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value.get(1..).unwrap_or_default().trim_ascii());
                if self.length.is_some() || length.is_none() {
                    self.bad = true;
                }
                self.length = length;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    self.bad = true;
                }
                self.chunked = true;
            }
            _ => {}
        }
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (bytes.get(take..).unwrap_or_default(), left - take as u64)
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|c| *c == b';').next()?.trim_ascii();
    if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of the first bad head, none when all are good; whole and byte by byte.
    fn judge(bytes: &[u8]) -> Option<u64> {
        let one = |step: usize| {
            let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
            for piece in bytes.chunks(step) {
                scanner.scan(piece, &verdict);
            }
            (0..100).find(|number| !verdict.trusts(*number))
        };
        let whole = one(bytes.len());
        for step in [1, 2, 3, 7, 16] {
            assert_eq!(one(step), whole, "in pieces of {step}");
        }
        whole
    }

    #[test]
    fn good_requests_in_a_row_are_trusted() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
            POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab\r\nc\
            PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nT: 1\r\n\r\n\
            GET / HTTP/1.1\r\n\r\n";
        assert_eq!(judge(bytes), None);
        let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
        scanner.scan(bytes, &verdict);
        assert_eq!(verdict.heads(), 4);
        assert!(!verdict.in_head());
        scanner.scan(b"GET", &verdict);
        assert!(verdict.in_head());
    }

    #[test]
    fn ambiguous_heads_are_not_trusted() {
        for head in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length:",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Content-Length : 3",
            "X: y\r\n Content-Length: 3",
            "X: y\nContent-Length: 3",
            "no colon",
        ] {
            let bytes = format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{head}\r\n\r\nabc");
            assert_eq!(judge(bytes.as_bytes()), Some(1), "{head}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_followed_makes_all_that_follows_untrusted() {
        let bytes = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(judge(bytes), Some(1));
    }

    #[test]
    fn what_follows_an_upgrade_is_not_looked_at() {
        let bytes = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n\x00\x01";
        assert_eq!(judge(bytes), None);
    }
}
