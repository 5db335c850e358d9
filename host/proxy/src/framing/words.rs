//! What single lines say about framing. Strict: what could be read in two ways is bad.

/// What a head has said so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) upgrade: bool,
    pub(super) bad: bool,
}

impl Head {
    /// Takes a header line.
    pub(super) fn read(&mut self, line: &[u8]) {
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

fn decimal(text: &[u8]) -> Option<u64> {
    // Twenty digits may be more than a u64 holds; more than that is a trick.
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The size that a chunk's line says, when it says one in the one right way.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let (size, extensions) = match memchr::memchr(b';', line) {
        Some(at) => line.split_at(at),
        None => (line, &b""[..]),
    };
    if extensions
        .iter()
        .any(|c| c.is_ascii_control() && *c != b'\t')
    {
        return None;
    }
    if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}
