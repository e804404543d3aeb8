/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way of XDP: an established flow's plain packet, from parsing to
 * sending through pointers that are checked once. It has two ends: sent, for an
 * established flow that XDP already serves and whose next hop is known; passed,
 * for what is neither for a service nor for this host.
 */
#ifndef TERRACE_FAST_H
#define TERRACE_FAST_H

#include "plain.h"

static __always_inline void write_sum(void *l4, const struct plain *plain,
				      const bool is_v4)
{
	__u64 change = plain_pseudo(plain, is_v4) + plain_ports(plain);
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;
	__u16 sum;

	if (plain->key.proto == IPPROTO_TCP) {
		tcp->check = csum_apply(tcp->check, change);
		return;
	}
	sum = csum_apply(udp->check, change);
	udp->check = sum ? sum : 0xffff;
}

/* For others than this host's services: passed on, or -1. */
static __always_inline int pass_plain(const struct config *cfg,
				      const struct flow_key *key,
				      const struct endpoint *dst, __u32 slot,
				      __u32 bytes, const bool is_v4)
{
	__u32 reason =
		dst->flags & ENDPOINT_WORKLOAD ? REASON_TO_TC : REASON_NOT_OURS;

	if (addr_is_multicast(key->daddr, is_v4) || is_bad_source(key, is_v4))
		return -1;
	if ((cfg->flags & CONFIG_DENY_LIST) &&
	    deny_lookup((const struct address *)key->saddr))
		return -1;
	count(slot, HOOK_XDP, reason, bytes);
	return ACTION_PASS;
}

/* The action, or -1: the whole pipeline. */
static __always_inline int serve_plain(context_t *ctx, const bool is_v4)
{
	const __u32 ip_len =
		is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	void *data = CTX_POINTER(ctx, data), *end = CTX_POINTER(ctx, data_end);
	void *ip = data + FAST_L3, *l4 = ip + ip_len;
	__u32 zero = 0, slot = 0, policy_rev, bytes = end - data;
	const struct endpoint *dst;
	const struct nexthop *hop;
	const struct config *cfg;
	const struct iface *iface;
	struct ethhdr *eth = data;
	struct plain plain = {};
	struct flow_ref ref = {};

	if (l4 + sizeof(struct tcphdr) > end ||
	    !is_plain(data, end, bytes, &plain, is_v4))
		return -1;
	cfg = bpf_map_lookup_elem(&config, &zero);
	iface = iface_of(ctx_ifindex(ctx), &slot);
	if (!cfg || !iface || iface->prefilter_hook != HOOK_XDP)
		return -1;
	policy_rev = *(const volatile __u32 *)&cfg->policy_rev;
	dst = known_endpoint(plain.key.daddr, policy_rev);
	if (!dst)
		return -1;
	if (!(dst->flags & (ENDPOINT_SERVICE | ENDPOINT_HOST)))
		return pass_plain(cfg, &plain.key, dst, slot, bytes, is_v4);
	if (!flow_find(&plain.key, flow_hash(&plain.key, cfg->hash_seed),
		       &ref) ||
	    !is_fast(&ref, policy_rev, &plain) ||
	    (ref.flow->flags & FLOW_LOCAL))
		return -1;
	hop = fast_hop(cfg, &plain, plain.len);
	if (!hop || hop->ifindex != iface->ifindex)
		return -1;
	write_plain(ctx, ip, l4, &plain, is_v4);
	write_sum(l4, &plain, is_v4);
	__builtin_memcpy(eth->h_dest, hop->dmac, 6);
	__builtin_memcpy(eth->h_source, hop->smac, 6);
	refresh(&ref, cfg, bpf_jiffies64(), plain.len);
	count_backend(ref.flow->backend, ref.flow->kind == FLOW_REPLY,
		      plain.len);
	count(slot, HOOK_XDP, REASON_TX, bytes);
	return ctx_send(ctx, iface->ifindex, iface->flags);
}

static __noinline int serve_fast(context_t *ctx)
{
	const struct ethhdr *eth = ctx_at(ctx, 0, sizeof(*eth));
	__be16 proto;

	if (!eth || dry_run)
		return -1;
	proto = eth->h_proto;
	if (proto == bpf_htons(ETH_P_IP))
		return serve_plain(ctx, true);
	if (proto == bpf_htons(ETH_P_IPV6))
		return serve_plain(ctx, false);
	return -1;
}

#endif
