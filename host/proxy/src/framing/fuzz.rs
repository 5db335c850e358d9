//! The corpus of heads, and what grows out of it: scanner and hyper together hand on exactly the
//! requests that a strict reader finds in the same bytes, and never one more. Stable Rust, no
//! fuzzing engine; each failure prints its bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fs, io};

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Scanner, Verdict};

/// What an instance gets of a request, as far as framing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    headers: usize,
    body: Vec<u8>,
}

/// A connection on which all bytes have come, in pieces.
struct Bytes {
    left: Vec<u8>,
    piece: usize,
    scanner: Scanner,
    verdict: Arc<Verdict>,
}

impl AsyncRead for Bytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let count = this.piece.min(this.left.len()).min(buf.remaining());
        let piece: Vec<u8> = this.left.drain(..count).collect();
        if this.scanner.scan(&piece, &this.verdict).is_err() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the proxy's two parsers let through, whole requests only.
fn passed(bytes: &[u8], piece: usize) -> Vec<Seen> {
    let verdict = Arc::new(Verdict::default());
    let io = Bytes {
        left: bytes.to_vec(),
        piece,
        scanner: Scanner::default(),
        verdict: Arc::clone(&verdict),
    };
    let all = Rc::new(RefCell::new(Vec::new()));
    let taken = RefCell::new(0);
    let found = Rc::clone(&all);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let number = taken.replace_with(|count| *count + 1);
        let trusted = verdict.trusts(number);
        let found = Rc::clone(&found);
        async move {
            let (parts, body) = request.into_parts();
            // As the proxy does it: one that is not trusted ends the connection.
            let mut answer = http::Response::new(Empty::<bytes::Bytes>::new());
            let whole = body.collect().await;
            match whole {
                Ok(body) if trusted && parts.method != http::Method::CONNECT => {
                    found.borrow_mut().push(Seen {
                        method: parts.method.to_string(),
                        target: parts.uri.to_string(),
                        headers: parts.headers.len(),
                        body: body.to_bytes().to_vec(),
                    });
                    if parts.headers.contains_key(http::header::UPGRADE) {
                        close(&mut answer);
                    }
                }
                _ => close(&mut answer),
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        // An error is how bad bytes end.
        let _ = Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(io), service)
            .await;
    });
    all.take()
}

fn close(answer: &mut http::Response<Empty<bytes::Bytes>>) {
    let close = http::HeaderValue::from_static("close");
    answer.headers_mut().insert(http::header::CONNECTION, close);
}

/// A strict and slow reader, by the letter of RFC 9112 and what is refused beyond it.
fn strict(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some((seen, rest, last)) = request(bytes) {
        all.push(seen);
        if last {
            break;
        }
        bytes = rest;
    }
    all
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|c| *c == b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    let clean = line.iter().all(|c| *c == b'\t' || !c.is_ascii_control());
    clean.then_some((line, &bytes[end + 1..]))
}

fn token(text: &[u8]) -> bool {
    let good = |c: &u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.iter().all(good)
}

