//! Declared artifacts over HTTP: how they are, and that they are snapshotted.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::listener::Peer;
use crate::problem::Refusal;
use crate::route::{Answer, Views, ask};

/// Whose artifacts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotRequest {
    /// None: everybody's.
    service: Option<String>,
}

pub(crate) async fn show(State(views): State<Views>) -> Answer {
    let artifacts = ask(views, |views| views.artifacts()).await?;
    Ok(Json(json!({ "artifacts": artifacts.map_err(refused)? })))
}

pub(crate) async fn snapshot(
    State(views): State<Views>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Json<SnapshotRequest>, JsonRejection>,
) -> Answer {
    let Json(wanted) = body.map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            rejection.body_text(),
            "send JSON such as {\"service\": \"shop\"} as application/json",
        )
    })?;
    let artifacts = ask(views, move |views| {
        views.snapshot_artifacts(wanted.service.as_deref(), &peer.by)
    })
    .await?;
    Ok(Json(json!({ "artifacts": artifacts.map_err(refused)? })))
}

fn refused(why: String) -> Refusal {
    let remedy = "`grace artifacts verify` lists them; grace.toml declares them";
    Refusal::new(StatusCode::CONFLICT, why, remedy)
}
