//! HTTP/2: clients by prior knowledge and by TLS, instances of it, gRPC through both.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use grace_model::config::{Protocol, Tls};
use grace_os::Signal;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::stage::Stage;
use crate::worker::Worker;

type Body = BoxBody<Bytes, Infallible>;
type Messages = mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>;

/// Runs an asynchronous part of a test; one that hangs fails.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, work).await.expect("in time")
    })
}

async fn connect(addr: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(addr).await.unwrap();
    shake(TokioIo::new(stream)).await
}

async fn shake(
    io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
) -> SendRequest<Body> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Body> {
    request("GET", path, Full::default().boxed())
}

fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("http://shop.test{path}"))
        .body(body)
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// A body that is sent as the test goes on.
fn stream() -> (Messages, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

/// A message as gRPC frames it: not compressed, its length, itself.
fn message(text: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(text.len()).unwrap());
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

fn call(path: &str, body: Body) -> Request<Body> {
    let mut request = request("POST", path, body);
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    request
}

/// A stage whose instances speak HTTP/2.
pub fn stage(workers: usize) -> (Stage, Vec<Worker>) {
    let workers: Vec<Worker> = (1..=workers)
        .map(|number| Worker::start_two(&format!("two-{number}")))
        .collect();
    let stage = Stage::with(0, |table| {
        let service = &mut table.services[0];
        service.front.protocol = Protocol::H2c;
        service.probe = Some(crate::stage::probe());
        for (number, worker) in workers.iter().enumerate() {
            service.instances.push(grace_model::ipc::TableInstance {
                id: format!("shop-{}", number + 1).into(),
                generation: 1,
                addr: Some(worker.addr),
                unix: None,
                process: Some(worker.process.clone()),
                state: grace_model::instance::State::Ready,
                fenced: false,
                weight: 10_000,
                leave: 0,
            });
        }
    });
    (stage, workers)
}

#[test]
fn many_requests_go_over_one_connection_of_http_2_to_instances_of_http_1() {
    let stage = Stage::new(2);
    run(async {
        let sender = connect(stage.addr).await;
        let all = (0..50).map(|_| sender.clone().send_request(get("/sleep?100")));
        for answer in join_all(all).await {
            let answer = answer.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.version()),
                (200, Version::HTTP_2)
            );
            assert_eq!(text(answer).await, "slept");
        }
        let mut request = request("PUT", "/echo?a=1", Full::from("the body").boxed());
        for part in ["a=1", "b=2"] {
            request
                .headers_mut()
                .append("cookie", part.parse().unwrap());
        }
        let echo = text(sender.clone().send_request(request).await.unwrap()).await;
        for wanted in [
            "PUT /echo?a=1\n",
            "host: shop.test\r",
            "cookie: a=1; b=2\r",
            "x-forwarded-for: 127.0.0.1",
            "the body",
        ] {
            assert!(echo.contains(wanted), "{wanted:?} is missing in {echo}");
        }
        let big = sender
            .clone()
            .send_request(get("/big?5000000"))
            .await
            .unwrap();
        assert_eq!(text(big).await.len(), 5_000_000);
    });
    assert_eq!(stage.total("clients"), 1);
    assert_eq!(stage.total("requests"), 52);
}

#[test]
fn the_beginning_of_http_2_is_known_also_in_pieces_and_what_only_looks_like_it_is_refused() {
    let stage = Stage::new(1);
    run(async {
        let mut stream = TcpStream::connect(stage.addr).await.unwrap();
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "its settings come");
    });
    let mut client = stage.client();
    client.write("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(client.try_answer("PRI").is_none_or(|it| it.status == 400));
    let mut post = stage.client();
    post.write("P");
    post.write("UT /length HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx");
    assert_eq!(
        post.answer("PUT").text(),
        "2",
        "it begins with the same letter"
    );
}

#[test]
fn http_2_is_chosen_by_alpn_over_tls() {
    let key = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls {
        cert: dir.path().join("it.crt"),
        key: dir.path().join("it.key"),
    };
    std::fs::write(&tls.cert, key.cert.pem()).unwrap();
    std::fs::write(&tls.key, key.signing_key.serialize_pem()).unwrap();
    let stage = Stage::with(1, |table| table.services[0].front.tls = Some(tls));
    run(async {
        use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, pki_types::ServerName};
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(stage.addr).await.unwrap();
        let name = ServerName::try_from("shop.test").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = shake(TokioIo::new(stream)).await;
        let echo = text(sender.send_request(get("/echo")).await.unwrap()).await;
        assert!(echo.contains("x-forwarded-proto: https"), "{echo}");
    });
}

#[test]
fn instances_of_http_2_serve_clients_of_both_versions_and_are_probed() {
    let (stage, _workers) = stage(2);
    stage.until("they are probed", |stage| stage.total("probes") > 4);
    let bad = stage
        .supervisor
        .heard()
        .into_iter()
        .any(|request| matches!(request, grace_model::ipc::Request::Health { ok: false, .. }));
    assert!(!bad, "every probe passed");
    let mut client = stage.client();
    let mut names = std::collections::HashSet::new();
    for _ in 0..40 {
        let answer = client.ask("PUT", "/echo", "", b"one");
        assert!(
            answer.text().contains("HTTP/2.0 PUT http://shop/echo"),
            "{answer:?}"
        );
        assert!(answer.text().ends_with("one"));
        names.insert(answer.worker().to_owned());
    }
    assert_eq!(names.len(), 2, "{names:?}");
    run(async {
        let mut sender = connect(stage.addr).await;
        let answer = sender.send_request(get("/echo")).await.unwrap();
        assert!(
            text(answer)
                .await
                .contains("HTTP/2.0 GET http://shop.test/echo")
        );
    });
    // One connection to each instance by this thread is enough for all requests.
    assert!(stage.total("dials") <= 4, "{}", stage.total("dials"));
}

