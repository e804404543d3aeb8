//! The corpus of requests, read.

const CORPUS: &str = include_str!("requests.txt");

pub struct Case<'a> {
    pub name: &'a str,
    pub expected: &'a str,
    pub bytes: Vec<u8>,
}

pub fn cases() -> Vec<Case<'static>> {
    let rows = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let mut parts = line.splitn(3, " | ");
        let mut part = || {
            parts
                .next()
                .unwrap_or_else(|| panic!("three parts: {line}"))
        };
        Case {
            name: part(),
            expected: part(),
            bytes: unescape(part()),
        }
    })
    .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '¶' => bytes.extend(b"\r\n"),
            '{' if rest
                .find("*")
                .is_some_and(|star| star < rest.find('}').unwrap_or(0)) =>
            {
                let (repeated, after) = rest.split_once('}').unwrap();
                let (what, times) = repeated.rsplit_once('*').unwrap();
                bytes.extend(unescape(what).repeat(times.parse().unwrap()));
                rest = after;
            }
            '\\' => {
                let escape = rest.chars().next().unwrap();
                rest = &rest[1..];
                match escape {
                    'r' => bytes.push(b'\r'),
                    'n' => bytes.push(b'\n'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    'x' => {
                        bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                        rest = &rest[2..];
                    }
                    other => bytes.push(other as u8),
                }
            }
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}
