//! Compiles the programs that drive the programs under test.

fn main() -> anyhow::Result<()> {
    for name in ["harness", "lru", "live"] {
        let source = format!("src/bpf/{name}.bpf.c");
        terrace_bpf_build::compile(source.as_ref(), name)?;
    }
    Ok(())
}
