/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors of tracked flows. The packet that an error quotes went the other
 * way, so the quoted addresses reversed are the key of the direction in which
 * the error travels; what that direction's flow rewrites is rewritten in the
 * outer header and, mirrored, in the quoted one.
 */
#ifndef TERRACE_RELATED_H
#define TERRACE_RELATED_H

#include "encap.h"
#include "splice.h"
#include "track.h"

/* Where the quoted packet's headers are, and what they say. */
struct quoted {
	__u32 l3;
	__u32 l4;
	__u8 proto;
	__u8 keep_source; /* a router's own address stays in the outer header */
	__u32 seq_delta;  /* what a splice has added to the sequence number */
};

static __always_inline int quoted_ports(context_t *ctx,
					const struct packet *pkt,
					const struct quoted *quoted,
					struct flow_key *key)
{
	struct udphdr *ports = ip_pull(ctx, pkt, quoted->l4, 8);
	struct icmphdr *icmp = (void *)ports;

	if (!ports)
		return -1;
	switch (quoted->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		key->sport = ports->source;
		key->dport = ports->dest;
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (icmp->type == ICMP_ECHO ||
		    icmp->type == ICMPV6_ECHO_REQUEST)
			key->sport = icmp->un.echo.id;
		else
			key->dport = icmp->un.echo.id;
		return 0;
	default: /* a protocol without ports */
		return 0;
	}
}

static __always_inline int parse_quoted(context_t *ctx,
					const struct packet *pkt,
					struct quoted *quoted,
					struct flow_key *key)
{
	quoted->l3 = pkt->l4 + sizeof(struct icmphdr);
	if (pkt->is_v4) {
		struct iphdr *ip = ip_pull(ctx, pkt, quoted->l3, sizeof(*ip));

		if (!ip || ip->version != 4 || ip->ihl < 5 ||
		    (ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET)))
			return -1;
		quoted->l4 = quoted->l3 + ip->ihl * 4;
		quoted->proto = ip->protocol;
		addr_from_v4(key->saddr, ip->saddr);
		addr_from_v4(key->daddr, ip->daddr);
	} else {
		struct ipv6hdr *ip6 =
			ip_pull(ctx, pkt, quoted->l3, sizeof(*ip6));

		if (!ip6 || ip6->version != 6)
			return -1;
		quoted->l4 = quoted->l3 + sizeof(*ip6);
		quoted->proto = ip6->nexthdr;
		__builtin_memcpy(key->saddr, &ip6->saddr, 16);
		__builtin_memcpy(key->daddr, &ip6->daddr, 16);
	}
	key->proto = quoted->proto;
	return quoted_ports(ctx, pkt, quoted, key);
}

/* The flow in whose direction the error travels. */
static __noinline int find_quoted(context_t *ctx, const struct packet *pkt,
				  __u32 seed, struct quoted *quoted,
				  struct flow_ref *ref)
{
	struct flow_key as_quoted = {}, key = {};

	if (parse_quoted(ctx, pkt, quoted, &as_quoted))
		return 0;
	for (int w = 0; w < 4; w++) {
		/* An error goes to who sent what it quotes. */
		if (pkt->key.daddr[w] != as_quoted.saddr[w])
			return 0;
		if (pkt->key.saddr[w] != as_quoted.daddr[w])
			quoted->keep_source = 1;
	}
	flow_key_reverse(&key, &as_quoted);
	return flow_find(&key, flow_hash(&key, seed), ref);
}

static __always_inline __u64 addr_sum(const __be32 addr[4])
{
	return (__u64)addr[0] + addr[1] + addr[2] + addr[3];
}

/*
 * Rewrites the quoted addresses. *change is what the quoted transport checksum
 * has to follow, *sum what the outer ICMP checksum has to.
 */
