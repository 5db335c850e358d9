//! Answers that the proxy gives itself, each with its cause as one line of JSON.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::body::OutBody;

/// Why a request gets no instance's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its framing can be read in two ways.
    Ambiguous,
    /// No host, or several.
    BadHost,
    /// CONNECT.
    Connect,
    /// Its body broke off or is malformed.
    BadBody,
    /// Its body comes too slowly.
    SlowBody,
    /// No instance takes requests.
    NoInstance,
    /// No instance takes requests, and as many wait for one as may.
    QueueFull,
    /// All instances have as many requests as they can use, and it has waited long enough.
    Shed,
    /// The instance could not be reached, and neither could others.
    Unreachable,
    /// The instance broke the connection without an answer.
    BrokeOff,
    /// The instance died of its own with the request in flight.
    Suspect,
    /// No answer within the time allowed.
    TimedOut,
}

impl Refusal {
    /// By the mapping of HTTP's statuses to gRPC's in its documentation (http-grpc-status-mapping).
    fn status_of_grpc(self, error: &'static str, message: &'static str) -> Response<OutBody> {
        let code = match self.parts().0 {
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => "4",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => "14",
            _ => "13",
        };
        let mut answer = Response::new(OutBody::Empty);
        let headers = answer.headers_mut();
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("grpc-status", code),
            ("grpc-message", message),
            ("x-grace-error", error),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Refusal::Ambiguous => (
                S::BAD_REQUEST,
                "ambiguous-framing",
                "the request's length can be read in two ways",
            ),
            Refusal::BadHost => (
                S::BAD_REQUEST,
                "bad-host",
                "exactly one valid Host header is needed",
            ),
            Refusal::Connect => (
                S::METHOD_NOT_ALLOWED,
                "connect",
                "CONNECT is not offered here",
            ),
            Refusal::BadBody => (
                S::BAD_REQUEST,
                "bad-body",
                "the request's body broke off or is malformed",
            ),
            Refusal::SlowBody => (
                S::REQUEST_TIMEOUT,
                "slow-body",
                "the request's body came too slowly",
            ),
            Refusal::NoInstance => (
                S::SERVICE_UNAVAILABLE,
                "no-instance",
                "no instance of the service is ready",
            ),
            Refusal::QueueFull => (
                S::SERVICE_UNAVAILABLE,
                "queue-full",
                "no instance of the service is ready, and no more requests may wait for one",
            ),
            Refusal::Shed => (
                S::SERVICE_UNAVAILABLE,
                "overloaded",
                "the instances of the service have as many requests as they can use",
            ),
            Refusal::Unreachable => (
                S::BAD_GATEWAY,
                "unreachable",
                "no instance could be connected to",
            ),
            Refusal::BrokeOff => (
                S::BAD_GATEWAY,
                "broke-off",
                "the instance ended the connection without an answer",
            ),
            Refusal::Suspect => (
                S::BAD_GATEWAY,
                "suspect",
                "the instance died of its own with this request in flight, so it was not tried \
                 on another",
            ),
            Refusal::TimedOut => (
                S::GATEWAY_TIMEOUT,
                "timed-out",
                "the instance did not answer in time",
            ),
        }
    }

    /// The answer, closing the connection where what follows on it cannot be trusted.
    /// A request of gRPC gets it as its status.
    pub(crate) fn answer(self, service: &str, grpc: bool) -> Response<OutBody> {
        let (status, error, message) = self.parts();
        if grpc {
            return self.status_of_grpc(error, message);
        }
        let body = serde_json::json!({ "error": error, "service": service, "message": message });
        let mut answer = Response::new(OutBody::Own(Bytes::from(format!("{body}\n"))));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert("x-grace-error", HeaderValue::from_static(error));
        match self {
            Refusal::NoInstance | Refusal::QueueFull => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1_u16));
            }
            // Not all of them at the same moment.
            Refusal::Shed => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=3)));
            }
            _ => {}
        }
        if matches!(
            self,
            Refusal::Ambiguous | Refusal::BadHost | Refusal::BadBody | Refusal::SlowBody
        ) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