/// A request, what follows it, and whether the connection ends with it.
fn request(mut bytes: &[u8]) -> Option<(Seen, &[u8], bool)> {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let (first, mut bytes) = line(bytes)?;
    let words: Vec<&[u8]> = first.split(|c| *c == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let old = version == b"HTTP/1.0";
    if !token(method) || target.is_empty() || !(old || version == b"HTTP/1.1") {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let (header, rest) = line(bytes)?;
        bytes = rest;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|c| *c == b':')?;
        if !token(&header[..colon]) {
            return None;
        }
        let name = header[..colon].to_ascii_lowercase();
        headers.push((name, header[colon + 1..].trim_ascii().to_vec()));
    }
    let of = |name: &str| -> Vec<&Vec<u8>> {
        let it = headers.iter().filter(|(it, _)| it == name.as_bytes());
        it.map(|(_, value)| value).collect()
    };
    let has = |name: &str, word: &str| {
        of(name).iter().any(|value| {
            let mut words = value.split(|c| *c == b',');
            words.any(|it| it.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    let (body, rest) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), bytes),
        ([length], []) if length.iter().all(u8::is_ascii_digit) => {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            (bytes.get(..length)?.to_vec(), &bytes[length..])
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !old => chunks(bytes)?,
        _ => return None,
    };
    let keeps = if old {
        has("connection", "keep-alive")
    } else {
        !has("connection", "close")
    };
    let last = !keeps || !of("upgrade").is_empty();
    let seen = Seen {
        method: String::from_utf8_lossy(method).into_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        headers: headers.len(),
        body,
    };
    Some((seen, rest, last))
}

fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (size, rest) = line(bytes)?;
        let digits = size.split(|c| *c == b';').next()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        body.extend(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, rest) = line(bytes)?;
        bytes = rest;
        if trailer.is_empty() {
            return Some((body, bytes));
        }
        let colon = trailer.iter().position(|c| *c == b':')?;
        if !token(&trailer[..colon]) {
            return None;
        }
    }
}

/// A target without what may be written in two ways: `http://a` is `HTTP://a/`.
fn plain(target: &str) -> String {
    target.replace('/', "").to_ascii_lowercase()
}

/// What passes is what a strict reader reads, or the beginning of it; how many requests.
fn check(bytes: &[u8], pieces: &[usize]) -> usize {
    let strict = strict(bytes);
    let mut count = 0;
    for piece in pieces {
        let passed = passed(bytes, *piece);
        let shown = String::from_utf8_lossy(bytes);
        assert!(passed.len() <= strict.len(), "{passed:?} of {shown:?}");
        for (ours, theirs) in passed.iter().zip(&strict) {
            assert_eq!(ours.method, theirs.method, "{shown:?}");
            assert_eq!(ours.headers, theirs.headers, "{shown:?}");
            assert_eq!(ours.body, theirs.body, "{shown:?}");
            assert_eq!(plain(&ours.target), plain(&theirs.target), "{shown:?}");
        }
        count = passed.len();
    }
    count
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/heads");
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_head_of_the_corpus_passes_or_is_refused_as_its_name_says() {
    let corpus = corpus();
    assert!(corpus.len() >= 40, "{} files", corpus.len());
    for (name, bytes) in corpus {
        let wanted: usize = name[..1].parse().unwrap();
        let count = check(&bytes, &[1, 2, 7, bytes.len().max(1)]);
        assert_eq!(count, wanted, "requests that pass of {name}");
    }
}

#[test]
fn what_a_strict_reader_does_not_read_never_passes() {
    let corpus = corpus();
    let mut dice = fastrand::Rng::with_seed(0x9112);
    let scraps: [&[u8]; 24] = [
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b";",
        b",",
        b"#",
        b"0",
        b"1",
        b"5",
        b"a",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: x\r\n",
        b"Connection: close\r\n",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"\x80",
        b"+",
    ];
    let mut passing = 0;
    for _ in 0..40_000 {
        let mut bytes = corpus[dice.usize(..corpus.len())].1.clone();
        if dice.u8(..4) == 0 {
            bytes.extend(&corpus[dice.usize(..corpus.len())].1);
        }
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(..=bytes.len());
            let end = (at + dice.usize(..4)).min(bytes.len());
            let scrap: &[u8] = match dice.u8(..4) {
                0 => b"",
                1 => &[dice.u8(..)],
                _ => scraps[dice.usize(..scraps.len())],
            };
            bytes.splice(at..end, scrap.iter().copied());
        }
        if bytes.len() < 4_096 {
            let piece = if dice.bool() {
                dice.usize(1..40)
            } else {
                4_096
            };
            passing += check(&bytes, &[piece]);
        }
    }
    assert!(passing > 4_000, "only {passing} requests passed at all");
}
