//! Heads as the BPF programs read them (scan.h): what is not plainly what it
//! looks like is not read at all, and goes to the engine.

/// Bytes of a head that is looked at.
pub const HEAD_MAX: usize = 992;
/// Bytes of an answer that are looked at to find its head.
const HEAD_ROOM: usize = 1_024;
const FIELDS_MAX: usize = 64;
const METHODS: [(&str, u8); 4] = [("GET", 1), ("HEAD", 2), ("OPTIONS", 3), ("DELETE", 4)];
/// Number of the method whose answers have no body.
pub const HEAD: u8 = 2;

/// The number of a method that the programs know.
pub fn method_number(name: &str) -> Option<u8> {
    let known = METHODS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number)
}

/// The methods that the programs know, with their numbers.
pub fn methods() -> impl Iterator<Item = (&'static str, u8)> {
    METHODS.into_iter()
}

/// A request without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'b> {
    pub method: u8,
    pub target: &'b str,
}

impl Asked<'_> {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// One request head and nothing behind it. `None` = not sure.
pub fn request(bytes: &[u8]) -> Option<Asked<'_>> {
    if bytes.len() > HEAD_MAX {
        return None;
    }
    let lines = lines(bytes)?;
    let (first, fields) = lines.0.split_first()?;
    let line = first.strip_suffix(" HTTP/1.1")?;
    let (method, target) = line.split_once(' ')?;
    let asked = Asked {
        method: method_number(method)?,
        target,
    };
    let mut n_hosts = 0;
    for field in fields {
        let (name, value) = split(field)?;
        match name.as_str() {
            "host" if is_host(without_blank(value)) => n_hosts += 1,
            name if is_connection(name) && value.eq_ignore_ascii_case(" keep-alive") => {}
            "host" | "expect" | "upgrade" => return None,
            name if is_framing(name) => return None,
            _ => {}
        }
    }
    (lines.1 == bytes.len() && n_hosts == 1 && is_target(target)).then_some(asked)
}

/// The whole length of an answer that begins with `bytes`. `None` = not sure.
pub fn answer(bytes: &[u8]) -> Option<u32> {
    let bytes = &bytes[..bytes.len().min(HEAD_ROOM)];
    let lines = lines(bytes)?;
    let (first, fields) = lines.0.split_first()?;
    let status = first.strip_prefix("HTTP/1.1 ")?;
    let (code, rest) = status.split_at_checked(3)?;
    let is_code = code.bytes().all(|b| b.is_ascii_digit()) && ("2".."6").contains(&code);
    if !is_code || !(rest.is_empty() || rest.starts_with(' ')) || lines.1 > HEAD_MAX {
        return None;
    }
    let mut length = None;
    for field in fields {
        let (name, value) = split(field)?;
        match name.as_str() {
            "content-length" if length.is_none() => length = Some(number(without_blank(value))?),
            name if is_connection(name) && value.eq_ignore_ascii_case(" keep-alive") => {}
            "host" | "expect" | "upgrade" => return None,
            name if is_framing(name) => return None,
            _ => {}
        }
    }
    let length = match code {
        "204" | "304" => 0,
        _ => length?,
    };
    Some(lines.1 as u32 + length)
}

/// The lines of a head of visible ASCII, and where it ends.
fn lines(bytes: &[u8]) -> Option<(Vec<&str>, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    let plain = |line: &&str| line.bytes().all(|b| (b' '..=b'~').contains(&b));
    let is_plain = lines.iter().all(plain) && lines.len() <= FIELDS_MAX + 1;
    is_plain.then_some((lines, end + 4))
}

/// Name in lower case, and value with what stands in front of it.
fn split(field: &str) -> Option<(String, &str)> {
    let (name, value) = field.split_once(':')?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_name && !name.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// Names of their lengths that begin so are not looked at any closer.
fn is_framing(name: &str) -> bool {
    let begins = |len: usize, with: &str| name.len() == len && name.starts_with(with);
    is_connection(name) || begins(14, "content-") || begins(17, "transfer")
}

fn is_connection(name: &str) -> bool {
    name.len() == 10 && name.starts_with("connecti")
}

fn without_blank(value: &str) -> &str {
    value.strip_prefix(' ').unwrap_or(value)
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && number(port).is_some_and(|port| port <= 65_535)
    };
    name.bytes().all(is_name)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && port.is_none_or(is_port)
}

/// At most nine digits.
fn number(text: &str) -> Option<u32> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn is_target(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_path = |b: u8| b.is_ascii_alphanumeric() || b"-_/.".contains(&b);
    path.starts_with('/')
        && path.bytes().all(is_path)
        && !path.contains("/.")
        && query.bytes().all(|b| is_path(b) || b"=&".contains(&b))
}
