// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The far end of the l7 port: what tc has sent into the port goes to the worker
 * of its queue. Where no worker is, it ends here: the stack must never see
 * bytes that no policy has judged.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} l7_sockets SEC(".maps");

SEC("xdp.frags")
int terrace_xdp_port(struct xdp_md *ctx)
{
	return bpf_redirect_map(&l7_sockets, ctx->rx_queue_index, XDP_DROP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
