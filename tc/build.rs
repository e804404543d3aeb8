//! Compiles the tc programs, and those that the loader's tests use.

fn main() -> anyhow::Result<()> {
    terrace_bpf_build::compile("src/bpf/pass.bpf.c".as_ref(), "pass")?;
    terrace_bpf_build::compile("src/bpf/tc.bpf.c".as_ref(), "tc").map(drop)
}
