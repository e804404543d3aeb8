//! netdevsim, which no Debian kernel ships, from Debian's own kernel source.

use super::apt::Apt;
use crate::shell::{self, captured};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Builds netdevsim.ko for a kernel into `into`.
pub fn build(apt: &Apt, version: &str, into: &Path) -> Result<()> {
    let headers = format!("linux-headers-{version}");
    let series: Vec<&str> = version.split('.').take(2).collect();
    let source = format!("linux-source-{}", series.join("."));
    eprintln!("lab: building netdevsim for Linux {version}");
    let dir = tempfile::tempdir().context("a folder to build netdevsim in")?;
    let root = dir.path();
    // The source must be the kernel's own.
    let same = apt.version(&headers, "")?;
    let parts = apt.depends(&headers)?.into_iter();
    let mut packages: Vec<String> = parts
        .filter(|name| name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-"))
        .collect();
    packages.push(headers.clone());
    packages.push(format!("{source}={same}"));
    apt.unpack(&packages, root)?;
    let mut command = shell::command("sh", &["-euc", BUILD, "sh"]);
    captured(command.arg(root).arg(&headers).arg(&source))?;
    fs::create_dir_all(into)?;
    fs::copy(
        root.join("netdevsim/netdevsim.ko"),
        into.join("netdevsim.ko"),
    )
    .context("the built module")?;
    Ok(())
}

/// The headers name their own place in one Makefile. Types for BPF (BTF) of the
/// module would need pahole and nothing here asks for them.
const BUILD: &str = r#"
cd "$1"
headers=$1/usr/src/$2
sed -i "s#/usr/src/#$1/usr/src/#" "$headers/Makefile"
xz -dc "usr/src/$3.tar.xz" | tar -x --strip-components=3 --wildcards "$3/drivers/net/netdevsim/*"
mkdir -p netdevsim
[ -f netdevsim/netdev.c ] || mv *.c *.h Makefile netdevsim/
make -j2 -C "$headers" M="$1/netdevsim" CONFIG_NETDEVSIM=m CONFIG_DEBUG_INFO_BTF_MODULES= modules
strip --strip-debug netdevsim/netdevsim.ko
"#;
