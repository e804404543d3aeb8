//! Changed heads and redirects.

use terrace_l7::http::{Limits, Request, parse_request, storage};
use terrace_l7::rules::{
    FieldChanges, HeadWriter, NoRoom, PathChange, Redirect, RedirectPath, Rewrite,
};

fn written(
    text: &str,
    room: usize,
    write: impl Fn(&Request<'_, '_>, &mut HeadWriter<'_>) -> Result<(), NoRoom>,
) -> Result<String, NoRoom> {
    let mut storage = storage();
    let request = parse_request(text.as_bytes(), &mut storage, &Limits::default());
    let mut buffer = vec![0; room];
    let mut out = HeadWriter::new(&mut buffer);
    write(&request.unwrap().unwrap(), &mut out)?;
    let len = out.len();
    buffer.truncate(len);
    Ok(String::from_utf8(buffer).unwrap())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn a_head_is_changed_where_the_filter_says() {
    const HEAD: &str = "GET /a/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two:2\r\n\r\n";
    let changes = |set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]| FieldChanges {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    };
    let full = |path: &str| Some(PathChange::Full(path.to_owned()));
    let prefix = |path: &str| Some(PathChange::Prefix(path.to_owned()));
    let rows = [
        (
            "nothing",
            Rewrite::default(),
            "GET /a/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
        ),
        (
            "set",
            Rewrite {
                fields: changes(&[("x-one", "9")], &[], &[]),
                ..Rewrite::default()
            },
            "GET /a/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-Two: 2\r\nx-one: 9\r\n\r\n",
        ),
        (
            "add",
            Rewrite {
                fields: changes(&[], &[("X-One", "9")], &[]),
                ..Rewrite::default()
            },
            "GET /a/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two: 2\r\nX-One: 9\r\n\r\n",
        ),
        (
            "remove",
            Rewrite {
                fields: changes(&[], &[], &["X-TWO", "X-Three"]),
                ..Rewrite::default()
            },
            "GET /a/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\n\r\n",
        ),
        (
            "host",
            Rewrite {
                host: Some("other".to_owned()),
                ..Rewrite::default()
            },
            "GET /a/b?q=1 HTTP/1.1\r\nHost: other\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
        ),
        (
            "path",
            Rewrite {
                path: full("/new"),
                ..Rewrite::default()
            },
            "GET /new?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
        ),
        (
            "prefix",
            Rewrite {
                path: prefix("/x/"),
                ..Rewrite::default()
            },
            "GET /x/b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
        ),
        (
            "prefix away",
            Rewrite {
                path: prefix("/"),
                ..Rewrite::default()
            },
            "GET /b?q=1 HTTP/1.1\r\nHost: h:80\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
        ),
    ];
    for (name, rewrite, expected) in rows {
        let found = written(HEAD, 1024, |request, out| rewrite.write(request, 2, out));
        assert_eq!(found.as_deref(), Ok(expected), "{name}");
        let small = written(HEAD, expected.len() - 1, |request, out| {
            rewrite.write(request, 2, out)
        });
        assert_eq!(small, Err(NoRoom), "{name}");
    }
}

#[test]
fn a_redirect_names_what_it_was_told_and_keeps_the_rest() {
    let to = |scheme: Option<&str>, host: Option<&str>, port, path| Redirect {
        status: 302,
        scheme: scheme.map(str::to_owned),
        host: host.map(str::to_owned),
        port,
        path,
    };
    let rows = [
        (
            "https",
            to(Some("https"), None, None, None),
            "https://h/a/b?q=1",
        ),
        (
            "host",
            to(None, Some("x"), None, None),
            "http://x:8080/a/b?q=1",
        ),
        (
            "port",
            to(None, None, Some(81), None),
            "http://h:81/a/b?q=1",
        ),
        (
            "known port",
            to(Some("https"), None, Some(443), None),
            "https://h/a/b?q=1",
        ),
        (
            "path",
            to(
                None,
                None,
                Some(80),
                Some(RedirectPath::Full("/n".to_owned())),
            ),
            "http://h/n?q=1",
        ),
        (
            "prefix",
            to(
                None,
                None,
                Some(80),
                Some(RedirectPath::Prefix("/n".to_owned())),
            ),
            "http://h/n/b?q=1",
        ),
    ];
    for (name, redirect, expected) in rows {
        let text = "GET /a/b?q=1 HTTP/1.1\r\nHost: h:8080\r\n\r\n";
        let found = written(text, 512, |request, out| redirect.write(request, 2, out)).unwrap();
        let location = found.split("Location: ").nth(1).unwrap();
        assert_eq!(location.split("\r\n").next(), Some(expected), "{name}");
    }
}
