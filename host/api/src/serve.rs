//! Serving: from a path and views to a running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use grace_model::port::HostViews;

use crate::listener::{OwnersListener, Peer};
use crate::route;

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
