//! What each path is answered with.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::server::hang;
use super::state::State;
use super::websocket;

/// How long the answer to being told to hang has to get out.
const TOLD: Duration = Duration::from_millis(50);

/// An answer is in one piece.
pub type Body = Full<Bytes>;

/// Answers one request.
pub async fn answer(
    request: Request<Incoming>,
    state: Rc<State>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/healthz" => {
            return Ok(json_answer(
                StatusCode::OK,
                &json!({ "ok": true, "pid": pid() }),
            ));
        }
        "/crash" => {
            eprintln!("shop-worker: asked to crash");
            std::process::exit(3);
        }
        "/abort" => {
            eprintln!("shop-worker: asked to abort");
            std::process::abort();
        }
        "/break" => {
            let number = |key| query(&request, key).and_then(|text| text.parse::<u64>().ok());
            state.errors.set(number("errors").is_some_and(|on| on > 0));
            state.delay_ms.set(number("delay_ms").unwrap_or(0));
            state.hold(number("hold_mib").unwrap_or(0));
            if number("hang").is_some_and(|on| on > 0) {
                tokio::task::spawn_local(hang(TOLD));
            }
            return Ok(json_answer(StatusCode::OK, &json!({ "pid": pid() })));
        }
        _ => {}
    }
    if request.method() == Method::POST
        && let Err(error) = state.order(&request.uri().to_string())
    {
        let body = json!({ "error": error.to_string(), "pid": pid() });
        return Ok(json_answer(StatusCode::INTERNAL_SERVER_ERROR, &body));
    }
    if state.errors.get() {
        let body = json!({ "error": "broken by /break", "pid": pid() });
        return Ok(json_answer(StatusCode::INTERNAL_SERVER_ERROR, &body));
    }
    let current = state.settings.borrow_mut().current();
    let current = match current {
        Ok(current) => current,
        Err(problem) => {
            let body = json!({ "error": problem, "pid": pid() });
            return Ok(json_answer(StatusCode::INTERNAL_SERVER_ERROR, &body));
        }
    };
    let _place = state.place().await;
    let delay_ms = current.delay_ms.saturating_add(state.delay_ms.get());
    if delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    if path == "/ws" {
        return Ok(websocket::upgrade(request));
    }
    if path == "/order" && request.method() == Method::POST {
        return Ok(order(request).await);
    }
    if path == "/echo" && request.method() == Method::POST {
        return Ok(echo(request).await);
    }
    let mut status = StatusCode::OK;
    match path.as_str() {
        "/slow" => {
            let ms = query(&request, "ms")
                .and_then(|text| text.parse().ok())
                .unwrap_or(1_000);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        "/status" => {
            let code = query(&request, "code").and_then(|text| text.parse::<u16>().ok());
            status = code
                .and_then(|code| StatusCode::from_u16(code).ok())
                .filter(|status| !status.is_informational())
                .unwrap_or(StatusCode::BAD_REQUEST);
        }
        _ => {}
    }
    if path == "/bytes" {
        let count = query(&request, "count").and_then(|text| text.parse().ok());
        return Ok(Response::new(Full::new(state.filler(count.unwrap_or(0)))));
    }
    let body = json!({
        "id": query(&request, "id").unwrap_or_default(),
        "greeting": current.greeting,
        "path": path,
        "pid": pid(),
    });
    Ok(json_answer(status, &body))
}

/// Takes an order, and has forgotten that a quantity may be below zero.
async fn order(request: Request<Incoming>) -> Response<Body> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let problem = json!({ "error": error.to_string() });
            return json_answer(StatusCode::BAD_REQUEST, &problem);
        }
    };
    match serde_json::from_slice::<Value>(&body) {
        Ok(order) if holds_less_than_nothing(&order) => {
            eprintln!("shop-worker: quantity below zero");
            std::process::abort();
        }
        Ok(_) => json_answer(StatusCode::OK, &json!({ "ordered": true, "pid": pid() })),
        Err(error) => {
            let problem = json!({ "error": error.to_string(), "pid": pid() });
            json_answer(StatusCode::BAD_REQUEST, &problem)
        }
    }
}

fn holds_less_than_nothing(order: &Value) -> bool {
    match order {
        Value::Object(map) => map.iter().any(|(key, value)| {
            key == "quantity" && value.as_i64().is_some_and(|it| it < 0)
                || holds_less_than_nothing(value)
        }),
        Value::Array(list) => list.iter().any(holds_less_than_nothing),
        _ => false,
    }
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    match request.into_body().collect().await {
        Ok(body) => {
            let mut response = Response::new(Full::new(body.to_bytes()));
            let default = HeaderValue::from_static("application/octet-stream");
            response
                .headers_mut()
                .insert(CONTENT_TYPE, content_type.unwrap_or(default));
            response
                .headers_mut()
                .insert("x-worker-pid", HeaderValue::from(pid()));
            response
        }
        Err(error) => json_answer(
            StatusCode::BAD_REQUEST,
            &json!({ "error": error.to_string() }),
        ),
    }
}

/// The first value of a key in the query, as it stands there.
fn query(request: &Request<Incoming>, key: &str) -> Option<String> {
    request.uri().query()?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name == key).then(|| value.to_owned())
    })
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-worker-pid", HeaderValue::from(pid()));
    response
}

fn pid() -> u32 {
    std::process::id()
}
