/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way of XDP: an established flow's plain packet, from parsing to
 * sending through pointers that are checked once. It decides nothing: whatever
 * is not plain takes the whole pipeline, which would do the same here for
 * three times the cost (measured: 33 against 94 ns). The rows of ci/model hold
 * both to the same bytes.
 *
 * It has two ends: sent, for an established flow that XDP already serves and
 * whose next hop is known; passed, for what is neither for a service nor for
 * this host.
 *
 * Plain: untagged IPv4 without options or IPv6 without extension headers, no
 * fragment, TCP without SYN, FIN and RST or UDP with a checksum.
 */
#ifndef TERRACE_FAST_H
#define TERRACE_FAST_H

#include "destination.h"
#include "pipeline.h"

#define FAST_L3 14

/* What a flow must not be, and what it must be, for the short way. */
#define FAST_NEVER (FLOW_LOCAL | FLOW_DSR | FLOW_FAIL_OPEN | FLOW_FAIL_CLOSED)

struct plain {
	struct flow_key key;
	struct tuple to;
	__u32 len;	 /* of the IP packet */
	__u32 dst_flags; /* of its endpoint */
};

static __always_inline bool is_plain_v4(const struct iphdr *ip,
					struct plain *plain)
{
	if (*(const __u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return false;
	plain->key.proto = ip->protocol;
	addr_from_v4(plain->key.saddr, ip->saddr);
	addr_from_v4(plain->key.daddr, ip->daddr);
	plain->len = bpf_ntohs(ip->tot_len);
	return true;
}

static __always_inline bool is_plain_v6(const struct ipv6hdr *ip,
					struct plain *plain)
{
	if (ip->version != 6 || ip->hop_limit <= 1)
		return false;
	plain->key.proto = ip->nexthdr;
	__builtin_memcpy(plain->key.saddr, &ip->saddr, 16);
	__builtin_memcpy(plain->key.daddr, &ip->daddr, 16);
	plain->len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	/* A mapped IPv4 address must not find that address's flows. */
	return (plain->key.saddr[0] | plain->key.saddr[1]) &&
	       (plain->key.daddr[0] | plain->key.daddr[1]);
}

/* `room` = what the IP packet has behind its own header. */
static __always_inline bool is_plain_l4(const void *l4, __u32 room,
					struct plain *plain)
{
	const struct tcphdr *tcp = l4;
	const struct udphdr *udp = l4;

	plain->key.sport = udp->source;
	plain->key.dport = udp->dest;
	if (plain->key.proto == IPPROTO_UDP)
		return udp->check && bpf_ntohs(udp->len) >= sizeof(*udp) &&
		       bpf_ntohs(udp->len) <= room;
	return plain->key.proto == IPPROTO_TCP && tcp->doff >= 5 &&
	       tcp->doff * 4 <= room &&
	       !(((const __u8 *)tcp)[13] & (TCP_SYN | TCP_FIN | TCP_RST));
}

/*
 * Whether the flow may go the short way, and where. Its policy revision says
 * that the pipeline has let one of its packets pass since the deny list, the
 * addresses and the policy changed last: none of them is looked at again.
 */
static __always_inline bool is_fast(const struct flow_ref *ref,
				    __u32 policy_rev, struct plain *plain)
{
	const struct flow *flow = ref->flow;

	return flow && !(flow->flags & FAST_NEVER) &&
	       (flow->flags & FLOW_BY_XDP) && flow->policy_rev == policy_rev &&
	       (flow->state == FLOW_ESTABLISHED ||
		flow->state == FLOW_UDP_STREAM) &&
	       !copy_tuple(ref, &plain->to);
}

static __always_inline const struct nexthop *
fast_hop(const struct config *cfg, const struct plain *plain, __u32 ifindex)
{
	const __be32 *daddr = plain->to.daddr;
	__u32 index = nexthop_index(daddr);
	const struct nexthop *hop = bpf_map_lookup_elem(&nexthops, &index);

	if (!hop || !nexthop_is(hop, cfg->nexthop_rev, daddr) ||
	    hop->ifindex != ifindex || plain->len > hop->mtu)
		return NULL;
	return hop;
}

static __always_inline void
write_plain(void *ip, void *l4, const struct plain *plain, const bool is_v4)
{
	const struct tuple *to = &plain->to;
	struct iphdr *v4 = ip;
	struct ipv6hdr *v6 = ip;
	struct udphdr *udp = l4;
	struct tcphdr *tcp = l4;
	__u64 change = csum_change_ip(is_v4, plain->key.saddr, to->saddr) +
		       csum_change_ip(is_v4, plain->key.daddr, to->daddr);
	__u16 sum;

	if (is_v4) {
		v4->saddr = to->saddr[3];
		v4->daddr = to->daddr[3];
		v4->check = csum_apply(v4->check,
				       change + csum_change16(v4->ttl,
							      v4->ttl - 1));
		v4->ttl--;
	} else {
		__builtin_memcpy(&v6->saddr, to->saddr, 16);
		__builtin_memcpy(&v6->daddr, to->daddr, 16);
		v6->hop_limit--;
	}
	change += csum_change16(udp->source, to->sport) +
		  csum_change16(udp->dest, to->dport);
	udp->source = to->sport;
	udp->dest = to->dport;
	if (plain->key.proto == IPPROTO_TCP) {
		tcp->check = csum_apply(tcp->check, change);
		return;
	}
	sum = csum_apply(udp->check, change);
	udp->check = sum ? sum : 0xffff;
}

/* For others than this host's services: passed on, or -1. */
static __always_inline int pass_plain(const struct config *cfg,
				      const struct plain *plain, __u32 slot,
				      __u32 bytes, const bool is_v4)
{
	const struct flow_key *key = &plain->key;
	__u32 reason = plain->dst_flags & ENDPOINT_WORKLOAD ? REASON_TO_TC :
							      REASON_NOT_OURS;

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
	struct ethhdr *eth = data;
	struct plain plain = {};
	struct flow_ref ref = {};
	const struct nexthop *hop;
	const struct config *cfg;
	const struct iface *iface;
	__u32 zero = 0, slot = 0, policy_rev;

	if (l4 + sizeof(struct tcphdr) > end)
		return -1;
	if (!(is_v4 ? is_plain_v4(ip, &plain) : is_plain_v6(ip, &plain)) ||
	    plain.len < ip_len + sizeof(struct udphdr) ||
	    FAST_L3 + plain.len > (__u64)end - (__u64)data ||
	    !is_plain_l4(l4, plain.len - ip_len, &plain))
		return -1;
	cfg = bpf_map_lookup_elem(&config, &zero);
	iface = iface_of(ctx_ifindex(ctx), &slot);
	if (!cfg || !iface || iface->prefilter_hook != HOOK_XDP)
		return -1;
	policy_rev = *(const volatile __u32 *)&cfg->policy_rev;
	plain.dst_flags = destination_flags(plain.key.daddr, policy_rev);
	if (!(plain.dst_flags & (ENDPOINT_SERVICE | ENDPOINT_HOST)))
		return pass_plain(cfg, &plain, slot, (__u64)end - (__u64)data,
				  is_v4);
	if (!flow_find(&plain.key, flow_hash(&plain.key, cfg->hash_seed),
		       &ref) ||
	    !is_fast(&ref, policy_rev, &plain))
		return -1;
	hop = fast_hop(cfg, &plain, iface->ifindex);
	if (!hop)
		return -1;
	write_plain(ip, l4, &plain, is_v4);
	__builtin_memcpy(eth->h_dest, hop->dmac, 6);
	__builtin_memcpy(eth->h_source, hop->smac, 6);
	refresh(&ref, cfg, bpf_jiffies64(), plain.len);
	count_backend(ref.flow->backend, ref.flow->kind == FLOW_REPLY,
		      plain.len);
	count(slot, HOOK_XDP, REASON_TX, (__u64)end - (__u64)data);
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
