/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return: the packet goes to its backend unchanged, inside IPIP
 * or IP6IP6; the backend answers the client itself.
 */
#ifndef TERRACE_ENCAP_H
#define TERRACE_ENCAP_H

#include "way.h"

static __always_inline int write_outer(context_t *ctx, const struct packet *pkt,
				       const __be32 saddr[4],
				       const __be32 daddr[4])
{
	if (pkt->is_v4) {
		struct iphdr *ip = ctx_at(ctx, pkt->l3, sizeof(*ip));
		__u64 sum = 0;

		if (!ip)
			return -1;
		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 4;
		ip->ihl = 5;
		ip->tot_len = bpf_htons(pkt->len + sizeof(*ip));
		ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
		ip->ttl = 64;
		ip->protocol = IPPROTO_IPIP;
		ip->saddr = saddr[3];
		ip->daddr = daddr[3];
		for (int w = 0; w < 5; w++)
			sum += ((__u32 *)ip)[w];
		ip->check = ~csum_fold(sum);
		return 0;
	}
	struct ipv6hdr *ip6 = ctx_at(ctx, pkt->l3, sizeof(*ip6));

	if (!ip6)
		return -1;
	__builtin_memset(ip6, 0, sizeof(*ip6));
	ip6->version = 6;
	ip6->payload_len = bpf_htons(pkt->len);
	ip6->nexthdr = IPPROTO_IPV6;
	ip6->hop_limit = 64;
	__builtin_memcpy(&ip6->saddr, saddr, 16);
	__builtin_memcpy(&ip6->daddr, daddr, 16);
	return 0;
}

static __always_inline int make_room(context_t *ctx, const struct packet *pkt,
				     __u32 room)
{
	int moved;

	/* bpf_skb_adjust_room knows no tags in the frame (6.18: -ENOTSUPP). */
	if (pkt->tags && ctx_gso_size(ctx))
		return -1;
	if (pkt->tags)
		moved = ctx_head(ctx, room) ? -1 : 1;
	else
		moved = ctx_encap_room(ctx, room, !pkt->is_v4);
	return moved > 0 ? move_l2(ctx, pkt, room) : moved;
}

static __noinline int encapsulate(context_t *ctx, struct packet *pkt,
				  const struct view *view, struct tuple *outer)
{
	__u32 room = pkt->is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __be32 *source =
		pkt->is_v4 ? view->iface->addr4 : view->iface->addr6;
	struct way way = {};
	int reason;

	for (int w = 0; w < 4; w++)
		outer->saddr[w] = source[w];
	reason = way_out(ctx, pkt, view, outer, room, &way);
	if (reason == REASON_TOO_BIG)
		pkt->out_ifindex = way.mtu;
	if (reason)
		return reason;
	if (way.kind == WAY_FRAGMENTS) /* the outer header forbids them */
		return REASON_TO_FRAGMENT;
	if ((way.hops && take_hop(ctx, pkt)) || make_room(ctx, pkt, room) ||
	    write_outer(ctx, pkt, outer->saddr, outer->daddr))
		return REASON_HELPER_FAILED;
	reason = take_way(ctx, pkt, view, &way);
	return reason == REASON_HELPER_FAILED ? reason : REASON_ENCAPSULATED;
}

#endif
