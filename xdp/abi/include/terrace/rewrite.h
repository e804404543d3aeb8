/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Writing a translated header: addresses, ports, TTL and checksums of the IP
 * and the transport header, and the Ethernet addresses. IP headers are written
 * directly (their checksum is never offloaded); the transport checksum goes
 * through the context layer.
 */
#ifndef TERRACE_REWRITE_H
#define TERRACE_REWRITE_H

#include "packet.h"

static __always_inline int rewrite_ipv4(context_t *ctx,
					const struct packet *pkt,
					const struct tuple *to, __u32 hops)
{
	struct iphdr *ip = ctx_at(ctx, pkt->l3, sizeof(*ip));
	__u64 change;

	if (!ip)
		return -1;
	change = csum_change(ip->saddr, to->saddr[3]) +
		 csum_change(ip->daddr, to->daddr[3]);
	ip->saddr = to->saddr[3];
	ip->daddr = to->daddr[3];
	if (hops) {
		/* TTL is the first byte of its 16-bit word. */
		change += csum_change16(ip->ttl, ip->ttl - 1);
		ip->ttl--;
	}
	ip->check = csum_apply(ip->check, change);
	return 0;
}

static __always_inline int rewrite_ipv6(context_t *ctx,
					const struct packet *pkt,
					const struct tuple *to, __u32 hops)
{
	struct ipv6hdr *ip = ctx_at(ctx, pkt->l3, sizeof(*ip));

	if (!ip)
		return -1;
	__builtin_memcpy(&ip->saddr, to->saddr, 16);
	__builtin_memcpy(&ip->daddr, to->daddr, 16);
	if (hops) {
		ctx_hop_taken(ctx, ip->hop_limit);
		ip->hop_limit--;
	}
	return 0;
}

static __always_inline int
rewrite_ports(context_t *ctx, const struct packet *pkt, const struct tuple *to)
{
	struct udphdr *ports = ctx_at(ctx, pkt->l4, 4);

	if (!ports)
		return -1;
	ports->source = to->sport;
	ports->dest = to->dport;
	return 0;
}

static __always_inline int rewrite_l4(context_t *ctx, const struct packet *pkt,
				      const struct tuple *to)
{
	bool is_udp = pkt->key.proto == IPPROTO_UDP;
	__u64 pseudo, plain;

	if (pkt->fragment == FRAGMENT_LATER ||
	    (pkt->key.proto != IPPROTO_TCP && !is_udp))
		return 0;
	if (rewrite_ports(ctx, pkt, to))
		return -1;
	pseudo = csum_change_ip(pkt->is_v4, pkt->key.saddr, to->saddr) +
		 csum_change_ip(pkt->is_v4, pkt->key.daddr, to->daddr);
	plain = pkt->l4_change + csum_change16(pkt->key.sport, to->sport) +
		csum_change16(pkt->key.dport, to->dport);
	return ctx_l4_csum(ctx, pkt->l4 + (is_udp ? 6 : 16), pseudo, plain,
			   is_udp, !pkt->is_v4);
}

/* One hop less, nothing else. */
static __always_inline int take_hop(context_t *ctx, const struct packet *pkt)
{
	if (pkt->is_v4) {
		struct iphdr *ip = ctx_at(ctx, pkt->l3, sizeof(*ip));

		if (!ip)
			return -1;
		ip->check = csum_apply(ip->check,
				       csum_change16(ip->ttl, ip->ttl - 1));
		ip->ttl--;
		return 0;
	}
	struct ipv6hdr *ip6 = ctx_at(ctx, pkt->l3, sizeof(*ip6));

	if (!ip6)
		return -1;
	ctx_hop_taken(ctx, ip6->hop_limit);
	ip6->hop_limit--;
	return 0;
}

/* Moves the Ethernet header and its tags `room` bytes to the front. */
static __always_inline int move_l2(context_t *ctx, const struct packet *pkt,
				   __u32 room)
{
	for (__u32 off = 0; off < 22; off += 2) {
		__u16 *from, word;

		if (off >= pkt->l3)
			break;
		from = ctx_at(ctx, off + room, sizeof(*from));
		if (!from)
			return -1;
		word = *from;
		from = ctx_at(ctx, off, sizeof(*from));
		if (!from)
			return -1;
		*from = word;
	}
	return 0;
}

/* Translates the headers; `hops` is taken from TTL or hop limit. */
static __always_inline int rewrite(context_t *ctx, const struct packet *pkt,
				   const struct tuple *to, __u32 hops)
{
	int failed = pkt->is_v4 ? rewrite_ipv4(ctx, pkt, to, hops) :
				  rewrite_ipv6(ctx, pkt, to, hops);

	return failed ? failed : rewrite_l4(ctx, pkt, to);
}

static __always_inline int write_macs(context_t *ctx, const __u8 dmac[6],
				      const __u8 smac[6])
{
	struct ethhdr *eth = ctx_at(ctx, 0, sizeof(*eth));

	if (!eth)
		return -1;
	__builtin_memcpy(eth->h_dest, dmac, 6);
	__builtin_memcpy(eth->h_source, smac, 6);
	return 0;
}

static __always_inline bool mac_is_zero(const __u8 mac[6])
{
	return !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

#endif