static __always_inline int rewrite_quoted_ip(context_t *ctx,
					     const struct packet *pkt,
					     const struct quoted *quoted,
					     const struct tuple *to,
					     __u64 *change, __u64 *sum)
{
	__u16 new = csum_fold(addr_sum(to->daddr) + addr_sum(to->saddr));

	if (!pkt->is_v4) {
		struct ipv6hdr *ip6 = ctx_at(ctx, quoted->l3, sizeof(*ip6));

		if (!ip6)
			return -1;
		*change = csum_change16(
			csum_fold(addr_sum(ip6->saddr.in6_u.u6_addr32) +
				  addr_sum(ip6->daddr.in6_u.u6_addr32)),
			new);
		__builtin_memcpy(&ip6->saddr, to->daddr, 16);
		__builtin_memcpy(&ip6->daddr, to->saddr, 16);
		*sum += *change;
		return 0;
	}
	struct iphdr *ip = ctx_at(ctx, quoted->l3, sizeof(*ip));

	if (!ip)
		return -1;
	/* The IP checksum takes the change up: the header's sum stays. */
	*change = csum_change(ip->saddr, to->daddr[3]) +
		  csum_change(ip->daddr, to->saddr[3]);
	ip->saddr = to->daddr[3];
	ip->daddr = to->saddr[3];
	ip->check = csum_apply(ip->check, *change);
	return 0;
}

/* The quoted transport checksum, where the quote reaches that far. */
static __always_inline void rewrite_quoted_check(context_t *ctx,
						 const struct packet *pkt,
						 const struct quoted *quoted,
						 __u64 change, __u64 *sum)
{
	bool is_udp = quoted->proto == IPPROTO_UDP;
	__u16 *check = ip_pull(ctx, pkt, quoted->l4 + (is_udp ? 6 : 16),
			       sizeof(*check));
	__u16 old, new;

	if (!check || (is_udp && *check == 0))
		return;
	old = *check;
	new = csum_apply(old, change);
	if (is_udp && new == 0)
		new = 0xffff;
	*check = new;
	*sum += csum_change16(old, new);
}

/* Its sender knows the segment by the number that the sender gave it. */
static __always_inline __u64 rewrite_quoted_seq(context_t *ctx,
						const struct quoted *quoted)
{
	__be32 *seq = ctx_at(ctx, quoted->l4 + 4, sizeof(*seq)), new;
	__u64 change;

	if (!seq || !quoted->seq_delta)
		return 0;
	new = bpf_htonl(bpf_ntohl(*seq) - quoted->seq_delta);
	change = csum_change(*seq, new);
	*seq = new;
	return change;
}

static __always_inline int rewrite_quoted(context_t *ctx,
					  const struct packet *pkt,
					  const struct quoted *quoted,
					  const struct tuple *to, __u64 *sum)
{
	__u64 change = 0, ports;
	struct udphdr *header;

	if (rewrite_quoted_ip(ctx, pkt, quoted, to, &change, sum))
		return -1;
	if (quoted->proto != IPPROTO_TCP && quoted->proto != IPPROTO_UDP)
		return 0;
	header = ctx_at(ctx, quoted->l4, 4);
	if (!header)
		return -1;
	ports = csum_change16(header->source, to->dport) +
		csum_change16(header->dest, to->sport);
	header->source = to->dport;
	header->dest = to->sport;
	if (quoted->seq_delta)
		ports += rewrite_quoted_seq(ctx, quoted);
	*sum += ports;
	rewrite_quoted_check(ctx, pkt, quoted, csum_fold(change) + ports, sum);
	return 0;
}

/* The flow's translation; not 0 when the slot has changed since the lookup. */
static __always_inline int copy_tuple(const struct flow_ref *ref,
				      struct tuple *to)
{
	struct flow *flow = ref->flow;

	for (int w = 0; w < 4; w++) {
		to->saddr[w] = flow->new_saddr[w];
		to->daddr[w] = flow->new_daddr[w];
	}
	to->sport = flow->new_sport;
	to->dport = flow->new_dport;
	memory_fence(&flow->seq);
	return *(volatile __u32 *)&flow->seq != ref->seq;
}

