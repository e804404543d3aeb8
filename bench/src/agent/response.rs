//! The little of HTTP/1.1 that a load needs: a GET, and an answer with a length.

use anyhow::{Context as _, Result, bail};

pub fn request(path: &str, keep_alive: bool) -> String {
    let close = if keep_alive {
        ""
    } else {
        "Connection: close\r\n"
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: terrace-bench\r\nAccept: */*\r\n{close}\r\n"
    )
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Bytes of the head and of the body.
    pub head: usize,
    pub body: usize,
}

/// None while more of the head is to come.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("parse an answer")? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let Some(length) = length else {
        bail!("an answer without Content-Length");
    };
    Ok(Some(Head {
        status: response.code.context("no status")?,
        head,
        body: std::str::from_utf8(length.value)?.trim().parse()?,
    }))
}

/// What the body must begin with: the letter after the slash of `/a/...`.
pub fn expected(path: &str) -> Option<u8> {
    let mut bytes = path.bytes().skip(1);
    let letter = bytes.next()?;
    (bytes.next() == Some(b'/')).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_head_is() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        let head = Head {
            status: 200,
            head: whole.len(),
            body: 2,
        };
        assert_eq!(super::head(whole.as_bytes()).expect("valid"), Some(head));
        assert_eq!(super::head(&whole.as_bytes()[..20]).expect("valid"), None);
        assert!(super::head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(super::head(b"SMTP").is_err());
    }

    #[test]
    fn only_a_path_with_a_letter_expects_one() {
        let rows = [
            ("/", None),
            ("/a/", Some(b'a')),
            ("/b/x", Some(b'b')),
            ("/ab/", None),
        ];
        for (path, letter) in rows {
            assert_eq!(expected(path), letter, "{path}");
        }
    }
}
