//! Asks the daemon over its control socket: one connection a request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api;

/// A reload of a large folder may take this long.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A dump of a million flows has half a gigabyte; more is no answer of ours.
const MAX_ANSWER: usize = 1 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("can't reach the daemon at {socket}: {source}")]
    Connect { socket: PathBuf, source: io::Error },
    #[error("{method} {path}: {}", .error.error)]
    Refused {
        method: Method,
        path: String,
        status: StatusCode,
        error: api::Error,
    },
    #[error("{path}: the daemon's answer is not understood: {source}")]
    Decode {
        path: String,
        source: serde_json::Error,
    },
    #[error("{path}: the connection to the daemon broke: {source}")]
    Broken {
        path: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{path}: no answer within {} s", TIMEOUT.as_secs())]
    Timeout { path: String },
    #[error("can't start the client: {0}")]
    Runtime(io::Error),
}

/// The daemon behind one control socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Client {
        Client {
            socket: socket.to_owned(),
        }
    }

    /// `path` with its query, as `/v1/status`.
    ///
    /// # Errors
    /// No daemon, a refusal of it, or an answer of another form than `T`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// As [`Client::get`], with a body.
    pub fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|source| ClientError::Decode {
            path: path.to_owned(),
            source,
        })?;
        self.ask(Method::POST, path, body.into())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Runtime)?;
        let answer = runtime.block_on(async {
            let exchange = self.exchange(&method, path, body);
            match tokio::time::timeout(TIMEOUT, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(ClientError::Timeout {
                    path: path.to_owned(),
                }),
            }
        });
        let (status, bytes) = answer?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|source| ClientError::Decode {
                path: path.to_owned(),
                source,
            });
        }
        let error = refusal(status, &bytes);
        Err(ClientError::Refused {
            method,
            path: path.to_owned(),
            status,
            error,
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Broken {
            path: path.to_owned(),
            source,
        };
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Connect {
                    socket: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.into()))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("host", "terrace")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(error.into()))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(error.into()))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(broken)?;
        Ok((status, body.to_bytes()))
    }
}

/// The daemon's own words, or the body as it is.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> api::Error {
    serde_json::from_slice(body).unwrap_or_else(|_| api::Error {
        error: format!("{status} {}", String::from_utf8_lossy(body).trim()),
        fix: String::new(),
        details: Vec::new(),
    })
}

/// `a=b&c=d` of a flat struct; fields that are null are left out.
pub fn query_of<T: Serialize>(query: &T) -> String {
    let fields = match serde_json::to_value(query) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => return String::new(),
    };
    let pairs = fields.iter().filter_map(|(key, value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(format!("{key}={}", escape(text))),
        other => Some(format!("{key}={other}")),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encoding of all but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_leaves_out_what_is_not_asked() {
        let rows = [
            (api::FlowQuery::default(), ""),
            (
                api::FlowQuery {
                    service: Some("a/b:c d".into()),
                    ..Default::default()
                },
                "service=a%2Fb%3Ac%20d",
            ),
            (
                api::FlowQuery {
                    tier: Some(api::Tier::XdpNative),
                    limit: Some(5),
                    ..Default::default()
                },
                "limit=5&tier=xdp-native",
            ),
        ];
        for (query, expected) in rows {
            assert_eq!(query_of(&query), expected);
        }
    }

    #[test]
    fn a_body_that_is_no_error_of_ours_is_told_as_it_is() {
        let error = refusal(StatusCode::NOT_FOUND, b"nothing here\n");
        assert_eq!(error.error, "404 Not Found nothing here");
    }
}
