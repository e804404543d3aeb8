//! The guard of `ABI_VERSION`: what abi.h lays down, as one number, recorded in
//! ci/abi.toml beside the version that it belongs to.

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const HEADER: &str = "xdp/abi/include/terrace/abi.h";
const RECORD: &str = "ci/abi.toml";

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Abi {
    version: u32,
    /// FNV-1a of abi.h's code: comments, texts and white space don't count.
    layout: String,
}

/// What is wrong with abi.h against the record, if anything.
pub fn fault() -> Result<Option<String>> {
    let now = current()?;
    let Some(recorded) = recorded()? else {
        return Ok(Some(format!(
            "{RECORD} is missing: run `cargo xtask record-abi`"
        )));
    };
    Ok(compare(&recorded, &now))
}

/// Records the layout; a changed one only under a new version, unless nobody
/// has the recorded one.
pub fn record(unreleased: bool) -> Result<()> {
    let now = current()?;
    if let Some(recorded) = recorded()?
        && !unreleased
        && recorded.version == now.version
        && recorded.layout != now.layout
    {
        bail!(
            "{HEADER} changed: raise ABI_VERSION (now {}), then record",
            now.version
        );
    }
    let text = toml::to_string(&now).context("write the record")?;
    std::fs::write(
        path(),
        format!("# Written by `cargo xtask record-abi`.\n{text}"),
    )
    .with_context(|| format!("write {RECORD}"))
}

fn compare(recorded: &Abi, now: &Abi) -> Option<String> {
    if recorded == now {
        return None;
    }
    if recorded.version == now.version {
        return Some(format!(
            "{HEADER} changed, but ABI_VERSION is still {}: pinned maps would be misread. \
             Raise it, then `cargo xtask record-abi`",
            now.version
        ));
    }
    Some(format!(
        "ABI_VERSION is {}, {RECORD} says {}: run `cargo xtask record-abi`",
        now.version, recorded.version
    ))
}

fn path() -> PathBuf {
    workspace::root().join(RECORD)
}

fn recorded() -> Result<Option<Abi>> {
    if !path().exists() {
        return Ok(None);
    }
    let text = shell::read_file(&path())?;
    toml::from_str(&text)
        .map(Some)
        .with_context(|| format!("parse {RECORD}"))
}

fn current() -> Result<Abi> {
    let text = shell::read_file(&workspace::root().join(HEADER))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("#define ABI_VERSION "))
        .and_then(|version| version.trim().parse().ok())
        .with_context(|| format!("no `#define ABI_VERSION n` in {HEADER}"))?;
    Ok(Abi {
        version,
        layout: format!("{:016x}", layout(&text)),
    })
}

fn layout(text: &str) -> u64 {
    let code = without_comments(text);
    let lines = code
        .lines()
        .filter(|line| !line.starts_with("#define ABI_VERSION"));
    let words = lines.flat_map(|line| line.split_whitespace());
    let bytes = words.flat_map(|word| word.bytes().chain([b' ']));
    // The continuation of a macro's line may stand anywhere.
    let bytes = bytes.filter(|byte| *byte != b'\\');
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The code without comments and without what stands between double quotes.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with("/*") {
            rest.find("*/").map(|end| end + 2)
        } else if rest.starts_with("//") {
            rest.find('\n')
        } else if let Some(quoted) = rest.strip_prefix('"') {
            quoted.find('"').map(|end| end + 2)
        } else {
            code.push('/');
            Some(1)
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    code.push_str(rest);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "#define ABI_VERSION 1\nstruct a { /* one */\n\t__u32 b; // c\n};\nX(1, \"text\")\n";

    #[test]
    fn only_what_changes_the_layout_changes_the_number() {
        let rows = [
            ("same", HEADER.to_owned(), true),
            ("comment", HEADER.replace("one", "two"), true),
            ("line comment", HEADER.replace("// c", "// d"), true),
            ("text", HEADER.replace("text", "other"), true),
            ("white space", HEADER.replace('\t', "  "), true),
            (
                "version alone",
                HEADER.replace("VERSION 1", "VERSION 2"),
                true,
            ),
            ("type", HEADER.replace("__u32", "__u64"), false),
            ("name", HEADER.replace("b;", "x;"), false),
            ("number", HEADER.replace("X(1", "X(2"), false),
        ];
        for (row, changed, same) in rows {
            assert_eq!(layout(&changed) == layout(HEADER), same, "{row}");
        }
    }

    #[test]
    fn a_changed_layout_needs_a_new_version_and_a_record() {
        let abi = |version, layout: &str| Abi {
            version,
            layout: layout.to_owned(),
        };
        let rows = [
            ("as recorded", abi(1, "a"), None),
            ("changed in silence", abi(1, "b"), Some("still 1")),
            ("raised, not recorded", abi(2, "b"), Some("record-abi")),
        ];
        for (row, now, expected) in rows {
            let fault = compare(&abi(1, "a"), &now);
            match expected {
                None => assert_eq!(fault, None, "{row}"),
                Some(part) => assert!(fault.unwrap().contains(part), "{row}"),
            }
        }
    }
}
