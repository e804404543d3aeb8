//! Deny lists: one prefix or address a line, `#` begins a comment.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::{Fault, Faults};

/// Further faults of one file are counted, not listed.
const MAX_FAULTS: usize = 20;

/// All prefixes of all files, in their order.
///
/// # Errors
/// Every file that can't be read and the first lines that are no prefix.
pub fn load(files: &[PathBuf]) -> Result<Vec<IpNet>, Faults> {
    let mut prefixes = Vec::new();
    let mut faults = Vec::new();
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => match parse(file, &text) {
                Ok(more) => prefixes.extend(more),
                Err(more) => faults.extend(more.0),
            },
            Err(error) => {
                let fix = "make the file, or remove it from deny_lists";
                faults.extend(Faults::one(file, format!("can't be read: {error}"), fix).0);
            }
        }
    }
    if faults.is_empty() {
        Ok(prefixes)
    } else {
        Err(Faults(faults))
    }
}

/// The prefixes of one text; bits beyond a prefix's length are cut.
pub fn parse(file: &Path, text: &str) -> Result<Vec<IpNet>, Faults> {
    let mut prefixes = Vec::new();
    let mut faults = Vec::new();
    let mut hidden = 0usize;
    for (i, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or("").trim();
        if entry.is_empty() {
            continue;
        }
        match prefix_of(entry) {
            Some(prefix) => prefixes.push(prefix.trunc()),
            None if faults.len() < MAX_FAULTS => faults.push(fault(file, i + 1, entry)),
            None => hidden += 1,
        }
    }
    if hidden > 0 {
        let what = format!("{hidden} more lines are no prefixes");
        faults.extend(Faults::one(file, what, "mend the lines above first").0);
    }
    if faults.is_empty() {
        Ok(prefixes)
    } else {
        Err(Faults(faults))
    }
}

fn prefix_of(entry: &str) -> Option<IpNet> {
    entry
        .parse()
        .ok()
        .or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
}

fn fault(file: &Path, line: usize, entry: &str) -> Fault {
    let shown: String = entry.chars().take(60).collect();
    Fault {
        file: file.to_owned(),
        line,
        key: String::new(),
        what: format!("{shown:?} is neither an address nor a prefix"),
        fix: "write 192.0.2.1 or 2001:db8::/32, one a line".into(),
    }
}
