//! The control socket: HTTP and JSON on a unix socket, for root, the user that
//! the daemon runs as, and the group `terrace`.

mod answers;
mod flows;
mod mesh;
pub mod names;
mod requests;
pub mod shortcut;
mod socket;
mod sockets;

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, middleware};
use tokio::task::spawn_blocking;

use crate::api;
use crate::explain;
use crate::run::shared::Shared;
pub use answers::{STATES, reasons as reason_counts, tables};
pub use requests::mirrors;
pub use socket::Listener;

type Answer<T> = Result<Json<T>, Refusal>;

/// A status code with an [`api::Error`].
struct Refusal(StatusCode, api::Error);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: Listener, shared: Arc<Shared>) -> Result<()> {
    let router = router(shared).layer(middleware::from_fn(socket::admit));
    let service = router.into_make_service_with_connect_info::<socket::Peer>();
    Ok(axum::serve(listener, service).await?)
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/plan", get(plan))
        .route("/v1/services", get(services))
        .route("/v1/policy", get(policy))
        .route("/v1/identities", get(identities))
        .route("/v1/flows", get(list_flows))
        .route("/v1/requests", get(list_requests))
        .route("/v1/reasons", get(reasons))
        .route("/v1/shortcut", get(show_shortcut).post(switch_shortcut))
        .route("/v1/sockets", get(list_sockets))
        .route("/v1/version", get(version))
        .route("/v1/explain", post(explain_packets))
        .route("/v1/connect", post(explain_connect))
        .route("/v1/reload", post(reload))
        .route("/v1/move", post(move_task))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Answer<api::Status> {
    blocking(move || Ok(answers::status(&shared))).await
}

async fn plan(State(shared): State<Arc<Shared>>) -> Answer<api::Plan> {
    blocking(move || {
        Ok(api::Plan {
            services: mesh::rungs(&shared),
            readings: answers::readings(&shared),
            ..(*shared.view().plan).clone()
        })
    })
    .await
}

async fn services(State(shared): State<Arc<Shared>>) -> Answer<Vec<api::Service>> {
    blocking(move || mesh::services(&shared)).await
}

async fn policy(State(shared): State<Arc<Shared>>) -> Answer<Vec<api::Policy>> {
    blocking(move || Ok(mesh::policies(&shared))).await
}

async fn identities(State(shared): State<Arc<Shared>>) -> Answer<Vec<api::Identity>> {
    blocking(move || Ok(mesh::identities(&shared))).await
}

async fn list_flows(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<api::FlowQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<api::Flows> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    query.check().map_err(bad_request)?;
    blocking(move || flows::flows(&shared, &query)).await
}

async fn list_requests(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<api::RequestQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<api::Requests> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    query.check().map_err(bad_request)?;
    blocking(move || requests::requests(&shared, &query)).await
}

async fn reasons(State(shared): State<Arc<Shared>>) -> Answer<Vec<api::ReasonCount>> {
    blocking(move || answers::reasons(&shared)).await
}

async fn show_shortcut(State(shared): State<Arc<Shared>>) -> Answer<api::Shortcut> {
    blocking(move || shortcut::shortcut(&shared)).await
}

async fn switch_shortcut(
    State(shared): State<Arc<Shared>>,
    request: Result<Json<api::ShortcutSwitch>, axum::extract::rejection::JsonRejection>,
) -> Answer<api::Shortcut> {
    let Json(request) = request.map_err(|error| bad_request(error.body_text()))?;
    crate::run::shortcut::switch(&shared, request.enabled)
        .map_err(|error| bad_request(format!("{error:#}")))?;
    blocking(move || shortcut::shortcut(&shared)).await
}

async fn list_sockets(State(shared): State<Arc<Shared>>) -> Answer<api::Sockets> {
    blocking(move || sockets::sockets(&shared)).await
}

async fn explain_connect(
    State(shared): State<Arc<Shared>>,
    request: Result<Json<api::ConnectRequest>, axum::extract::rejection::JsonRejection>,
) -> Answer<api::ConnectAnswer> {
    let Json(request) = request.map_err(|error| bad_request(error.body_text()))?;
    match spawn_blocking(move || sockets::explain(&shared, &request)).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error)) => Err(bad_request(format!("{error:#}"))),
        Err(panicked) => Err(failed(&panicked.into())),
    }
}

async fn version() -> Json<api::Version> {
    Json(api::Version::of_this_program())
}

async fn explain_packets(
    State(shared): State<Arc<Shared>>,
    request: Result<Json<api::ExplainRequest>, axum::extract::rejection::JsonRejection>,
) -> Answer<api::ExplainAnswer> {
    let Json(request) = request.map_err(|error| bad_request(error.body_text()))?;
    match spawn_blocking(move || explain::answer(&shared, &request)).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error)) => Err(Refusal(StatusCode::BAD_REQUEST, error)),
        Err(panicked) => Err(failed(&panicked.into())),
    }
}

async fn reload(State(shared): State<Arc<Shared>>) -> Answer<api::Reload> {
    done(shared.reload().await)
}

async fn move_task(
    State(shared): State<Arc<Shared>>,
    request: Result<Json<api::MoveRequest>, axum::extract::rejection::JsonRejection>,
) -> Answer<api::Moved> {
    let Json(request) = request.map_err(|error| bad_request(error.body_text()))?;
    done(shared.move_task(request).await)
}

/// What the main loop says; None = it is gone.
fn done<T>(said: Option<Result<T, api::Error>>) -> Answer<T> {
    let stopping = || {
        let error = api::Error {
            error: "the daemon is stopping".into(),
            fix: "start it again: systemctl start terrace".into(),
            details: Vec::new(),
        };
        Refusal(StatusCode::SERVICE_UNAVAILABLE, error)
    };
    match said.ok_or_else(stopping)? {
        Ok(done) => Ok(Json(done)),
        Err(error) => Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, error)),
    }
}

async fn unknown(method: Method, uri: Uri, _: Request) -> Refusal {
    let error = api::Error {
        error: format!("{method} {} is no request of this daemon", uri.path()),
        fix: "use the terrace command of the same version: `terrace version` tells both".into(),
        details: Vec::new(),
    };
    Refusal(StatusCode::NOT_FOUND, error)
}

/// Reading large tables must not hold up the heartbeat.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Answer<T> {
    match spawn_blocking(work).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(panicked) => Err(failed(&panicked.into())),
    }
}

fn bad_request(what: impl Into<String>) -> Refusal {
    let error = api::Error {
        error: what.into(),
        fix: "see `terrace help` for what a command takes".into(),
        details: Vec::new(),
    };
    Refusal(StatusCode::BAD_REQUEST, error)
}

fn failed(error: &anyhow::Error) -> Refusal {
    let error = api::Error {
        error: format!("{error:#}"),
        fix: "look at the daemon's log: journalctl -u terrace".into(),
        details: Vec::new(),
    };
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error)
}
