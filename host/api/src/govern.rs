//! Governance over HTTP: what holds, orders, questions and their answers. Who gives an order is
//! what the kernel says of the socket's other end, never what the request says.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use grace_model::govern::Order;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::listener::Peer;
use crate::problem::Refusal;
use crate::route::{Answer, Views, ask};

/// Longest reason that is written down.
const WHY_MAX: usize = 500;

/// An order and why it is given.
#[derive(Debug, Deserialize)]
pub(crate) struct OrderRequest {
    #[serde(flatten)]
    order: Order,
    #[serde(default)]
    why: String,
}

/// An answer and why it is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRequest {
    approve: bool,
    #[serde(default)]
    why: String,
}

pub(crate) async fn show(State(views): State<Views>) -> Answer {
    document(&ask(views, |views| views.governance()).await?)
}

pub(crate) async fn questions(State(views): State<Views>) -> Answer {
    let approvals = ask(views, |views| views.approvals()).await?;
    Ok(Json(json!({ "approvals": approvals })))
}

pub(crate) async fn order(
    State(views): State<Views>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Json<OrderRequest>, JsonRejection>,
) -> Answer {
    let wanted = read(
        body,
        "{\"order\": \"freeze\", \"on\": true, \"for_ms\": 60000, \"why\": \"a move\"}",
    )?;
    let why = reason(&wanted.why)?;
    let done = ask(views, move |views| {
        views.order(&wanted.order, &peer.by, &why)
    })
    .await?;
    document(&done.map_err(refused)?)
}

pub(crate) async fn answer(
    State(views): State<Views>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(id): Path<String>,
    body: Result<Json<AnswerRequest>, JsonRejection>,
) -> Answer {
    let wanted = read(body, "{\"approve\": true, \"why\": \"looked at it\"}")?;
    let why = reason(&wanted.why)?;
    let done = ask(views, move |views| {
        views.answer(&id, wanted.approve, &peer.by, &why)
    })
    .await?;
    document(&done.map_err(refused)?)
}

fn read<T>(body: Result<Json<T>, JsonRejection>, such: &str) -> Result<T, Refusal> {
    body.map(|Json(wanted)| wanted).map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            rejection.body_text(),
            &format!("send JSON such as {such} as application/json"),
        )
    })
}

fn reason(why: &str) -> Result<String, Refusal> {
    if why.len() > WHY_MAX {
        let what = format!("the reason has {} bytes", why.len());
        let remedy = format!("say it in {WHY_MAX}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, what, &remedy));
    }
    Ok(why.chars().filter(|c| !c.is_control()).collect())
}

fn refused(why: String) -> Refusal {
    let remedy = "`grace approvals` lists the questions, `grace governance` what holds";
    Refusal::new(StatusCode::CONFLICT, why, remedy)
}

fn document(value: &impl serde::Serialize) -> Answer {
    serde_json::to_value(value)
        .map(|value: Value| Json(value))
        .map_err(|error| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
                "see logs/grace.log in the state directory",
            )
        })
}
