/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way of tc, for what uplinks and workloads receive: an established
 * flow's plain packet goes into a local workload's namespace, or out to a next
 * hop that is known. Transport checksums change through the helper, which knows
 * of offloads; a GSO packet stays whole.
 */
#ifndef TERRACE_FAST_TC_H
#define TERRACE_FAST_TC_H

#include "plain.h"

/* Where the packet goes: ifindex and addresses of its Ethernet header. */
struct fast_way {
	__u32 ifindex;
	__u32 reason;
	const __u8 *dmac;
	const __u8 *smac;
};

/* Bytes on the next link; as link_len(). */
static __always_inline __u32 plain_link_len(context_t *ctx, const void *l4,
					    const struct plain *plain,
					    __u32 ip_len)
{
	const struct tcphdr *tcp = l4;
	__u32 gso = ctx_gso_size(ctx);

	if (!gso)
		return plain->len;
	return ip_len + gso +
	       (plain->key.proto == IPPROTO_TCP ? tcp->doff * 4 :
						  sizeof(struct udphdr));
}

/* A workload sends from its own addresses only. */
static __always_inline bool has_own_source(const struct config *cfg,
					   const struct iface *iface,
					   const struct plain *plain,
					   __u32 policy_rev)
{
	const struct endpoint *src;

	if (!(cfg->flags & CONFIG_CHECK_SOURCE))
		return true;
	src = known_endpoint(plain->key.saddr, policy_rev);
	return src && (src->flags & ENDPOINT_WORKLOAD) &&
	       src->ifindex == iface->ifindex;
}

/* False: the pipeline decides. `way` comes with the packet's interface. */
static __always_inline bool fast_way(const struct config *cfg,
				     const struct plain *plain, bool local,
				     __u32 policy_rev, __u32 link_len,
				     struct fast_way *way)
{
	const struct endpoint *dst = NULL;
	const struct nexthop *hop;

	if (local) {
		dst = known_endpoint(plain->to.daddr, policy_rev);
		if (!dst || (dst->flags & ENDPOINT_HOST))
			return false;
	}
	if (dst && (dst->flags & ENDPOINT_WORKLOAD)) {
		way->ifindex = dst->ifindex;
		way->reason = REASON_TO_WORKLOAD;
		way->dmac = dst->mac;
		way->smac = dst->iface_mac;
		return !(dst->flags & ENDPOINT_NO_PEER) &&
		       !mac_is_zero(dst->mac);
	}
	hop = fast_hop(cfg, plain, link_len);
	if (!hop)
		return false;
	way->reason =
		way->ifindex == hop->ifindex ? REASON_TX : REASON_REDIRECT;
	way->ifindex = hop->ifindex;
	way->dmac = hop->dmac;
	way->smac = hop->smac;
	return true;
}

static __always_inline int send_plain(context_t *ctx,
				      const struct fast_way *way)
{
	return way->reason == REASON_TO_WORKLOAD ?
		       bpf_redirect_peer(way->ifindex, 0) :
		       ctx_send(ctx, way->ifindex, 0);
}

/* The action, or -1: the whole pipeline. */
static __always_inline int serve_plain(context_t *ctx, const __u32 role,
				       const bool is_v4)
{
	const __u32 ip_len =
		is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	void *data = CTX_POINTER(ctx, data), *end = CTX_POINTER(ctx, data_end);
	void *ip = data + FAST_L3, *l4 = ip + ip_len;
	__u32 zero = 0, slot = 0, policy_rev, bytes = ctx_len(ctx);
	struct fast_way way = {};
	struct ethhdr *eth = data;
	const struct config *cfg;
	const struct iface *iface;
	struct plain plain = {};
	struct flow_ref ref = {};
	bool is_udp;

	if (l4 + sizeof(struct tcphdr) > end ||
	    !is_plain(data, end, bytes, &plain, is_v4))
		return -1;
	cfg = bpf_map_lookup_elem(&config, &zero);
	iface = iface_of(ctx_ifindex(ctx), &slot);
	if (!cfg || !iface)
		return -1;
	policy_rev = *(const volatile __u32 *)&cfg->policy_rev;
	if (role == ROLE_WORKLOAD &&
	    !has_own_source(cfg, iface, &plain, policy_rev))
		return -1;
	if (!flow_find(&plain.key, flow_hash(&plain.key, cfg->hash_seed),
		       &ref) ||
	    !is_fast(&ref, policy_rev, &plain) ||
	    (role == ROLE_UPLINK && (ref.flow->flags & FLOW_FROM_HERE)))
		return -1;
	way.ifindex = iface->ifindex;
	if (!fast_way(cfg, &plain, ref.flow->flags & FLOW_LOCAL, policy_rev,
		      plain_link_len(ctx, l4, &plain, ip_len), &way))
		return -1;
	is_udp = plain.key.proto == IPPROTO_UDP;
	write_plain(ctx, ip, l4, &plain, is_v4);
	__builtin_memcpy(eth->h_dest, way.dmac, 6);
	__builtin_memcpy(eth->h_source, way.smac, 6);
	refresh(&ref, cfg, bpf_jiffies64(), plain.len);
	count_backend(ref.flow->backend, ref.flow->kind == FLOW_REPLY,
		      plain.len);
	/* From here on the packet's pointers are void. */
	if ((ref.flow->flags & FLOW_NAT) &&
	    ctx_l4_csum(ctx, FAST_L3 + ip_len + (is_udp ? 6 : 16),
			plain_pseudo(&plain, is_v4), plain_ports(&plain),
			is_udp, !is_v4)) {
		count(slot, HOOK_TC_INGRESS, REASON_HELPER_FAILED, bytes);
		return ACTION_DROP;
	}
	count(slot, HOOK_TC_INGRESS, way.reason, bytes);
	return send_plain(ctx, &way);
}

static __always_inline int serve_fast(context_t *ctx, const __u32 role)
{
	const struct ethhdr *eth = ctx_at(ctx, 0, sizeof(*eth));

	if (!eth || dry_run || ctx_is_marked(ctx) || ctx->vlan_present)
		return -1;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return serve_plain(ctx, role, true);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return serve_plain(ctx, role, false);
	return -1;
}

static __noinline int serve_fast_uplink(context_t *ctx)
{
	return serve_fast(ctx, ROLE_UPLINK);
}

static __noinline int serve_fast_workload(context_t *ctx)
{
	return serve_fast(ctx, ROLE_WORKLOAD);
}

#endif
