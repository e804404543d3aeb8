//! One question to one backend.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// That a connection opens.
    Tcp,
    /// That a GET of this path answers 200 to 399.
    Http { path: String },
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("connect: {0}")]
    Connect(std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the path is no HTTP path: {0}")]
    Path(#[from] hyper::http::Error),
    #[error("answered {0}")]
    Status(StatusCode),
}

/// Asks once, within `limit` over all.
///
/// # Errors
/// Why the backend counts as failed this time.
pub async fn ask(to: SocketAddr, probe: &Probe, limit: Duration) -> Result<(), Failure> {
    let answer = async {
        let stream = TcpStream::connect(to).await.map_err(Failure::Connect)?;
        match probe {
            Probe::Tcp => Ok(()),
            Probe::Http { path } => get(stream, to, path).await,
        }
    };
    timeout(limit, answer)
        .await
        .unwrap_or(Err(Failure::Timeout(limit)))
}

async fn get(stream: TcpStream, to: SocketAddr, path: &str) -> Result<(), Failure> {
    let request = Request::get(path)
        .header(HOST, to.to_string())
        .header(USER_AGENT, "terrace-health")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection works for as long as somebody polls it; when it breaks,
    // the request fails.
    let driver = async {
        let _ = connection.await;
        std::future::pending().await
    };
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer,
        never = driver => never,
    };
    let status = answer?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Failure::Status(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers every connection with `answer` after it has read something.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn only_an_answer_from_200_to_399_is_a_success() {
        let rows = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
            ("HTTP/1.1 204 No Content\r\n\r\n", ""),
            ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", ""),
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "answered 404 Not Found",
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
                "answered 503 Service Unavailable",
            ),
            ("SSH-2.0-OpenSSH\r\n", "HTTP: "),
            ("", "HTTP: "),
        ];
        let probe = Probe::Http {
            path: "/healthz".into(),
        };
        for (answer, failure) in rows {
            let to = server(answer).await;
            match ask(to, &probe, LIMIT).await {
                Ok(()) => assert_eq!(failure, "", "{answer:?}"),
                Err(error) => assert!(
                    !failure.is_empty() && error.to_string().starts_with(failure),
                    "{answer:?}: {error}"
                ),
            }
        }
    }

    #[tokio::test]
    async fn an_open_port_passes_and_a_closed_one_fails() {
        let to = server("").await;
        ask(to, &Probe::Tcp, LIMIT).await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let error = ask(closed, &Probe::Tcp, LIMIT).await.unwrap_err();
        assert!(matches!(error, Failure::Connect(_)), "{error}");
    }

    #[tokio::test]
    async fn silence_fails_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let probe = Probe::Http { path: "/".into() };
        let error = ask(to, &probe, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, Failure::Timeout(_)), "{error}");
    }
}
