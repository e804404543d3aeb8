// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The smallest programs with the names and tables of xdp.bpf.c. The loader's
 * tests load these many times; verifying the pipeline takes far longer.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <terrace/maps.h>
#include <terrace/uplink.h>

SEC("xdp")
int terrace_xdp_root(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &xdp_programs, 0);
	return XDP_PASS;
}

/* Drops, so that a test sees which of the two ran. */
SEC("xdp")
int terrace_xdp(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct trace *trace = bpf_map_lookup_elem(&traces, &zero);

	if (dry_run && trace) {
		trace->reason = REASON_NOT_OURS;
		trace->out_ifindex = ctx->ingress_ifindex;
	}
	return XDP_DROP;
}

/* Somebody else's, that Terrace must not touch. */
SEC("xdp")
int stranger(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
