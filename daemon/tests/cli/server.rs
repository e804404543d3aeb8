//! A daemon of the tests: the real protocol, canned answers.

use std::path::PathBuf;
use std::thread::JoinHandle;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tempfile::TempDir;
use terrace::api::*;
use tokio::sync::oneshot;

use crate::answers;

/// Serves until it is dropped.
pub struct Server {
    pub socket: PathBuf,
    _folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Server {
        Server::serve(routes())
    }

    /// Answers everything with one error.
    pub fn refusing(status: StatusCode, error: Error) -> Server {
        let answer = move || async move { (status, Json(error)) };
        Server::serve(Router::new().fallback(answer))
    }

    /// Answers everything with one text.
    pub fn babbling(text: &'static str) -> Server {
        Server::serve(Router::new().fallback(move || async move { text }))
    }

    fn serve(routes: Router) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("terrace.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let until = async {
                    let _ = stopped.await;
                };
                let server = axum::serve(listener, routes).with_graceful_shutdown(until);
                server.await.unwrap();
            });
        });
        Server {
            socket,
            _folder: folder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn routes() -> Router {
    Router::new()
        .route("/v1/status", get(|| async { Json(answers::status()) }))
        .route("/v1/plan", get(|| async { Json(answers::plan()) }))
        .route("/v1/services", get(|| async { Json(answers::services()) }))
        .route("/v1/policy", get(|| async { Json(answers::policies()) }))
        .route(
            "/v1/identities",
            get(|| async { Json(answers::identities()) }),
        )
        .route("/v1/reasons", get(|| async { Json(answers::reasons()) }))
        .route(
            "/v1/version",
            get(|| async { Json(answers::status().version) }),
        )
        .route("/v1/flows", get(flows))
        .route("/v1/explain", post(explain))
        .route("/v1/reload", post(reload))
}

async fn flows(Query(query): Query<FlowQuery>) -> Json<Flows> {
    Json(Flows::select(answers::all_flows(), &query))
}

/// The canned hops, under the packets that were asked for.
async fn explain(Json(request): Json<ExplainRequest>) -> Json<ExplainAnswer> {
    let hops = answers::explanation().packets.remove(0).hops;
    let packets = request.packets.iter().map(|packet| ExplainedPacket {
        summary: format!("{packet:?} on {:?}", request.iface),
        len: 54,
        hops: hops.clone(),
    });
    Json(ExplainAnswer {
        packets: packets.collect(),
    })
}

async fn reload() -> Json<Reload> {
    Json(Reload {
        revision: 4,
        changes: 17,
        took_ms: 12,
    })
}
