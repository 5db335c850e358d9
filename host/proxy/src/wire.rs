//! One connection to an instance, of either version of HTTP: its own for a request at a time, or
//! shared by many. It opens none and keeps none.

use std::future::Future;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;

use crate::body::UpBody;

/// What comes of sending a request.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<UpBody>>>;

/// Where requests are given to a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    /// HTTP/1.1: one request at a time.
    Own(http1::SendRequest<UpBody>),
    /// HTTP/2: many at once.
    Shared(http2::SendRequest<UpBody>),
}

impl Sender {
    /// Sends a request; with what was not sent at all given back.
    pub(crate) fn try_send_request(
        &mut self,
        request: Request<UpBody>,
    ) -> impl Future<Output = Sent> + use<> {
        match self {
            Sender::Own(sender) => Either::Left(sender.try_send_request(request)),
            Sender::Shared(sender) => Either::Right(sender.try_send_request(request)),
        }
    }
}

/// Runs what HTTP/2 does beside on the thread that it is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here;

impl<F> Executor<F> for Here
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}
