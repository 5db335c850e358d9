//! A worker process: this test binary started again with a variable in its environment. A plain
//! HTTP server on threads, whose faults are switched on by its own port.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use grace_model::instance::{ExitCause, ProcessId};

use crate::client;

const VARIABLE: &str = "GRACE_PROXY_TEST_WORKER";
/// Whether it speaks HTTP/2.
const TWO: &str = "GRACE_PROXY_TEST_TWO";
/// Where it listens beside its port.
const UNIX: &str = "GRACE_PROXY_TEST_UNIX";

/// A running worker.
pub struct Worker {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its identity.
    pub process: ProcessId,
}

/// A request as the worker saw it.
struct Request {
    method: String,
    path: String,
    headers: String,
    id: String,
    body: Vec<u8>,
}

#[derive(Default)]
struct Shop {
    name: String,
    /// What is done with requests: `ok`, `fail`, `hang`, `close`, `sick`.
    mode: Mutex<String>,
    /// How often each `x-id` was seen.
    seen: Mutex<HashMap<String, u32>>,
    /// Requests at work on `/work`, of which there are never more than `PLACES`.
    work: Mutex<usize>,
    /// Requests on `/gather`.
    gathered: Mutex<usize>,
    changed: Condvar,
}

/// Requests of `/work` that are served at once; others wait.
const PLACES: usize = 4;

impl Worker {
    /// Starts one that answers with this name.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, |_| {})
    }

    /// Starts one that also listens on this Unix socket.
    pub fn start_unix(name: &str, path: &std::path::Path) -> Self {
        Self::start_with(name, |command| {
            command.env(UNIX, path);
        })
    }

    /// Starts one that speaks HTTP/2.
    pub fn start_two(name: &str) -> Self {
        Self::start_with(name, |command| {
            command.env(TWO, "1");
        })
    }

    fn start_with(name: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "worker::a_worker_process_serves", "--nocapture"])
            .env(VARIABLE, name);
        change(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines
                .next()
                .expect("the worker ended at its start")
                .unwrap();
            if let Some((_, port)) = line.split_once("PORT ") {
                break port.trim().parse::<u16>().unwrap();
            }
        };
        let process = grace_os::process::identity(child.id()).unwrap();
        Self {
            child,
            addr: ([127, 0, 0, 1], port).into(),
            process,
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: grace_os::Signal) {
        let handle = grace_os::pidfd::open(self.child.id()).unwrap();
        grace_os::pidfd::send_signal(&handle, signal).unwrap();
    }

    /// Waits for its end; how it ended.
    pub fn wait(&mut self) -> ExitCause {
        let status = self.child.wait().unwrap();
        match (status.signal(), status.code()) {
            (Some(signal), _) => ExitCause::Signal(signal),
            (None, Some(code)) => ExitCause::Code(code),
            _ => ExitCause::Unknown,
        }
    }

    /// Switches its mode, by its own port.
    pub fn mode(&self, mode: &str) {
        let answer = client::get(self.addr, &format!("/mode/{mode}"));
        assert_eq!(answer.status, 200);
    }

    /// How often it has seen a request with this `x-id`.
    pub fn seen(&self, id: &str) -> u32 {
        client::get(self.addr, &format!("/seen/{id}"))
            .text()
            .parse()
            .unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_worker_process_serves() {
    let Ok(name) = std::env::var(VARIABLE) else {
        return;
    };
    // It ends with the test that started it, however that one ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if std::env::var(TWO).is_ok() {
        println!("PORT {}", listener.local_addr().unwrap().port());
        return crate::two::serve(listener, name);
    }
    let shop = Arc::new(Shop {
        name,
        mode: Mutex::new("ok".into()),
        ..Shop::default()
    });
    if let Ok(path) = std::env::var(UNIX) {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let shop = Arc::clone(&shop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shop = Arc::clone(&shop);
                // Both kinds of stream are the same to read and write.
                let fd = std::os::fd::OwnedFd::from(stream.unwrap());
                std::thread::spawn(move || serve(&shop, TcpStream::from(fd)));
            }
        });
    }
    println!("PORT {}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        let shop = Arc::clone(&shop);
        std::thread::spawn(move || serve(&shop, stream.unwrap()));
    }
}

fn serve(shop: &Shop, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    if shop.mode.lock().unwrap().as_str() == "raw" {
        raw(shop, reader, writer);
        return;
    }
    while let Some(request) = read(&mut reader) {
        if !answer(shop, &request, &mut reader, &mut writer) {
            return;
        }
        if request.headers.contains("connection: close") {
            return;
        }
    }
}

