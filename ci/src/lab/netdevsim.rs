//! netdevsim, which no Debian kernel ships, from Debian's own kernel source.

use super::apt::Apt;
use super::list::Builder;
use crate::shell::{self, captured};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Builds netdevsim.ko for a kernel into `into`.
pub fn build(apt: &Apt, version: &str, into: &Path) -> Result<()> {
    let (headers, source) = names(version);
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
    let script = [TAKE, NULL, BUILD].concat();
    let mut command = shell::command("sh", &["-euc", &script, "sh"]);
    captured(command.arg(root).arg(&headers).arg(&source))?;
    keep(root, into)
}

/// The same with the programs of the kernel's own release, in a root of their own: the
/// kernel's helpers are built for a newer C library than the host may have.
pub fn build_apart(apt: &Apt, with: &Builder, version: &str, into: &Path) -> Result<()> {
    let (headers, source) = names(version);
    eprintln!("lab: building netdevsim for Linux {version}, with its own compiler");
    let dir = tempfile::tempdir().context("a folder to build netdevsim in")?;
    let root = dir.path();
    let same = apt.version(&headers, &with.release)?;
    let packages = [with.packages.clone(), vec![headers.clone()]].concat();
    apt.unpack_closure(&with.release, &packages, root)?;
    apt.unpack(&[format!("{source}={same}")], root)?;
    let script = [TAKE, NULL, APART].concat();
    let mut command = shell::command("sh", &["-euc", &script, "sh"]);
    captured(command.arg(root).arg(&headers).arg(&source))?;
    keep(root, into)
}

/// The packages of a kernel's headers and of its source.
fn names(version: &str) -> (String, String) {
    let series: Vec<&str> = version.split('.').take(2).collect();
    let source = format!("linux-source-{}", series.join("."));
    (format!("linux-headers-{version}"), source)
}

fn keep(root: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let built = root.join("netdevsim/netdevsim.ko");
    fs::copy(built, into.join("netdevsim.ko")).context("the built module")?;
    Ok(())
}

/// The module's files out of the kernel's source.
const TAKE: &str = r#"
cd "$1"
xz -dc "usr/src/$3.tar.xz" | tar -x --strip-components=3 --wildcards "$3/drivers/net/netdevsim/*"
mkdir -p netdevsim
[ -f netdevsim/netdev.c ] || mv *.c *.h Makefile netdevsim/
"#;

/// The headers name their own place in one Makefile. Types for BPF (BTF) of the
/// module would need pahole and nothing here asks for them.
const BUILD: &str = r#"
headers=$1/usr/src/$2
sed -i "s#/usr/src/#$1/usr/src/#" "$headers/Makefile"
export M="$1/netdevsim" HEADERS=$headers OVER=/dev/null
unshare $MAP --mount sh -euc '
eval "$NULL"
make -j2 -C "$HEADERS" M="$M" CONFIG_NETDEVSIM=m CONFIG_DEBUG_INFO_BTF_MODULES= modules
'
strip --strip-debug netdevsim/netdevsim.ko
"#;

/// A linker gives what it writes the mode of a program, also /dev/null when it may: as
/// root. So root's builds have a device of their own at `$OVER`. A user namespace makes the
/// root for who is not root, and may make no device.
const NULL: &str = r#"
if [ "$(id -u)" = 0 ]; then
	export MAP= NULL='mkdir -p null
mount -t tmpfs none null
mknod -m 666 null/null c 1 3
mount --bind null/null $OVER'
else
	export MAP=--map-root-user NULL='[ $OVER = /dev/null ] || mount --bind /dev/null $OVER'
fi
"#;

/// objtool reads /proc.
const APART: &str = r#"
[ -e usr/bin/sh ] || ln -s bash usr/bin/sh
[ -e usr/bin/awk ] || ln -s gawk usr/bin/awk
mkdir -p proc dev tmp
touch dev/null
export HEADERS=/usr/src/$2 OVER=dev/null
unshare $MAP --mount sh -euc '
mount --rbind /proc proc
eval "$NULL"
exec chroot . /usr/bin/env PATH=/usr/bin:/usr/sbin sh -euc "
make -j2 -C \$HEADERS M=/netdevsim CONFIG_NETDEVSIM=m CONFIG_DEBUG_INFO_BTF_MODULES= modules
strip --strip-debug /netdevsim/netdevsim.ko
"
'
"#;
