//! The request target (RFC 9112 section 3.2) and hosts.

use super::Fault;
use super::lanes::first_odd;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port` of CONNECT
    Authority,
    /// `*` of OPTIONS
    Asterisk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    pub form: Form,
    /// As written; `/` when an absolute target has none, empty for CONNECT.
    pub path: &'b str,
    /// What follows `?`.
    pub query: Option<&'b str>,
    /// Path and query as written.
    pub path_and_query: &'b str,
    /// Host and port of the absolute and authority forms.
    pub authority: Option<&'b str>,
}

const PATH: u8 = 1;
const QUERY: u8 = 2;
/// Bytes that need a second look: `%` and `.` (and `;`, which some servers cut).
const LOOK: u8 = 4;
const HOST: u8 = 8;

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let unreserved = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let sub_delims = matches!(
            b,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        );
        if unreserved || sub_delims || matches!(b, b':' | b'@' | b'%' | b'/') {
            table[byte] |= PATH;
        }
        // Browsers leave these as they are in queries (URL standard).
        if table[byte] & PATH != 0
            || matches!(
                b,
                b'?' | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`' | b'\\'
            )
        {
            table[byte] |= QUERY;
        }
        if matches!(b, b'%' | b'.') {
            table[byte] |= LOOK;
        }
        if unreserved || sub_delims {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
}

static CLASSES: [u8; 256] = classes();

fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Reads the target of a request with `method`.
pub fn parse<'b>(method: &str, text: &'b str) -> Result<Target<'b>, Fault> {
    match text.as_bytes().first() {
        Some(_) if method == "CONNECT" => authority_form(text),
        Some(b'/') => origin(text, Form::Origin, None),
        Some(b'*') if text == "*" && method == "OPTIONS" => Ok(Target {
            form: Form::Asterisk,
            path: "*",
            query: None,
            path_and_query: "*",
            authority: None,
        }),
        _ => absolute(method, text),
    }
}

fn authority_form(text: &str) -> Result<Target<'_>, Fault> {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    if !is_host(text) || port.is_none_or(str::is_empty) {
        return Err(Fault::TargetForm);
    }
    Ok(Target {
        form: Form::Authority,
        path: "",
        query: None,
        path_and_query: "",
        authority: Some(text),
    })
}

fn absolute<'b>(method: &str, text: &'b str) -> Result<Target<'b>, Fault> {
    let scheme = text.get(..7).ok_or(Fault::TargetForm)?;
    if !scheme.eq_ignore_ascii_case("http://") {
        return Err(Fault::TargetForm);
    }
    let rest = &text[7..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !is_host(authority) {
        return Err(Fault::TargetForm);
    }
    match path.as_bytes().first() {
        Some(b'/') => origin(path, Form::Absolute, Some(authority)),
        // "http://host" of OPTIONS means "*": two readings, so it is refused.
        None if method != "OPTIONS" => origin("/", Form::Absolute, Some(authority)),
        _ => Err(Fault::TargetForm),
    }
}

fn origin<'b>(text: &'b str, form: Form, authority: Option<&'b str>) -> Result<Target<'b>, Fault> {
    let bytes = text.as_bytes();
    let (mut seen, mut at) = (0, 0);
    let bad = loop {
        at = first_odd::<b'/', b'-', b'_'>(bytes, at);
        let Some(byte) = bytes.get(at) else {
            break None;
        };
        if class(*byte) & PATH == 0 {
            break Some(at);
        }
        seen |= class(*byte) & LOOK;
        at += 1;
    };
    let (path, query) = match bad {
        None => (text, None),
        Some(at) if bytes[at] == b'?' => (&text[..at], Some(&text[at + 1..])),
        Some(_) => return Err(Fault::TargetBytes),
    };
    if seen != 0 {
        percent(path.as_bytes())?;
        dot_segments(path.as_bytes())?;
    }
    if let Some(query) = query {
        query_bytes(query.as_bytes())?;
    }
    Ok(Target {
        form,
        path,
        query,
        path_and_query: text,
        authority,
    })
}

fn query_bytes(query: &[u8]) -> Result<(), Fault> {
    let (mut seen, mut at) = (0, 0);
    loop {
        at = first_odd::<b'=', b'&', b'-'>(query, at);
        let Some(byte) = query.get(at) else { break };
        if class(*byte) & QUERY == 0 {
            return Err(Fault::TargetBytes);
        }
        seen |= class(*byte) & LOOK;
        at += 1;
    }
    match seen {
        0 => Ok(()),
        _ => percent(query),
    }
}

/// Every `%` has two digits after it, and none stands for NUL.
fn percent(bytes: &[u8]) -> Result<(), Fault> {
    for at in memchr::memchr_iter(b'%', bytes) {
        match bytes.get(at + 1..at + 3) {
            Some(b"00") | None => return Err(Fault::PercentEncoding),
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            Some(_) => return Err(Fault::PercentEncoding),
        }
    }
    Ok(())
}

/// `.` and `..` in every disguise: encoded dots, slashes and backslashes, and
/// what follows a `;`, which some servers cut off.
fn dot_segments(path: &[u8]) -> Result<(), Fault> {
    let (mut dots, mut only_dots, mut at) = (0, true, 0);
    while at < path.len() {
        let (byte, width) = decoded(&path[at..]);
        at += width;
        match byte {
            b'/' | b'\\' => {
                if only_dots && (1..=2).contains(&dots) {
                    return Err(Fault::DotSegments);
                }
                (dots, only_dots) = (0, true);
            }
            b'.' => dots += 1,
            b';' if only_dots && (1..=2).contains(&dots) => return Err(Fault::DotSegments),
            _ => only_dots = false,
        }
    }
    if only_dots && (1..=2).contains(&dots) {
        return Err(Fault::DotSegments);
    }
    Ok(())
}

/// The first byte, percent-decoded, and how many bytes it took. A `%25` that
/// hides another encoding is decoded as often as it takes: `%252e` is a dot.
fn decoded(bytes: &[u8]) -> (u8, usize) {
    let [b'%', rest @ ..] = bytes else {
        return (bytes[0], 1);
    };
    let mut skipped = 0;
    while rest[skipped..].starts_with(b"25") {
        skipped += 2;
    }
    let hex = |at: usize| rest.get(at).and_then(|b| char::from(*b).to_digit(16));
    match (hex(skipped), hex(skipped + 1)) {
        (Some(high), Some(low)) => ((high * 16 + low) as u8, 3 + skipped),
        _ => (b'%', 3),
    }
}

/// Whether `text` is `host` or `host:port` (RFC 3986, without user).
pub fn is_host(text: &str) -> bool {
    host_len(text).is_some()
}

/// Bytes of the host in `host` or `host:port`; `None` = it is neither.
pub fn host_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let len = match bytes.first()? {
        b'[' => {
            let end = memchr::memchr(b']', bytes)?;
            text[1..end].parse::<std::net::Ipv6Addr>().ok()?;
            end + 1
        }
        first if !first.is_ascii_alphanumeric() && *first != b'_' => return None,
        _ => host_bytes(bytes),
    };
    match bytes.get(len) {
        None => Some(len),
        Some(b':') if is_port(&text[len + 1..]) => Some(len),
        Some(_) => None,
    }
}

fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// How many bytes a name can have.
fn host_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at = first_odd::<b'.', b'-', b'_'>(bytes, at);
        match bytes.get(at) {
            Some(byte) if class(*byte) & HOST != 0 => at += 1,
            _ => return at,
        }
    }
}

/// The host without its port.
pub fn without_port(host: &str) -> &str {
    host_len(host).map_or(host, |len| &host[..len])
}
