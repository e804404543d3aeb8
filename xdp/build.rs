//! Compiles the XDP programs, and those that the loader's tests use.

fn main() -> anyhow::Result<()> {
    terrace_bpf_build::compile("src/bpf/pass.bpf.c".as_ref(), "pass")?;
    terrace_bpf_build::compile("src/bpf/port.bpf.c".as_ref(), "port")?;
    terrace_bpf_build::compile("src/bpf/xdp.bpf.c".as_ref(), "xdp").map(drop)
}
