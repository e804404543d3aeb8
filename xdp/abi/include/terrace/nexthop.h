/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Next hops: bpf_fib_lookup behind a direct-mapped per-CPU cache. The daemon
 * raises config.nexthop_rev when a link, route, address or link-layer address
 * changes, which empties the cache at once.
 */
#ifndef TERRACE_NEXTHOP_H
#define TERRACE_NEXTHOP_H

#include "rewrite.h"

#define AF_INET 2
#define AF_INET6 10

static __always_inline void fib_addresses(struct bpf_fib_lookup *fib,
					  const struct packet *pkt,
					  const struct tuple *to)
{
	if (pkt->is_v4) {
		fib->family = AF_INET;
		fib->ipv4_src = to->saddr[3];
		fib->ipv4_dst = to->daddr[3];
		return;
	}
	fib->family = AF_INET6;
	for (int i = 0; i < 4; i++) {
		fib->ipv6_src[i] = to->saddr[i];
		fib->ipv6_dst[i] = to->daddr[i];
	}
}

__noinline int nexthop_resolve(context_t *ctx, const struct packet *pkt,
			       const struct tuple *to, struct nexthop *hop,
			       __u32 rev)
{
	struct bpf_fib_lookup fib = {};
	long rc;

	if (!pkt || !to || !hop)
		return REASON_NO_ROUTE;
	fib_addresses(&fib, pkt, to);
	fib.l4_protocol = pkt->key.proto;
	fib.ifindex = ctx_ifindex(ctx);
	fib.tot_len = 1; /* makes every hook report the route's MTU */
	rc = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	hop->ifindex = fib.ifindex;
	if (rc == BPF_FIB_LKUP_RET_NO_NEIGH)
		return REASON_NO_NEIGHBOUR;
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return REASON_NO_ROUTE;
	hop->mtu = fib.mtu_result;
	__builtin_memcpy(hop->smac, fib.smac, 6);
	__builtin_memcpy(hop->dmac, fib.dmac, 6);
	for (int i = 0; i < 4; i++)
		hop->daddr[i] = to->daddr[i];
	barrier();
	hop->rev = rev;
	return 0;
}

static __always_inline __u32 nexthop_index(const __be32 daddr[4])
{
	/* The top 13 bits: NEXTHOPS is 2^13. */
	return ((daddr[0] ^ daddr[1] ^ daddr[2] ^ daddr[3]) * 0x9E3779B1u) >>
	       19;
}

static __always_inline bool nexthop_is(const struct nexthop *hop, __u32 rev,
				       const __be32 daddr[4])
{
	return hop->rev == rev && hop->daddr[3] == daddr[3] &&
	       hop->daddr[0] == daddr[0] && hop->daddr[1] == daddr[1] &&
	       hop->daddr[2] == daddr[2];
}

/*
 * The next hop for packets to `to->daddr`: 0 and *out, or REASON_NO_NEIGHBOUR
 * (the interface in (*out)->ifindex is right) or REASON_NO_ROUTE.
 */
static __always_inline int nexthop_of(context_t *ctx, const struct packet *pkt,
				      const struct config *cfg,
				      const struct tuple *to,
				      struct nexthop **out)
{
	__u32 index = nexthop_index(to->daddr), rev = cfg->nexthop_rev;
	struct nexthop *hop = bpf_map_lookup_elem(&nexthops, &index);

	if (!hop)
		return REASON_NO_ROUTE;
	*out = hop;
	if (nexthop_is(hop, rev, to->daddr))
		return 0;
	hop->rev = rev - 1;
	return nexthop_resolve(ctx, pkt, to, hop, rev);
}

#endif
