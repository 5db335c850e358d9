//! A supervisor that is played: it sends the tables it is told to and remembers what it heard.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use grace_model::ipc::{Answer, Request, Table};

/// The played supervisor.
pub struct Supervisor {
    socket: PathBuf,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
}

#[derive(Default)]
struct Inner {
    lines: Mutex<Vec<UnixStream>>,
    heard: Mutex<Vec<Request>>,
    table: Mutex<Option<Table>>,
}

impl Supervisor {
    pub fn start(socket: &Path) -> Self {
        let mut it = Self {
            socket: socket.to_owned(),
            inner: Arc::default(),
            thread: None,
            ending: Arc::default(),
        };
        it.live();
        it
    }

    /// Begins to listen, after its start or its death.
    pub fn live(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        let inner = Arc::clone(&self.inner);
        self.ending = Arc::default();
        let ending = Arc::clone(&self.ending);
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let inner = Arc::clone(&inner);
                let stream = stream.unwrap();
                std::thread::spawn(move || inner.listen(stream));
            }
        }));
    }

    /// Loses all lines and listens no more.
    pub fn die(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let _ = std::fs::remove_file(&self.socket);
        for line in self.inner.lines.lock().unwrap().drain(..) {
            let _ = line.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sends a table, now and to whoever subscribes later.
    pub fn publish(&self, table: Table) {
        *self.inner.table.lock().unwrap() = Some(table.clone());
        self.inner.say(&Answer::Table(table));
    }

    pub fn say(&self, answer: &Answer) {
        self.inner.say(answer);
    }

    /// All that was heard.
    pub fn heard(&self) -> Vec<Request> {
        self.inner.heard.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.inner.heard.lock().unwrap().clear();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.die();
    }
}

impl Inner {
    fn listen(&self, stream: UnixStream) {
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { return };
            let request: Request = serde_json::from_str(&line).unwrap();
            if request == Request::Subscribe {
                let table = self.table.lock().unwrap();
                self.lines.lock().unwrap().push(stream.try_clone().unwrap());
                if let Some(table) = &*table {
                    send(&stream, &Answer::Table(table.clone()));
                }
            }
            self.heard.lock().unwrap().push(request);
        }
    }

    fn say(&self, answer: &Answer) {
        for line in &*self.lines.lock().unwrap() {
            send(line, answer);
        }
    }
}

fn send(mut stream: &UnixStream, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap();
    line.push(b'\n');
    // A line that broke is seen by who listens to it.
    let _ = stream.write_all(&line);
}
