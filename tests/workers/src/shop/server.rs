//! Listening, connections, readiness, the graceful end.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::Options;
use super::answer::answer;
use super::state::State;

/// Requests in flight get this long after SIGTERM.
const LONGEST_END: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: &Options) -> Result<()> {
    let listener = listen(options)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let state = Rc::new(State::new(options));
    let local = LocalSet::new();
    if options.ready_notify {
        let socket = notify_socket().context("--ready-notify")?;
        local.spawn_local(beat(socket));
    }
    if let Some(after) = options.hang_after {
        local.spawn_local(hang(after));
    }
    local
        .run_until(async move {
            let (ending, end) = watch::channel(false);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            let state = Rc::clone(&state);
                            connections.spawn_local(connection(stream, state, end.clone()));
                        }
                        // Out of open files, most likely: some connection must end first.
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    },
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                }
            }
            drop(listener);
            let _ = ending.send(true);
            let all = async { while connections.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(LONGEST_END, all).await;
            Ok(())
        })
        .await
}

fn listen(options: &Options) -> Result<TcpListener> {
    if let Some(inherited) = grace_os::inherit::listen_fds()?.into_iter().next() {
        let listener = std::net::TcpListener::from(inherited.fd);
        listener.set_nonblocking(true)?;
        return TcpListener::from_std(listener).context("the inherited socket");
    }
    let port = match options.port {
        Some(port) => port,
        None => std::env::var("PORT")
            .context("give --port, $PORT or a socket by LISTEN_FDS")?
            .parse()
            .context("$PORT")?,
    };
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener =
        std::net::TcpListener::bind(addr).with_context(|| format!("listening on {addr}"))?;
    listener.set_nonblocking(true)?;
    if port == 0 {
        println!("listening on {}", listener.local_addr()?);
    }
    Ok(TcpListener::from_std(listener)?)
}

async fn connection(stream: TcpStream, state: Rc<State>, mut end: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Rc::clone(&state)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // What a client did to its connection is not this worker's failure.
        _ = serving.as_mut() => return,
        _ = end.wait_for(|ending| *ending) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

/// Blocks the only thread: connections are still accepted by the kernel, and nobody answers.
pub(super) async fn hang(after: Duration) {
    tokio::time::sleep(after).await;
    eprintln!("shop-worker: told to hang after {} ms", after.as_millis());
    loop {
        std::thread::park();
    }
}

fn notify_socket() -> Result<UnixDatagram> {
    let name = std::env::var("NOTIFY_SOCKET").context("NOTIFY_SOCKET is not set")?;
    let address = match name.strip_prefix('@') {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name)?,
        None => std::os::unix::net::SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket
        .connect_addr(&address)
        .with_context(|| format!("connecting to {name}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Twice in each interval that was asked for by `WATCHDOG_USEC`, else four times a second.
async fn beat(socket: UnixDatagram) {
    let asked = std::env::var("WATCHDOG_USEC")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let pause = asked.map_or(Duration::from_millis(250), |usec| {
        Duration::from_micros(usec / 2)
    });
    let mut message: &[u8] = b"READY=1";
    let mut ticks = tokio::time::interval(pause.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        // A beat that does not fit now is followed by another; being ready is said until heard.
        if socket.send(message).is_ok() {
            message = b"WATCHDOG=1";
        }
    }
}
