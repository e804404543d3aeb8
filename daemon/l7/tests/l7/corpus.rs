//! The corpus of ambiguous requests: each stream whole, and byte by byte.

use terrace_l7::http::{Body, Chunks, Fault, Limits, parse_request, storage};

#[path = "../corpus/rows.rs"]
mod rows;

use rows::cases;

/// What a reader of a stream is in.
enum At {
    Head,
    Length(u64),
    Chunks(Chunks),
    Tunnel,
}

/// Reads a stream as the engine does: what is not used yet stays in front.
struct Reader {
    held: Vec<u8>,
    at: At,
    found: Vec<String>,
    refused: bool,
}

impl Reader {
    fn new() -> Self {
        Self {
            held: Vec::new(),
            at: At::Head,
            found: Vec::new(),
            refused: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
        while !self.refused {
            match self.step() {
                Ok(0) => break,
                Ok(used) => drop(self.held.drain(..used)),
                Err(fault) => {
                    self.found.push(format!("{} {fault:?}", fault.status()));
                    self.refused = true;
                }
            }
        }
    }

    fn step(&mut self) -> Result<usize, Fault> {
        match &mut self.at {
            At::Head => self.head(),
            At::Length(left) => {
                let used = usize::try_from(*left).unwrap().min(self.held.len());
                *left -= used as u64;
                if *left == 0 {
                    self.at = At::Head;
                }
                Ok(used)
            }
            At::Chunks(chunks) => {
                let followed = chunks.follow(&self.held)?;
                if followed.ended {
                    self.at = At::Head;
                }
                Ok(followed.len)
            }
            At::Tunnel => Ok(self.held.len()),
        }
    }

    fn head(&mut self) -> Result<usize, Fault> {
        let mut storage = storage();
        let Some(head) = parse_request(&self.held, &mut storage, &Limits::default())? else {
            return Ok(0);
        };
        let (at, body) = match head.body {
            Body::Empty => (At::Head, "0".to_owned()),
            Body::Length(length) => (At::Length(length), length.to_string()),
            Body::Chunked => (At::Chunks(Chunks::default()), "chunked".to_owned()),
            Body::Tunnel => (At::Tunnel, "tunnel".to_owned()),
        };
        let path = head.target.path;
        self.found.push(format!("ok {} {path} {body}", head.method));
        self.at = at;
        Ok(head.len)
    }

    fn result(mut self) -> String {
        let in_the_middle = !self.held.is_empty() || !matches!(self.at, At::Head | At::Tunnel);
        if in_the_middle && !self.refused {
            self.found.push("more".to_owned());
        }
        self.found.join(" + ")
    }
}

/// Bodies may be cut off in the corpus where only the head matters.
fn agrees(found: &str, expected: &str) -> bool {
    found == expected
        || found.strip_suffix(" + more") == Some(expected) && !expected.contains(" + ")
}

#[test]
fn every_ambiguous_request_gets_its_answer() {
    let cases = cases();
    assert!(cases.len() >= 150, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let mut reader = Reader::new();
        reader.feed(&case.bytes);
        let whole = reader.result();
        if !agrees(&whole, case.expected) {
            wrong.push(format!(
                "{}: {whole}, expected {}",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_request_cut_anywhere_gets_the_same_answer() {
    for case in &cases() {
        let mut reader = Reader::new();
        // Long ones in larger pieces: a head is read anew with each.
        let piece = if case.bytes.len() > 2_000 { 97 } else { 1 };
        for bytes in case.bytes.chunks(piece) {
            reader.feed(bytes);
        }
        let result = reader.result();
        let (found, expected) = (status(&result), status(case.expected));
        assert_eq!(found, expected, "{}: {result}", case.name);
    }
}

/// The requests and the status, without which of several faults it was: a
/// reader that sees less of the head may name another.
fn status(outcome: &str) -> Vec<&str> {
    let parts = outcome.split(" + ").filter(|part| *part != "more");
    parts
        .map(|part| match part.strip_prefix("ok ") {
            Some(request) => request,
            None => part.split(' ').next().unwrap_or_default(),
        })
        .collect()
}
