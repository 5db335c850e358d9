//! gRPC with tonic at both ends: its framing, its statuses and its trailers, over HTTP/2 of hyper,
//! since tonic's own transport is hyper's too.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use grace_model::config::Protocol;
use grace_os::Signal;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::stage::Stage;
use crate::two::{run, stage};

/// Messages are bare text: what they mean is between the two ends.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| Status::invalid_argument("no text"))
    }
}

type Words = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// One call, and streams of answers: `good`, `bad` at once, `broken` after two, `endless`.
#[derive(Clone)]
struct Greeter(String);

impl tonic::server::UnaryService<String> for Greeter {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let said = request.get_ref().clone();
        let mut answer = if said == "bad" {
            Err(Status::failed_precondition("not today"))
        } else {
            Ok(Response::new(format!("hello {said}")))
        };
        let worker = self.0.parse().unwrap();
        match &mut answer {
            Ok(answer) => answer.metadata_mut().insert("x-worker", worker),
            Err(status) => status.metadata_mut().insert("x-worker", worker),
        };
        std::future::ready(answer)
    }
}

impl tonic::server::StreamingService<String> for Greeter {
    type Response = String;
    type ResponseStream = Words;
    type Future = std::future::Ready<Result<Response<Words>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let words: Words = Box::pin(request.into_inner().flat_map(|said| {
            let words: Words = match said.as_deref() {
                Ok("good") => Box::pin(stream::iter(["one", "two"]).map(|it| Ok(it.to_owned()))),
                Ok("broken") => Box::pin(stream::iter([
                    Ok("one".to_owned()),
                    Err(Status::data_loss("the rest is lost")),
                ])),
                Ok("endless") => Box::pin(stream::unfold(0_u64, |number| async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Some((Ok(number.to_string()), number + 1))
                })),
                other => Box::pin(stream::iter([Ok(format!("{other:?}"))])),
            };
            words
        }));
        std::future::ready(Ok(Response::new(words)))
    }
}

/// The worker's side: answers what is asked of `/words.Greeter`.
pub async fn answer(
    name: &str,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let greeter = Greeter(name.to_owned());
    let mut server = tonic::server::Grpc::new(Text);
    if request.uri().path() == "/words.Greeter/Say" {
        server.unary(greeter, request).await
    } else {
        server.streaming(greeter, request).await
    }
}

/// The client's side: hyper's connection as tonic wants it.
#[derive(Clone)]
struct Wire(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl tonic::client::GrpcService<tonic::body::Body> for Wire {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Client(tonic::client::Grpc<Wire>);

impl Client {
    async fn connect(stage: &Stage) -> Self {
        let stream = tokio::net::TcpStream::connect(stage.addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let wire = Wire(sender);
        let origin = "http://shop.test".parse().unwrap();
        Self(tonic::client::Grpc::with_origin(wire, origin))
    }

    async fn say(&mut self, word: &str) -> Result<Response<String>, Status> {
        let path = PathAndQuery::from_static("/words.Greeter/Say");
        self.0.ready().await.unwrap();
        self.0
            .unary(Request::new(word.to_owned()), path, Text)
            .await
    }

    async fn stream(&mut self, words: &[&str]) -> Result<Streaming<String>, Status> {
        let path = PathAndQuery::from_static("/words.Greeter/Stream");
        let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        self.0.ready().await.unwrap();
        let request = Request::new(stream::iter(words));
        Ok(self.0.streaming(request, path, Text).await?.into_inner())
    }
}

#[test]
fn calls_of_tonic_pass_with_their_answers_statuses_and_metadata() {
    let (stage, _workers) = stage(1);
    run(async {
        let mut client = Client::connect(&stage).await;
        for _ in 0..20 {
            let answer = client.say("you").await.unwrap();
            assert_eq!(answer.get_ref(), "hello you");
            assert_eq!(answer.metadata().get("x-worker").unwrap(), "two-1");
        }
        let status = client.say("bad").await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "not today");
        assert_eq!(status.metadata().get("x-worker").unwrap(), "two-1");
    });
    assert_eq!(stage.total("failed"), 0);
}

#[test]
fn streams_of_tonic_pass_message_by_message_and_end_with_their_status() {
    let (stage, _workers) = stage(1);
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut words = client.stream(&["good", "good"]).await.unwrap();
        for wanted in ["one", "two", "one", "two"] {
            assert_eq!(words.message().await.unwrap().unwrap(), wanted);
        }
        assert_eq!(words.message().await.unwrap(), None);
        let mut words = client.stream(&["broken"]).await.unwrap();
        assert_eq!(words.message().await.unwrap().unwrap(), "one");
        let status = words.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "by its trailers");
        assert_eq!(status.message(), "the rest is lost");
    });
}

#[test]
fn a_stream_of_tonic_whose_instance_dies_in_the_middle_is_an_error_and_calls_go_to_another() {
    let (mut stage, mut workers) = stage(2);
    run(async {
        let mut client = Client::connect(&stage).await;
        // One endless stream on each, by the less busy.
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut words = client.stream(&["endless"]).await.unwrap();
            assert_eq!(words.message().await.unwrap().unwrap(), "0");
            streams.push(words);
        }
        workers[0].signal(Signal::Kill);
        let cause = workers[0].wait();
        stage.tell_death(1, cause);
        let (mut broken, mut whole) = (0, 0);
        for words in &mut streams {
            let mut end = None;
            for _ in 0..400 {
                match words.message().await {
                    Ok(Some(_)) => {}
                    other => {
                        end = Some(other);
                        break;
                    }
                }
            }
            match end {
                None => whole += 1,
                Some(Err(_)) => broken += 1,
                Some(other) => panic!("it looks whole: {other:?}"),
            }
        }
        assert!(broken >= 1 && whole >= 1, "{broken} broken, {whole} whole");
        for _ in 0..20 {
            let answer = client.say("again").await.unwrap();
            assert_eq!(answer.metadata().get("x-worker").unwrap(), "two-2");
        }
    });
    stage.end();
}

#[test]
fn what_the_proxy_says_itself_is_a_status_for_tonic() {
    let stage = Stage::with(0, |table| {
        table.services[0].front.protocol = Protocol::H2c;
        table.proxy.queue_timeout_ms = 50;
    });
    run(async {
        let mut client = Client::connect(&stage).await;
        let status = client.say("you").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.metadata().get("x-grace-error").unwrap(),
            "no-instance"
        );
    });
}
