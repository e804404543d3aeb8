// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The XDP programs. `terrace_xdp_root` is attached once per interface and
 * stays; what it calls is exchanged in xdp_programs, so that no driver has to
 * reset its rings for a new version or configuration.
 */
#include "terrace/context_xdp.h"
#include "terrace/fast.h"

SEC("xdp")
int terrace_xdp_root(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &xdp_programs, 0);
	return XDP_PASS;
}

SEC("xdp")
int terrace_xdp(struct xdp_md *ctx)
{
	int action = serve_fast(ctx);

	return action >= 0 ? action : run(ctx, HOOK_XDP, ROLE_UPLINK);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
