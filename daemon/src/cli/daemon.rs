//! The daemon of this host, as the commands reach it.

use std::io::ErrorKind;
use std::path::PathBuf;

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::Global;
use super::exit::{Code, Failure};
use super::offline;
use crate::client::{Client, ClientError};
use crate::config::{Config, DEFAULT_SOCKET};

/// The socket that was named, else that of the configuration, else the usual one.
pub(super) fn client(global: &Global) -> Client {
    let of_config = || {
        Config::load(&global.config)
            .ok()
            .map(|config| config.control_socket)
    };
    let socket = global.socket.clone().or_else(of_config);
    Client::new(&socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)))
}

/// Asks the daemon, which must run.
pub(super) fn get<T: DeserializeOwned>(global: &Global, path: &str) -> Result<T, Failure> {
    Ok(client(global).get(path)?)
}

/// Asks the daemon, which must run, a question.
pub(super) fn post<B: Serialize, T: DeserializeOwned>(
    global: &Global,
    path: &str,
    body: &B,
) -> Result<T, Failure> {
    Ok(client(global).post(path, body)?)
}

/// Asks the daemon, or its tables when it does not run.
pub(super) fn look<T: DeserializeOwned>(global: &Global, path: &str) -> Result<T, Failure> {
    match client(global).get(path) {
        Err(error) if is_gone(&error) => {
            offline::ask(global, Method::GET, path, &()).unwrap_or_else(|| Err(error.into()))
        }
        answer => Ok(answer?),
    }
}

/// As [`look`], with a question.
pub(super) fn inquire<B: Serialize, T: DeserializeOwned>(
    global: &Global,
    path: &str,
    body: &B,
) -> Result<T, Failure> {
    match client(global).post(path, body) {
        Err(error) if is_gone(&error) => {
            offline::ask(global, Method::POST, path, body).unwrap_or_else(|| Err(error.into()))
        }
        answer => Ok(answer?),
    }
}

fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Connect { source, .. }
        if source.kind() != ErrorKind::PermissionDenied)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let what = error.to_string();
        match error {
            ClientError::Connect { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Failure::new(
                    Code::NotPermitted,
                    what,
                    "run it as root, or join the group terrace",
                )
            }
            ClientError::Connect { .. } => {
                let fix = "start it (`systemctl start terrace` or `terrace run`), \
                           or name its socket with --socket";
                Failure::new(Code::NoDaemon, what, fix)
            }
            ClientError::Refused { status, error, .. } => {
                let code = match status {
                    StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Code::NotPermitted,
                    StatusCode::UNPROCESSABLE_ENTITY => Code::Refused,
                    _ => Code::Failure,
                };
                let details = error.details;
                Failure {
                    details,
                    ..Failure::new(code, error.error, error.fix)
                }
            }
            ClientError::Decode { .. } => {
                let fix = "use the same version for both: compare with `terrace version`";
                Failure::new(Code::Failure, what, fix)
            }
            ClientError::Broken { .. } | ClientError::Timeout { .. } => {
                let fix = "look into its log: `journalctl -u terrace`";
                Failure::new(Code::Failure, what, fix)
            }
            ClientError::Runtime(_) => Failure::new(Code::Failure, what, ""),
        }
    }
}
