//! The second reading of what reached a server: a parser of its own, that
//! shares no code with the engine's, and the policy said once more.

/// A request as a server reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub host: String,
    pub body: Vec<u8>,
}

/// Takes whole requests off the front of `bytes`; panics on what is not one.
pub fn take_requests(bytes: &mut Vec<u8>) -> Vec<Seen> {
    let mut found = Vec::new();
    while let Some((seen, len)) = one(bytes) {
        bytes.drain(..len);
        found.push(seen);
    }
    found
}

fn one(bytes: &[u8]) -> Option<(Seen, usize)> {
    let end = (0..bytes.len()).find(|at| bytes[*at..].starts_with(b"\r\n\r\n"))?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let parts: Vec<&str> = line.split(' ').collect();
    assert!(
        parts.len() == 3 && parts[2].starts_with("HTTP/1."),
        "not a request: {line:?}"
    );
    let mut host = String::new();
    let (mut length, mut chunked) = (0, false);
    for field in lines {
        let (name, value) = field.split_once(':').expect("a field has a colon");
        match name.to_lowercase().as_str() {
            "host" => host = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap(),
            "transfer-encoding" => chunked = value.trim() == "chunked",
            _ => {}
        }
    }
    let rest = &bytes[end + 4..];
    let (body, used) = match chunked {
        true => chunks(rest)?,
        false if rest.len() < length => return None,
        false => (rest[..length].to_vec(), length),
    };
    let seen = Seen {
        method: parts[0].to_owned(),
        path: parts[1].to_owned(),
        host,
        body,
    };
    Some((seen, end + 4 + used))
}

/// A chunked body without trailers, and its length on the wire.
pub fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = (at..bytes.len()).find(|i| bytes[*i..].starts_with(b"\r\n"))?;
        let size = std::str::from_utf8(&bytes[at..line]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        at = line + 2;
        let data = bytes.get(at..at + size + 2)?;
        assert!(data.ends_with(b"\r\n"), "a chunk ends in CR LF");
        body.extend(&data[..size]);
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// The server that a path may reach; `None` = none.
pub fn allowed_server(path: &str) -> Option<usize> {
    match &path[..2] {
        "/a" => Some(0),
        "/b" => Some(1),
        "/c" => Some(2),
        _ => None,
    }
}
