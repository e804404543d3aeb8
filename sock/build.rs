//! Compiles the socket programs, and makes the reasons of the shortcut from the
//! table in abi.h.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};

fn main() -> Result<()> {
    for name in [
        "connect", "proxy", "sockets", "records", "explain", "shortcut", "foreign",
    ] {
        terrace_bpf_build::compile(format!("src/bpf/{name}.bpf.c").as_ref(), name)?;
    }
    let header = terrace_bpf_build::include_dir().join("terrace/abi.h");
    let text = fs::read_to_string(&header).context("read abi.h")?;
    let path = terrace_bpf_build::out_dir()?.join("shortcut_reasons.rs");
    fs::write(path, reasons(&text)?).context("write shortcut_reasons.rs")
}

/// Rows `S(number, NAME, "text")` of SHORTCUT_REASONS as a Rust table.
fn reasons(header: &str) -> Result<String> {
    let rows = header
        .lines()
        .skip_while(|line| !line.starts_with("#define SHORTCUT_REASONS(S)"))
        .skip(1)
        .map_while(|line| line.trim().strip_prefix("S("));
    let mut out = String::from("const REASONS: &[(u32, &str, &str)] = &[\n");
    let mut count = 0;
    for row in rows {
        let mut parts = row.splitn(3, ',').map(str::trim);
        let number = parts.next().context("a reason without number")?;
        let name = parts
            .next()
            .context("a reason without name")?
            .to_lowercase();
        let text = parts.next().context("a reason without text")?;
        let text = text.trim_end_matches('\\').trim_end().trim_end_matches(')');
        writeln!(out, "    ({number}, \"{name}\", {text}),")?;
        count += 1;
    }
    ensure!(count > 0, "abi.h has no SHORTCUT_REASONS");
    out.push_str("];\n");
    Ok(out)
}