#[test]
fn grpc_passes_through_message_by_message_with_its_trailers() {
    let (stage, _workers) = stage(1);
    run(async {
        let mut sender = connect(stage.addr).await;
        let (messages, body) = stream();
        messages.send(Ok(Frame::data(message("one")))).unwrap();
        let answer = sender
            .send_request(call("/echo.Echo/Talk", body))
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let mut answer = answer.into_body();
        for (word, next) in [
            ("one", Some("two")),
            ("two", Some("three")),
            ("three", None),
        ] {
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), message(word));
            // Only now that the one before has come back.
            if let Some(next) = next {
                messages.send(Ok(Frame::data(message(next)))).unwrap();
            }
        }
        drop(messages);
        let trailers = answer
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-worker"], "two-1");
    });
}

#[test]
fn what_the_proxy_has_to_say_to_grpc_is_a_status_of_grpc() {
    let stage = Stage::with(0, |table| {
        table.services[0].front.protocol = Protocol::H2c;
        table.proxy.queue_timeout_ms = 50;
    });
    run(async {
        let mut sender = connect(stage.addr).await;
        let body = Full::from(message("one")).boxed();
        let answer = sender
            .send_request(call("/echo.Echo/Say", body))
            .await
            .unwrap();
        let status = |headers: &HeaderMap| headers["grpc-status"].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200);
        assert_eq!(status(answer.headers()), "14", "unavailable");
        assert_eq!(answer.headers()["x-grace-error"], "no-instance");
    });
}

#[test]
fn requests_on_an_instance_of_http_2_that_was_killed_are_answered_by_another() {
    let (mut stage, mut workers) = stage(2);
    run(async {
        let sender = connect(stage.addr).await;
        let all: Vec<_> = (0..10)
            .map(|_| tokio::spawn(sender.clone().send_request(get("/sleep?1000"))))
            .collect();
        while stage.total("requests") < 10 || stage.total("dials") < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        workers[0].signal(Signal::Kill);
        let cause = workers[0].wait();
        stage.tell_death(1, cause);
        for answer in all {
            assert_eq!(answer.await.unwrap().unwrap().status(), 200);
        }
        for _ in 0..20 {
            let answer = sender.clone().send_request(get("/echo")).await.unwrap();
            assert_eq!(answer.headers()["x-worker"], "two-2");
        }
    });
    stage.end();
}

#[test]
fn a_stream_whose_instance_stands_still_ends_alone() {
    let stage = Stage::with(1, |table| {
        table.proxy.stall_timeout_ms = 300;
        table.proxy.hedge_ms = 60_000;
    });
    run(async {
        let sender = connect(stage.addr).await;
        let good = tokio::spawn(sender.clone().send_request(get("/sleep?2000")));
        let bad = sender.clone().send_request(get("/stall")).await.unwrap();
        assert!(bad.into_body().collect().await.is_err(), "it broke off");
        assert_eq!(text(good.await.unwrap().unwrap()).await, "slept");
    });
}

#[test]
fn a_client_of_http_2_that_does_not_take_its_answer_is_cut_off() {
    let stage = Stage::with(1, |table| table.proxy.download_timeout_ms = 300);
    run(async {
        let sender = connect(stage.addr).await;
        let answer = sender
            .clone()
            .send_request(get("/big?100000000"))
            .await
            .unwrap();
        while stage.total("too_slow") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(answer.into_body().collect().await.is_err());
    });
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_proxy_that_ends_lets_streams_end_first() {
    let mut stage = Stage::new(1);
    let addr = stage.addr;
    let (begun, beginning) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        run(async {
            let mut sender = connect(addr).await;
            let answer = tokio::spawn(sender.send_request(get("/sleep?1000")));
            begun.send(()).unwrap();
            text(answer.await.unwrap().unwrap()).await
        })
    });
    beginning.recv().unwrap();
    stage.until("it is under way", |stage| stage.total("requests") == 1);
    stage.end();
    assert_eq!(client.join().unwrap(), "slept");
}

/// A worker that speaks HTTP/2, and gRPC as far as that is said in frames.
pub fn serve(listener: std::net::TcpListener, name: String) {
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let name: Rc<str> = name.into();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let name = Rc::clone(&name);
            let service = hyper::service::service_fn(move |request| {
                let name = Rc::clone(&name);
                async move {
                    let answer = if request.uri().path().starts_with("/words.") {
                        let answer = crate::grpc::answer(&name, request).await;
                        answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync())
                    } else {
                        let answer = answer(&name, request).await;
                        answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
                    };
                    Ok::<_, Infallible>(answer)
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(Here);
            tokio::task::spawn_local(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
}

#[derive(Clone)]
struct Here;

impl<F: Future + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(async move {
            work.await;
        });
    }
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut response = if path.starts_with("/echo.Echo/") {
        let (messages, answer) = stream();
        let name = name.to_owned();
        tokio::task::spawn_local(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    let _ = messages.send(Ok(Frame::data(data)));
                }
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-worker", name.parse().unwrap());
            let _ = messages.send(Ok(Frame::trailers(trailers)));
        });
        let mut response = Response::new(answer);
        let kind = "application/grpc".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
        response
    } else {
        if path == "/sleep" {
            let time = parts.uri.query().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(time)).await;
        }
        let body = body.collect().await.unwrap().to_bytes();
        let head = format!(
            "{:?} {} {}\n{:?}\n{}",
            parts.version,
            parts.method,
            parts.uri,
            parts.headers,
            String::from_utf8_lossy(&body)
        );
        Response::new(Full::from(head).boxed())
    };
    let worker = name.parse().unwrap();
    response.headers_mut().insert("x-worker", worker);
    response
}
