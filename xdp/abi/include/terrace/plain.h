/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Plain packets, and the flows that may take the short way: what XDP and tc
 * share of it (fast.h, fast_tc.h). The short way decides nothing: whatever is
 * not plain takes the whole pipeline, which would do the same here for three
 * times the cost. The rows of ci/model hold both to the same bytes.
 *
 * Plain: untagged IPv4 without options or IPv6 without extension headers, no
 * fragment, TCP without SYN, FIN and RST or UDP with a checksum.
 */
#ifndef TERRACE_PLAIN_H
#define TERRACE_PLAIN_H

#include "destination.h"
#include "pipeline.h"

#define FAST_L3 14

/* What a flow must not be for the short way. */
#define FAST_NEVER (FLOW_DSR | FLOW_FAIL_OPEN | FLOW_FAIL_CLOSED | FLOW_L7)

struct plain {
	struct flow_key key;
	struct tuple to;
	__u32 len; /* of the IP packet */
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
 * The packet's headers, if it is plain. `len` is what lies behind the start of
 * the frame, `end` how much of it can be read.
 */
static __always_inline bool is_plain(const void *data, const void *end,
				     __u32 len, struct plain *plain,
				     const bool is_v4)
{
	const __u32 ip_len =
		is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const void *ip = data + FAST_L3, *l4 = ip + ip_len;

	if (l4 + sizeof(struct tcphdr) > end)
		return false;
	return (is_v4 ? is_plain_v4(ip, plain) : is_plain_v6(ip, plain)) &&
	       plain->len >= ip_len + sizeof(struct udphdr) &&
	       FAST_L3 + plain->len <= len &&
	       is_plain_l4(l4, plain->len - ip_len, plain);
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
	       !!(flow->flags & FLOW_BY_XDP) == IS_XDP &&
	       flow->policy_rev == policy_rev &&
	       (flow->state == FLOW_ESTABLISHED ||
		flow->state == FLOW_UDP_STREAM) &&
	       !copy_tuple(ref, &plain->to);
}

static __always_inline const struct nexthop *
fast_hop(const struct config *cfg, const struct plain *plain, __u32 link_len)
{
	const __be32 *daddr = plain->to.daddr;
	__u32 index = nexthop_index(daddr);
	const struct nexthop *hop = bpf_map_lookup_elem(&nexthops, &index);

	if (!hop || !nexthop_is(hop, cfg->nexthop_rev, daddr) ||
	    link_len > hop->mtu)
		return NULL;
	return hop;
}

/* What the addresses and the ports add to checksums. */
static __always_inline __u64 plain_pseudo(const struct plain *plain,
					  const bool is_v4)
{
	return csum_change_ip(is_v4, plain->key.saddr, plain->to.saddr) +
	       csum_change_ip(is_v4, plain->key.daddr, plain->to.daddr);
}

static __always_inline __u64 plain_ports(const struct plain *plain)
{
	return csum_change16(plain->key.sport, plain->to.sport) +
	       csum_change16(plain->key.dport, plain->to.dport);
}

/* Addresses, hops and ports; the transport checksum is the caller's. */
static __always_inline void write_plain(context_t *ctx, void *ip, void *l4,
					const struct plain *plain,
					const bool is_v4)
{
	const struct tuple *to = &plain->to;
	struct iphdr *v4 = ip;
	struct ipv6hdr *v6 = ip;
	struct udphdr *ports = l4;

	if (is_v4) {
		__u64 change = plain_pseudo(plain, true) +
			       csum_change16(v4->ttl, v4->ttl - 1);

		v4->saddr = to->saddr[3];
		v4->daddr = to->daddr[3];
		v4->check = csum_apply(v4->check, change);
		v4->ttl--;
	} else {
		__builtin_memcpy(&v6->saddr, to->saddr, 16);
		__builtin_memcpy(&v6->daddr, to->daddr, 16);
		ctx_hop_taken(ctx, v6->hop_limit);
		v6->hop_limit--;
	}
	ports->source = to->sport;
	ports->dest = to->dport;
}

#endif