/* After a policy change; the next packet of the flow itself stamps it. */
static __noinline int recheck_related(const struct view *view,
				      const struct flow *flow,
				      const struct tuple *to)
{
	bool orig = flow->kind == FLOW_ORIG;
	__u32 proto = flow->key.proto, port;
	const struct endpoint *src, *dst;
	int reason;

	if (flow->policy_rev == view->policy_rev ||
	    !(flow->flags & FLOW_POLICY))
		return 0;
	/* Only echoes are followed. */
	if (proto == IPPROTO_ICMP)
		port = ICMP_ECHO;
	else if (proto == IPPROTO_ICMPV6)
		port = ICMPV6_ECHO_REQUEST;
	else
		port = bpf_ntohs(orig ? to->dport : flow->key.sport);
	src = endpoint_of(orig ? flow->key.saddr : to->daddr);
	dst = endpoint_of(orig ? to->daddr : flow->key.saddr);
	reason = judge(view, src, dst, proto, port);
	return reason == REASON_TO_WORKER ? 0 : reason;
}

static __always_inline int send_related(context_t *ctx, struct packet *pkt,
					const struct view *view,
					const struct quoted *quoted,
					struct tuple *to, bool local)
{
	struct way way = {};
	__u64 sum = 0, pseudo;
	int reason = find_way(ctx, pkt, view, to, local, &way);

	if (reason)
		return reason;
	if (rewrite_quoted(ctx, pkt, quoted, to, &sum))
		return REASON_HELPER_FAILED;
	if (quoted->keep_source)
		for (int w = 0; w < 4; w++)
			to->saddr[w] = pkt->key.saddr[w];
	if (rewrite(ctx, pkt, to, way.hops))
		return REASON_HELPER_FAILED;
	pseudo = pkt->is_v4 ?
			 0 :
			 csum_change_addr(pkt->key.saddr, to->saddr) +
				 csum_change_addr(pkt->key.daddr, to->daddr);
	if (ctx_l4_csum(ctx, pkt->l4 + 2, pseudo, sum, false, !pkt->is_v4))
		return REASON_HELPER_FAILED;
	reason = take_way(ctx, pkt, view, &way);
	return reason == REASON_HELPER_FAILED ? reason : REASON_ICMP_RELATED;
}

/* A reason when the error belongs to a flow, else 0. */
static __noinline int serve_related(context_t *ctx, struct packet *pkt,
				    const struct view *view)
{
	struct quoted quoted = {};
	struct flow_ref ref = {};
	struct tuple *to = &pkt->back;
	int reason;

	if (!find_quoted(ctx, pkt, view->cfg->hash_seed, &quoted, &ref) ||
	    !ref.flow)
		return 0;
	if (IS_XDP && (ref.flow->flags & FLOW_LOCAL))
		return REASON_TO_TC;
	if (copy_tuple(&ref, to))
		return 0;
	reason = recheck_related(view, ref.flow, to);
	if (reason)
		return reason;
	/* What is quoted is the backend's own packet: it gets it as it is. */
	if ((ref.flow->flags & FLOW_DSR) && ref.flow->kind == FLOW_ORIG)
		return encapsulate(ctx, pkt, view, to);
	/*
	 * Translated flows hide the router, as netfilter does: the error may go
	 * back through that same router, which drops its own source address.
	 */
	if (ref.flow->flags & FLOW_NAT)
		quoted.keep_source = 0;
	if ((ref.flow->flags & FLOW_L7) && quoted.proto == IPPROTO_TCP)
		quoted.seq_delta = quoted_delta(pkt, ref.flow->service,
						ref.flow->kind == FLOW_ORIG);
	return send_related(ctx, pkt, view, &quoted, to,
			    ref.flow->flags & FLOW_LOCAL);
}

#endif
