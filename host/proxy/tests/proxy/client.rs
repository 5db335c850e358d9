//! A client that sends raw bytes and reads one answer after the other.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Generous: a loaded machine may take its time, a lost answer takes for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Which worker answered.
    pub fn worker(&self) -> &str {
        self.headers.get("x-worker").map_or("", String::as_str)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// Whether the other end has closed without another byte.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", b"")
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(method, path, headers, body);
        self.answer(method)
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: shop\r\n{headers}");
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.write([head.as_bytes(), body].concat());
    }

    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).expect("an answer")
    }

    /// None when the connection ends before the answer does.
    pub fn try_answer(&mut self, method: &str) -> Option<Answer> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let status: u16 = line.split_whitespace().nth(1)?.parse().ok()?;
            let mut headers = HashMap::new();
            loop {
                let mut line = String::new();
                self.reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim().split_once(':') else {
                    break;
                };
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
            if status == 100 {
                continue;
            }
            let body = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
                Vec::new()
            } else {
                self.body(&headers)?
            };
            return Some(Answer {
                status,
                headers,
                body,
            });
        }
    }

    fn body(&mut self, headers: &HashMap<String, String>) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            body = vec![0; length.parse().ok()?];
            self.reader.read_exact(&mut body).ok()?;
        } else if headers.contains_key("transfer-encoding") {
            loop {
                let mut size = String::new();
                self.reader.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                self.reader.read_exact(&mut chunk).ok()?;
                if size == 0 {
                    break;
                }
                body.extend(&chunk[..size]);
            }
        } else {
            self.reader.read_to_end(&mut body).ok()?;
        }
        Some(body)
    }
}

/// One GET on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> Answer {
    Client::connect(addr).get(path)
}
