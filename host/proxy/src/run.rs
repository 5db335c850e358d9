//! The proxy as a process: takes its listening sockets, starts its threads, ends in order.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use grace_model::config::Config;
use grace_model::id::ServiceName;
use grace_model::layout::Layout;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{Control, NEWS, News};
use crate::door;
use crate::record::Record;
use crate::recorder::Disk;
use crate::routes::{Shared, reports};
use crate::thread::{self, Place};

/// Why the proxy ended or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The configuration is not there or not readable.
    #[error("{}: {problem}; `grace up` writes it, start the proxy by that", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The inherited sockets are not what they should be.
    #[error("inherited sockets: {problem}; the supervisor passes them as listen:SERVICE:N")]
    Inherited {
        /// What is wrong with them.
        problem: String,
    },
    /// A resource that the proxy cannot be without.
    #[error("{what}: {source}")]
    Io {
        /// What was wanted.
        what: String,
        /// Why it was not had.
        source: io::Error,
    },
    /// A thread of the data plane ended by itself.
    #[error(
        "thread {thread} of the data plane ended: {problem}; the supervisor starts a new proxy"
    )]
    Thread {
        /// Which.
        thread: usize,
        /// Why.
        problem: String,
    },
}

/// How a proxy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Requests in flight may end, for a few seconds; everything else is closed.
    Now,
    /// Another proxy accepts from the same sockets already. Connections that are used are told to
    /// go by their next answer, and tunnels may end, for half a minute. The journal is given up
    /// at once: it is the successor's.
    Succeeded,
}

/// One listening socket of a service.
#[derive(Debug)]
pub struct Listener {
    /// Whose.
    pub service: ServiceName,
    /// Which of the service's, from 0.
    pub number: usize,
    /// It.
    pub fd: OwnedFd,
}

/// The proxy process: serves with the configuration in the state directory and the inherited
/// sockets until SIGTERM, or until SIGUSR2, which says that it has a successor.
///
/// # Errors
/// [`ProxyError`] when it cannot start, or a thread of it has ended.
pub fn main(state_dir: &Path) -> Result<(), ProxyError> {
    let layout = Layout::new(state_dir);
    let path = layout.config();
    let wrong = |problem: String| ProxyError::Config {
        path: layout.config(),
        problem,
    };
    let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let listeners = inherited()?;
    serve(&layout, &config.proxy, listeners, async {
        let caught = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::user_defined2())?)));
        match caught {
            Ok((mut terminate, mut succeeded)) => tokio::select! {
                _ = terminate.recv() => End::Now,
                _ = succeeded.recv() => End::Succeeded,
            },
            Err(error) => {
                tracing::warn!(%error, "signals cannot be caught; they will end the proxy at once");
                std::future::pending().await
            }
        }
    })
}

