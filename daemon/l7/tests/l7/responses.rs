//! Where responses end.

use terrace_l7::http::{Method, ResponseBody, parse_response, response_storage};

/// Name, head, method, and the body with whether the server stays; `None` = refused.
type Row = (&'static str, String, Method, Option<(ResponseBody, bool)>);

#[test]
fn the_end_of_a_response_is_where_the_rfc_says() {
    use ResponseBody::*;
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let rows: [Row; 19] = [
        (
            "a length",
            format!("{OK}Content-Length: 5\r\n\r\n"),
            Method::Other,
            Some((Length(5), true)),
        ),
        (
            "length 0",
            format!("{OK}Content-Length: 0\r\n\r\n"),
            Method::Other,
            Some((Empty, true)),
        ),
        (
            "chunks",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            Method::Other,
            Some((Chunked, true)),
        ),
        (
            "neither",
            format!("{OK}\r\n"),
            Method::Other,
            Some((UntilClose, false)),
        ),
        (
            "HEAD",
            format!("{OK}Content-Length: 5\r\n\r\n"),
            Method::Head,
            Some((Empty, true)),
        ),
        (
            "HEAD with chunks",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            Method::Head,
            Some((Empty, true)),
        ),
        (
            "204",
            "HTTP/1.1 204 No\r\n\r\n".into(),
            Method::Other,
            Some((Empty, true)),
        ),
        (
            "304 with a length",
            "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n".into(),
            Method::Other,
            Some((Empty, true)),
        ),
        (
            "100",
            "HTTP/1.1 100 Continue\r\n\r\n".into(),
            Method::Other,
            Some((Interim, true)),
        ),
        (
            "101",
            "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".into(),
            Method::Other,
            Some((Tunnel, true)),
        ),
        (
            "CONNECT",
            format!("{OK}\r\n"),
            Method::Connect,
            Some((Tunnel, true)),
        ),
        (
            "CONNECT refused",
            "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\n".into(),
            Method::Connect,
            Some((Length(1), true)),
        ),
        (
            "close",
            format!("{OK}Connection: close\r\nContent-Length: 5\r\n\r\n"),
            Method::Other,
            Some((Length(5), false)),
        ),
        (
            "HTTP/1.0",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n".into(),
            Method::Other,
            Some((Length(5), false)),
        ),
        (
            "HTTP/1.0 keep-alive",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n".into(),
            Method::Other,
            Some((Length(5), true)),
        ),
        (
            "both",
            format!("{OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Method::Other,
            None,
        ),
        (
            "two lengths",
            format!("{OK}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
            Method::Other,
            None,
        ),
        (
            "a bare LF",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n".into(),
            Method::Other,
            None,
        ),
        (
            "no reason phrase",
            "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n".into(),
            Method::Other,
            Some((Length(5), true)),
        ),
    ];
    for (name, text, method, expected) in rows {
        let mut storage = response_storage();
        let found = parse_response(text.as_bytes(), &mut storage, method);
        let found = found.ok().map(|head| {
            let head = head.expect("a whole head");
            assert_eq!(head.len, text.len(), "{name}");
            (head.body, head.keep_alive)
        });
        assert_eq!(found, expected, "{name}");
    }
}
