//! Prometheus metrics on a loopback address.
//!
//! Every scrape reads the tables; nothing is counted twice. The format is
//! OpenMetrics text, which Prometheus asks for first.

mod collect;
mod family;
mod requests;
mod shortcut;
mod sockets;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::run::shared::Shared;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds; the address must be a loopback one (the configuration checks it).
///
/// # Errors
/// The address is taken or not there.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen for metrics on {address}; see metrics_listen"))
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(shared);
    Ok(axum::serve(listener, router).await?)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match spawn_blocking(move || text(&shared)).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => failed(&format!("{error:#}")),
        Err(panicked) => failed(&panicked.to_string()),
    }
}

/// All metrics as they are now.
///
/// # Errors
/// A table can't be read.
pub fn text(shared: &Shared) -> Result<String> {
    family::encode(collect::families(shared)?)
}

fn failed(what: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{what}\n")).into_response()
}
