//! How Terrace's build scripts compile BPF C: one compiler, one set of flags
//! and one include path for every crate that carries BPF programs.
//!
//! The compiler is `$CLANG`, else `clang-19`. No compiler is needed where
//! Terrace runs: the objects are embedded in the binaries.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use libbpf_cargo::SkeletonBuilder;

/// Flags of every BPF program. A shared header may have functions that one of
/// its users does not call. `-mcpu=v3` gives 32-bit jumps and atomics that
/// return a value (Linux 5.12).
const FLAGS: [&str; 6] = [
    "-O2",
    "-g",
    "-mcpu=v3",
    "-Wall",
    "-Wno-unused-function",
    "-Werror",
];

/// The folder of the headers shared by all BPF programs (`terrace/*.h`).
pub fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include")
}

/// Compiles `source` (`*.bpf.c`) to `$OUT_DIR/<name>.bpf.o` and returns its path.
///
/// Cargo runs the build script again when the source, its folder or a shared
/// header changes.
pub fn compile(source: &Path, name: &str) -> Result<PathBuf> {
    let object = out_dir()?.join(format!("{name}.bpf.o"));
    builder(source, &object)?
        .build()
        .with_context(|| format!("compile {}", source.display()))?;
    Ok(object)
}

/// Compiles `source` and generates its Rust skeleton `$OUT_DIR/<name>.skel.rs`,
/// whose `types` module is made from the object's BTF.
pub fn skeleton(source: &Path, name: &str) -> Result<PathBuf> {
    let object = out_dir()?.join(format!("{name}.bpf.o"));
    builder(source, &object)?
        .build_and_generate(out_dir()?.join(format!("{name}.skel.rs")))
        .with_context(|| format!("compile {}", source.display()))?;
    Ok(object)
}

/// `$OUT_DIR` of the build script that calls.
pub fn out_dir() -> Result<PathBuf> {
    let dir =
        env::var_os("OUT_DIR").context("OUT_DIR is not set: call this from a build script")?;
    Ok(dir.into())
}

fn builder(source: &Path, object: &Path) -> Result<SkeletonBuilder> {
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-changed={}", include_dir().display());
    let folder = source.parent().context("the source has no folder")?;
    if folder != out_dir()? {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let mut builder = SkeletonBuilder::new();
    builder
        .source(source)
        .obj(object)
        .clang(env::var_os("CLANG").unwrap_or_else(|| "clang-19".into()))
        .clang_args(clang_args());
    Ok(builder)
}

fn clang_args() -> Vec<String> {
    let mut args: Vec<String> = FLAGS.map(String::from).into();
    args.push(format!("-I{}", include_dir().display()));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    // Debian keeps asm/types.h in the folder of the machine; others don't.
    let multiarch = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&multiarch).is_dir() {
        args.push(format!("-I{multiarch}"));
    }
    args
}
