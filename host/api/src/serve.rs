//! Serving: from a path and views to a running server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use grace_model::port::HostViews;

use crate::listener::{OwnersListener, Peer};
use crate::route;

/// Time between two tries to have an address that is taken.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the API is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket could not be made.
    #[error("cannot listen on {}: {source}; is the state directory writable and not full?", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the server on {} ended: {source}", path.display())]
    Ended {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Serves the API on `socket` until the future is dropped, and counts what it answered. Needs a
/// tokio runtime.
///
/// # Errors
/// [`ServeError`] when the socket cannot be made or the server ends.
pub async fn serve(
    socket: &Path,
    views: Arc<dyn HostViews>,
    answered: Arc<AtomicU64>,
) -> Result<(), ServeError> {
    let listener = OwnersListener::bind(socket).map_err(|source| ServeError::Bind {
        path: socket.to_owned(),
        source,
    })?;
    let count = from_fn(move |request: Request, next: Next| {
        let answered = Arc::clone(&answered);
        async move {
            let answer = next.run(request).await;
            answered.fetch_add(1, Ordering::Relaxed);
            answer
        }
    });
    let service = route::all(views)
        .layer(count)
        .into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service)
        .await
        .map_err(|source| ServeError::Ended {
            path: socket.to_owned(),
            source,
        })
}

/// Serves `GET /metrics`, and nothing else, on a TCP address until the future is dropped. An
/// address that is taken is tried again for ever, since who has it may go; `told` hears once
/// where it listens, or why not yet. Needs a tokio runtime.
///
/// # Errors
/// [`std::io::Error`] when the server ends.
pub async fn serve_metrics(
    addr: SocketAddr,
    views: Arc<dyn HostViews>,
    mut told: impl FnMut(Result<SocketAddr, std::io::Error>),
) -> std::io::Result<()> {
    let mut refused = false;
    let listener = loop {
        match tokio::net::TcpListener::bind(addr).await {
            Ok(listener) => break listener,
            Err(error) if !refused => {
                refused = true;
                told(Err(error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    };
    told(listener.local_addr());
    axum::serve(listener, route::scraped(views)).await
}
