//! As much WebSocket (RFC 6455) as an echo needs: handshake, whole and split messages, ping,
//! close.

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::answer::{Body, json_answer};

/// Longer frames end the connection.
const LONGEST_FRAME: u64 = 1024 * 1024;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Answers the handshake and echoes from then on.
pub fn upgrade(request: Request<Incoming>) -> Response<Body> {
    let wants = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = request
        .headers()
        .get("sec-websocket-key")
        .map(|key| accept_key(key.as_bytes()));
    let accept = key.and_then(|key| HeaderValue::from_str(&key).ok());
    let (true, Some(accept)) = (wants, accept) else {
        let body = json!({ "error": "a WebSocket handshake is needed here" });
        return json_answer(StatusCode::UPGRADE_REQUIRED, &body);
    };
    tokio::task::spawn_local(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // A client that goes away ends its echo and nothing else.
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert("sec-websocket-accept", accept);
    response
}

/// Sends back every message until a close frame or the end of the stream.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    loop {
        let first = stream.read_u8().await?;
        let (fin, opcode) = (first & 0x80, first & 0x0f);
        let second = stream.read_u8().await?;
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        if second & 0x80 == 0 || length > LONGEST_FRAME {
            bail!("an unmasked frame, or one of {length} bytes");
        }
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; usize::try_from(length)?];
        stream.read_exact(&mut payload).await?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        match opcode {
            PING => send(&mut stream, 0x80 | PONG, &payload).await?,
            PONG => {}
            CLOSE => {
                send(&mut stream, 0x80 | CLOSE, &payload).await?;
                return Ok(());
            }
            // A split message comes back split in the same way.
            _ => send(&mut stream, fin | opcode, &payload).await?,
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> Result<()> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}

fn accept_key(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&sha1(&text))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut word = three
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        word <<= 8 * 3_usize.saturating_sub(three.len());
        for place in 0..4_usize {
            let letter = LETTERS.get((word >> (18 - 6 * place) & 63) as usize);
            text.push(if place > three.len() {
                '='
            } else {
                letter.map_or('=', |l| char::from(*l))
            });
        }
    }
    text
}

/// SHA-1 as the handshake demands it; of no use for secrets.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64).saturating_mul(8).to_be_bytes());
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xEFCD_AB89,
        0x98BA_DCFE,
        0x1032_5476,
        0xC3D2_E1F0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> = block
            .chunks_exact(4)
            .map(|four| {
                four.iter()
                    .fold(0, |word, byte| word << 8 | u32::from(*byte))
            })
            .collect();
        for at in 16..80_usize {
            let word = |back: usize| words.get(at - back).copied().unwrap_or_default();
            let next = (word(3) ^ word(8) ^ word(14) ^ word(16)).rotate_left(1);
            words.push(next);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.into_iter().enumerate() {
            let (mix, constant) = match round / 20 {
                0 => ((b & c) | (!b & d), 0x5A82_7999),
                1 => (b ^ c ^ d, 0x6ED9_EBA1),
                2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mix)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (to, from) in digest
        .iter_mut()
        .zip(state.iter().flat_map(|word| word.to_be_bytes()))
    {
        *to = from;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_standards_example() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn the_digest_of_a_message_over_several_blocks_is_right() {
        let hex = |bytes: [u8; 20]| bytes.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(sha1(b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hex(sha1(&[b'a'; 1_000_000])),
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
        );
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"a"), "YQ==");
    }
}