/// Speaks first, then says every line back with its name, or does what the line asks for. A
/// PROXY header of version 1 is but a line.
fn raw(shop: &Shop, mut reader: BufReader<TcpStream>, mut writer: TcpStream) {
    let _ = writer.write_all(b"220 ready\n");
    let mut line = String::new();
    while matches!(reader.read_line(&mut line), Ok(1..)) {
        match line.trim_end() {
            "GET /mode/ok HTTP/1.1" => {
                *shop.mode.lock().unwrap() = "ok".to_owned();
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            word => {
                let _ = writer.write_all(format!("{} {word}\n", shop.name).as_bytes());
            }
        }
        line.clear();
    }
    let _ = writer.write_all(format!("{} bye\n", shop.name).as_bytes());
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        headers.push_str(&line.to_lowercase());
    }
    let header = |name: &str| {
        let line = headers.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    if path == "/early" {
        // Begins to answer before it has read the body.
        return Some(Request {
            method,
            path,
            headers,
            id: String::new(),
            body: Vec::new(),
        });
    }
    if path == "/deaf" {
        // Never reads a byte of the body.
        std::thread::sleep(Duration::from_secs(600));
        return None;
    }
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            chunk.truncate(size);
            body.extend(chunk);
        }
    }
    let id = header("x-id").unwrap_or_default();
    Some(Request {
        method,
        path,
        headers,
        id,
        body,
    })
}

/// False when the connection is done.
fn answer(
    shop: &Shop,
    request: &Request,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
) -> bool {
    if !request.id.is_empty() {
        *shop
            .seen
            .lock()
            .unwrap()
            .entry(request.id.clone())
            .or_default() += 1;
    }
    let mode = shop.mode.lock().unwrap().clone();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if let Some(mode) = path.strip_prefix("/mode/") {
        *shop.mode.lock().unwrap() = mode.to_owned();
        return say(writer, shop, request, 200, b"");
    }
    if let Some(id) = path.strip_prefix("/seen/") {
        let count = shop.seen.lock().unwrap().get(id).copied().unwrap_or(0);
        return say(writer, shop, request, 200, count.to_string().as_bytes());
    }
    if path == "/healthz" {
        return say(
            writer,
            shop,
            request,
            if mode == "sick" { 503 } else { 200 },
            b"",
        );
    }
    match mode.as_str() {
        "fail" => return say(writer, shop, request, 500, b"broken"),
        "hang" => {
            std::thread::sleep(Duration::from_secs(600));
            return false;
        }
        "close" => return false,
        _ => {}
    }
    match path {
        "/abort" => std::process::abort(),
        "/exit" => std::process::exit(3),
        "/close" => false,
        "/sleep" => {
            std::thread::sleep(Duration::from_millis(query.parse().unwrap()));
            say(writer, shop, request, 200, b"slept")
        }
        "/work" => {
            let mut work = shop.work.lock().unwrap();
            while *work >= PLACES {
                work = shop.changed.wait(work).unwrap();
            }
            *work += 1;
            drop(work);
            std::thread::sleep(Duration::from_millis(query.parse().unwrap()));
            *shop.work.lock().unwrap() -= 1;
            shop.changed.notify_all();
            say(writer, shop, request, 200, b"worked")
        }
        "/gather" => {
            // None is answered before so many are here at once.
            let mut gathered = shop.gathered.lock().unwrap();
            *gathered += 1;
            shop.changed.notify_all();
            while *gathered < query.parse::<usize>().unwrap() {
                gathered = shop.changed.wait(gathered).unwrap();
            }
            drop(gathered);
            say(writer, shop, request, 200, b"gathered")
        }
        "/echo" => {
            let mut text = format!("{} {}\n{}\n", request.method, request.path, request.headers);
            text.push_str(&String::from_utf8_lossy(&request.body));
            say(writer, shop, request, 200, text.as_bytes())
        }
        "/length" => say(
            writer,
            shop,
            request,
            200,
            request.body.len().to_string().as_bytes(),
        ),
        "/big" => say(
            writer,
            shop,
            request,
            200,
            &vec![b'x'; query.parse::<usize>().unwrap()],
        ),
        "/chunks" => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut good = writer.write_all(head.as_bytes()).is_ok();
            for _ in 0..query.parse::<usize>().unwrap() {
                good &= writer.write_all(b"6\r\nchunk\n\r\n").is_ok();
            }
            good && writer.write_all(b"0\r\n\r\n").is_ok()
        }
        "/half" => {
            let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            false
        }
        "/early" => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = writer.write_all(head);
            for _ in 0..6_000 {
                if writer.write_all(b"6\r\nchunk\n\r\n").is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        }
        "/stall" => {
            let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            std::thread::sleep(Duration::from_secs(600));
            false
        }
        "/upgrade" => {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
            let _ = writer.write_all(head.as_bytes());
            let mut bytes = [0; 1024];
            while let Ok(count) = reader.read(&mut bytes) {
                if count == 0 || writer.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            false
        }
        _ => say(writer, shop, request, 200, b"hello"),
    }
}

fn say(writer: &mut TcpStream, shop: &Shop, request: &Request, status: u16, body: &[u8]) -> bool {
    let head = format!(
        "HTTP/1.1 {status} Said\r\nX-Worker: {}\r\nX-Id: {}\r\nContent-Length: {}\r\n\r\n",
        shop.name,
        request.id,
        body.len()
    );
    let body = if request.method == "HEAD" { b"" } else { body };
    writer.write_all(&[head.as_bytes(), body].concat()).is_ok()
}
