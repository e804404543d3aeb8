//! Compiles the programs that the tests attach themselves.

fn main() -> anyhow::Result<()> {
    terrace_bpf_build::compile("src/probe.bpf.c".as_ref(), "probe").map(drop)
}