/// Serves until `stop`, then ends as it says.
///
/// # Errors
/// [`ProxyError`] when it cannot start, or a thread of it has ended.
pub fn serve(
    layout: &Layout,
    settings: &grace_model::config::Proxy,
    listeners: Vec<Listener>,
    stop: impl Future<Output = End>,
) -> Result<(), ProxyError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| ProxyError::Io { what, source }
    };
    let born = Instant::now();
    let threads = usize::try_from(settings.threads).unwrap_or(1).max(1);
    let shared = Arc::new(Shared::new(settings.clone(), threads));
    let (tell, told) = reports();

    let mut shares: Vec<Vec<(ServiceName, std::net::TcpListener)>> = Vec::new();
    shares.resize_with(threads, Vec::new);
    let mut named = Vec::new();
    for listener in listeners {
        let copy = listener
            .fd
            .try_clone()
            .map_err(failed("a copy of a listening socket"))?;
        named.push((
            format!("listen:{}:{}", listener.service, listener.number),
            copy,
        ));
        // Every listener is accepted on, also when there are more of them than threads: one
        // that is held and not accepted on hangs its share of the connections.
        if let Some(share) = shares.get_mut(listener.number % threads) {
            share.push((listener.service, listener.fd.into()));
        }
    }

    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut running = Vec::new();
    for (thread, listeners) in shares.into_iter().enumerate() {
        let place = Place {
            thread,
            listeners,
            shared: Arc::clone(&shared),
            reports: tell.clone(),
            born,
        };
        let ended = ended.clone();
        let work = move || {
            let end = Ended {
                thread,
                ended,
                problem: "it panicked".to_owned(),
            };
            end.with(thread::run(place));
        };
        let name = format!("proxy-{thread}");
        let handle = std::thread::Builder::new().name(name).spawn(work);
        running.push(handle.map_err(failed("a thread"))?);
    }

    let record = Record::start(layout.journal("proxy")).map_err(failed("the journal's thread"))?;
    let disk = Disk::start(layout.recordings(), born).map_err(failed("the recordings' thread"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(failed("the control thread's runtime"))?;
    let result = runtime.block_on(async {
        let path = layout.proxy_socket();
        let listener =
            door::bind(&path).map_err(failed(&format!("the socket {}", path.display())))?;
        let (news, heard) = mpsc::channel(NEWS);
        tokio::task::spawn_local(door::serve(listener, Rc::new(named), news.clone()));
        let leaving = news.clone();
        let control = Control::new(
            Arc::clone(&shared),
            record,
            disk,
            news,
            (born, layout.chaos()),
        );
        tokio::task::spawn_local(control.run(layout.supervisor_socket(), heard, told));
        tokio::select! {
            end = stop => {
                tracing::info!(?end, "ending; requests in flight may end first");
                if end == End::Succeeded {
                    // Control lives on: requests in flight go by the newest table.
                    let _ = leaving.send(News::Succeeded).await;
                    shared.succeeded.store(true, Ordering::Relaxed);
                }
                shared.closing.store(true, Ordering::Relaxed);
                shared.bump();
                for _ in 0..threads {
                    ends.recv().await;
                }
                Ok(())
            }
            Some((thread, problem)) = ends.recv() => Err(ProxyError::Thread { thread, problem }),
        }
    });
    if result.is_ok() {
        for thread in running {
            // It has said its end already.
            let _ = thread.join();
        }
    }
    result
}

/// Tells that a thread has ended, also when it panicked.
struct Ended {
    thread: usize,
    ended: mpsc::UnboundedSender<(usize, String)>,
    problem: String,
}

impl Ended {
    fn with(mut self, result: io::Result<()>) {
        self.problem = match result {
            Ok(()) => "it was done".to_owned(),
            Err(error) => error.to_string(),
        };
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody listens once the process is ending.
        let _ = self
            .ended
            .send((self.thread, std::mem::take(&mut self.problem)));
    }
}

/// The listening sockets that the supervisor passed.
fn inherited() -> Result<Vec<Listener>, ProxyError> {
    let wrong = |problem: String| ProxyError::Inherited { problem };
    let inherited = grace_os::inherit::listen_fds().map_err(|error| wrong(error.to_string()))?;
    // The names hold colons, which also part them.
    let listed = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names(&listed, inherited.len())
        .ok_or_else(|| wrong(format!("LISTEN_FDNAMES={listed:?} does not name them")))?;
    let listeners = inherited.into_iter().zip(names);
    Ok(listeners
        .map(|(it, (service, number))| Listener {
            service,
            number,
            fd: it.fd,
        })
        .collect())
}

fn names(listed: &str, count: usize) -> Option<Vec<(ServiceName, usize)>> {
    let words: Vec<&str> = listed.split(':').filter(|word| !word.is_empty()).collect();
    let found: Option<Vec<_>> = words
        .chunks(3)
        .map(|name| match name {
            ["listen", service, number] => {
                Some((ServiceName::parse(service).ok()?, number.parse().ok()?))
            }
            _ => None,
        })
        .collect();
    found.filter(|found| found.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_colons_in_a_list_with_colons_are_told_apart() {
        let list = "listen:shop:0:listen:shop:1:listen:my-api:0";
        let found = names(list, 3).unwrap();
        assert_eq!(found[1], (ServiceName::from("shop"), 1));
        assert_eq!(found[2], (ServiceName::from("my-api"), 0));
        assert!(names(list, 2).is_none());
        assert!(names("listen:shop", 1).is_none());
        assert_eq!(names("", 0), Some(Vec::new()));
    }
}
