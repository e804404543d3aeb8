//! Compiles the socket programs.

fn main() -> anyhow::Result<()> {
    terrace_bpf_build::compile("src/bpf/connect.bpf.c".as_ref(), "connect").map(drop)
}
