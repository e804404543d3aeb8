//! Compiles the programs that drive the programs under test.

fn main() -> anyhow::Result<()> {
    // They are part of the binary.
    println!("cargo:rerun-if-changed=peers");
    println!("cargo:rerun-if-changed=scenarios");
    for name in ["harness", "lru", "live", "nothing"] {
        let source = format!("src/bpf/{name}.bpf.c");
        terrace_bpf_build::compile(source.as_ref(), name)?;
    }
    Ok(())
}
