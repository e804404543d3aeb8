// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The proxy's side of the redirect: what it asks for with SO_ORIGINAL_DST, and
 * what comes in from elsewhere.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "original.h"
#include "inbound.h"

SEC("cgroup/getsockopt")
int terrace_getsockopt(struct bpf_sockopt *ctx)
{
	tell_original(ctx);
	return 1;
}

SEC("sockops")
int terrace_sockops(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		handshake_begins(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		handshake_ends(ops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		handshake_done(ops);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listening(ops);
		break;
	}
	return 1;
}

SEC("sk_lookup")
int terrace_sk_lookup(struct bpf_sk_lookup *ctx)
{
	return give_to_proxy(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
