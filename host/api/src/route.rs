//! The paths of the API and what answers them.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use grace_model::port::{HostViews, PlaybookRun, Story};
use grace_model::usage::Measured;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::metrics;
use crate::problem::Refusal;
use crate::{artifacts, govern, watch};

/// What every handler is given.
pub(crate) type Views = Arc<dyn HostViews>;

pub(crate) type Answer = Result<Json<Value>, Refusal>;

const PATHS: &[&str] = &[
    "GET /v1/status",
    "GET /v1/instances",
    "GET /v1/services",
    "GET /v1/kernels",
    "GET /v1/incidents",
    "GET /v1/incidents/watch",
    "GET /v1/incidents/{id}",
    "GET /v1/playbooks",
    "POST /v1/playbooks/{id}/run",
    "GET /v1/plugins",
    "GET /v1/actions",
    "GET /v1/governance",
    "POST /v1/governance",
    "GET /v1/artifacts",
    "POST /v1/artifacts/snapshot",
    "GET /v1/approvals",
    "POST /v1/approvals/{id}",
    "GET /v1/measured",
    "GET /v1/metrics",
    "GET /metrics",
];

/// All paths.
pub(crate) fn all(views: Views) -> Router {
    Router::new()
        .route("/v1", get(async || Json(json!({ "paths": PATHS }))))
        .route("/v1/status", get(status))
        .route("/v1/instances", get(instances))
        .route("/v1/services", get(services))
        .route("/v1/kernels", get(kernels))
        .route("/v1/incidents", get(incidents))
        .route("/v1/incidents/watch", get(watch::incidents))
        .route("/v1/incidents/{id}", get(story))
        .route("/v1/playbooks", get(playbooks))
        .route("/v1/playbooks/{id}/run", post(run_playbook))
        .route("/v1/plugins", get(plugins))
        .route("/v1/actions", get(actions))
        .route("/v1/governance", get(govern::show).post(govern::order))
        .route("/v1/artifacts", get(artifacts::show))
        .route("/v1/artifacts/snapshot", post(artifacts::snapshot))
        .route("/v1/approvals", get(govern::questions))
        .route("/v1/approvals/{id}", post(govern::answer))
        .route("/v1/measured", get(measured))
        .route("/v1/metrics", get(families))
        .route("/metrics", get(metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(views)
}

/// Only what a scraper asks for, for a listener that others may reach.
pub(crate) fn scraped(views: Views) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(async |uri: Uri| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                format!("there is nothing at {}", uri.path()),
                "GET /metrics is all that is here",
            )
        })
        .method_not_allowed_fallback(wrong_method)
        .with_state(views)
}

/// Views may read the ledger, so they are asked off the server's thread.
pub(crate) async fn ask<T: Send + 'static>(
    views: Views,
    question: impl FnOnce(&dyn HostViews) -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(move || question(views.as_ref()))
        .await
        .map_err(|error| {
            tracing::error!(%error, "api: a view failed");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be made",
                "see logs/grace.log in the state directory",
            )
        })
}

fn no_supervisor() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the supervisor cannot be reached",
        "try again in a second; `grace status` asks it directly",
    )
}

async fn status(State(views): State<Views>) -> Answer {
    let (fleet, open) = ask(views, |views| {
        let open = views
            .incidents()
            .iter()
            .filter(|one| !one.state.at_rest())
            .count();
        (views.fleet(), open)
    })
    .await?;
    let fleet = fleet.ok_or_else(no_supervisor)?;
    Ok(Json(json!({
        "processes": fleet.processes,
        "services": fleet.services,
        "instances": fleet.instances,
        "incidents_open": open,
    })))
}

async fn instances(State(views): State<Views>) -> Answer {
    let fleet = ask(views, |views| views.fleet())
        .await?
        .ok_or_else(no_supervisor)?;
    Ok(Json(json!({ "instances": fleet.instances })))
}

async fn services(State(views): State<Views>) -> Answer {
    let fleet = ask(views, |views| views.fleet())
        .await?
        .ok_or_else(no_supervisor)?;
    Ok(Json(json!({ "services": fleet.services })))
}

async fn kernels(State(views): State<Views>) -> Answer {
    let kernels = ask(views, |views| views.kernels()).await?;
    Ok(Json(json!({ "kernels": kernels })))
}

async fn incidents(State(views): State<Views>) -> Answer {
    let incidents = ask(views, |views| views.incidents()).await?;
    Ok(Json(json!({ "incidents": incidents })))
}

async fn story(State(views): State<Views>, Path(id): Path<String>) -> Result<Json<Story>, Refusal> {
    let asked = id.clone();
    let story = ask(views, move |views| views.story(&asked)).await?;
    story.map(Json).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            format!("there is no incident {id:?}"),
            "`grace incidents list` names all",
        )
    })
}

async fn playbooks(State(views): State<Views>) -> Answer {
    let playbooks = ask(views, |views| views.playbooks()).await?;
    Ok(Json(json!({ "playbooks": playbooks })))
}

async fn plugins(State(views): State<Views>) -> Answer {
    let plugins = ask(views, |views| views.plugins()).await?;
    Ok(Json(json!({ "plugins": plugins })))
}

async fn actions(State(views): State<Views>) -> Answer {
    let actions = ask(views, |views| views.actions()).await?;
    Ok(Json(json!({ "actions": actions })))
}

/// The body of a run by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRequest {
    target: String,
    #[serde(default)]
    dry_run: bool,
}

async fn run_playbook(
    State(views): State<Views>,
    Path(id): Path<String>,
    body: Result<Json<RunRequest>, JsonRejection>,
) -> Result<Json<PlaybookRun>, Refusal> {
    let Json(wanted) = body.map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            rejection.body_text(),
            "send JSON such as {\"target\": \"shop-1\", \"dry_run\": true} as application/json",
        )
    })?;
    ask(views, move |views| {
        views.run_playbook(&id, &wanted.target, wanted.dry_run)
    })
    .await?
    .map(Json)
    .map_err(|why| {
        Refusal::new(
            StatusCode::CONFLICT,
            why,
            "`grace playbook list` and `grace instances` name what there is",
        )
    })
}

async fn measured(State(views): State<Views>) -> Result<Json<Measured>, Refusal> {
    ask(views, |views| views.measured()).await.map(Json)
}

async fn families(State(views): State<Views>) -> Answer {
    let families = ask(views, metrics::all).await?;
    Ok(Json(json!({ "families": families })))
}

async fn metrics(State(views): State<Views>) -> Result<impl IntoResponse, Refusal> {
    let text = ask(views, |views| metrics::write(&metrics::all(views))).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", uri.path()),
        "GET /v1 names all paths",
    )
}

async fn wrong_method(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take this method", uri.path()),
        "GET /v1 names all paths with their methods",
    )
}
