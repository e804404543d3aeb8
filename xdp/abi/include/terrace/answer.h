/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets that the host answers itself: ICMP echo to a service address, TCP
 * RST, ICMP unreachable and packet too big. Each turns the packet in place
 * into its answer and sends it back to where it came from.
 */
#ifndef TERRACE_ANSWER_H
#define TERRACE_ANSWER_H

#include "rewrite.h"

#define ANSWER_TTL 64
/* How much of the packet an ICMP error quotes; a multiple of 4. */
#define QUOTE_MAX 128

static __always_inline __u32 ip_header_len(const struct packet *pkt)
{
	return pkt->is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline int swap_macs(context_t *ctx)
{
	struct ethhdr *eth = ctx_at(ctx, 0, sizeof(*eth));
	__u8 mac[6];

	if (!eth)
		return -1;
	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
	return 0;
}

static __always_inline __u64 csum_words(const void *data, __u32 words)
{
	const __u32 *word = data;
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* A fresh header from the packet's destination to its source. */
static __always_inline int write_answer_ip(context_t *ctx,
					   const struct packet *pkt, __u32 off,
					   __u8 proto, __u32 payload)
{
	if (pkt->is_v4) {
		struct iphdr *ip = ctx_at(ctx, off, sizeof(*ip));

		if (!ip)
			return -1;
		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 4;
		ip->ihl = 5;
		ip->tot_len = bpf_htons(sizeof(*ip) + payload);
		ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
		ip->ttl = ANSWER_TTL;
		ip->protocol = proto;
		ip->saddr = pkt->key.daddr[3];
		ip->daddr = pkt->key.saddr[3];
		ip->check = ~csum_fold(csum_words(ip, 5));
		return 0;
	}
	struct ipv6hdr *ip6 = ctx_at(ctx, off, sizeof(*ip6));

	if (!ip6)
		return -1;
	__builtin_memset(ip6, 0, sizeof(*ip6));
	ip6->version = 6;
	ip6->payload_len = bpf_htons(payload);
	ip6->nexthdr = proto;
	ip6->hop_limit = ANSWER_TTL;
	__builtin_memcpy(&ip6->saddr, pkt->key.daddr, 16);
	__builtin_memcpy(&ip6->daddr, pkt->key.saddr, 16);
	return 0;
}

/* The sum of the pseudo header; it is the same in both directions. */
static __always_inline __u64 pseudo_sum(const struct packet *pkt, __u8 proto,
					__u32 payload)
{
	__u64 sum = bpf_htonl(proto) + (__u64)bpf_htonl(payload);

	if (pkt->is_v4)
		return sum + pkt->key.saddr[3] + pkt->key.daddr[3];
	return sum + csum_words(pkt->key.saddr, 4) +
	       csum_words(pkt->key.daddr, 4);
}

/* The RST that RFC 9293 3.10.7.1 asks for. */
static __always_inline void fill_reset(struct tcphdr *rst,
				       const struct packet *pkt, __be32 seq,
				       __be32 ack, __u32 segment)
{
	__builtin_memset(rst, 0, sizeof(*rst));
	rst->source = pkt->key.dport;
	rst->dest = pkt->key.sport;
	rst->doff = 5;
	rst->rst = 1;
	if (pkt->tcp_flags & TCP_ACK) {
		rst->seq = ack;
	} else {
		rst->ack = 1;
		rst->ack_seq = bpf_htonl(bpf_ntohl(seq) + segment);
	}
}

/*
 * A skb with CHECKSUM_PARTIAL (from a local sender) must carry the pseudo
 * header's sum, all others the whole checksum. A change that is not of the
 * pseudo header leaves only the former alone, which tells them apart.
 */
static __always_inline bool checksum_is_partial(context_t *ctx, __u32 off)
{
#if IS_XDP
	return false;
#else
	__u16 *check = ctx_at(ctx, off, sizeof(*check));
	__u16 before;

	if (!check)
		return false;
	before = *check;
	if (bpf_l4_csum_replace(ctx, off, 0, 1, 0))
		return false;
	check = ctx_at(ctx, off, sizeof(*check));
	return check && *check == before;
#endif
}

__noinline int answer_reset(context_t *ctx, struct packet *pkt)
{
	__u32 off, segment;
	struct tcphdr *tcp;
	__be32 seq, ack;
	bool partial;
	__u64 sum;

	if (!pkt)
		return -1;
	off = pkt->l3 + ip_header_len(pkt);
	tcp = ctx_at(ctx, pkt->l4, sizeof(*tcp));
	if (!tcp)
		return -1;
	seq = tcp->seq;
	ack = tcp->ack_seq;
	segment = pkt->len - (pkt->l4 - pkt->l3) - tcp->doff * 4 +
		  !!(pkt->tcp_flags & TCP_SYN) + !!(pkt->tcp_flags & TCP_FIN);
	partial = checksum_is_partial(ctx, pkt->l4 + 16);
	if (ctx_tail(ctx, off + sizeof(*tcp)))
		return -1;
	if (write_answer_ip(ctx, pkt, pkt->l3, IPPROTO_TCP, sizeof(*tcp)))
		return -1;
	tcp = ctx_at(ctx, off, sizeof(*tcp));
	if (!tcp)
		return -1;
	fill_reset(tcp, pkt, seq, ack, segment);
	sum = pseudo_sum(pkt, IPPROTO_TCP, sizeof(*tcp));
	tcp->check =
		partial ? csum_fold(sum) : ~csum_fold(sum + csum_words(tcp, 5));
	if (swap_macs(ctx))
		return -1;
	pkt->action = ctx_send_back(ctx, pkt->hook, pkt->iface_flags);
	return 0;
}

struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 pad;
	__be32 info;
};

static __always_inline int fill_icmp(context_t *ctx, const struct packet *pkt,
				     __u32 off, __u32 quote,
				     const struct icmp_error *error)
{
	struct icmphdr *icmp = ctx_at(ctx, off, sizeof(*icmp));
	__u64 sum;
	void *data;

	if (!icmp)
		return -1;
	icmp->type = error->type;
	icmp->code = error->code;
	icmp->checksum = 0;
	icmp->un.gateway = error->info;
	sum = csum_words(icmp, 2);
	if (!pkt->is_v4)
		sum += pseudo_sum(pkt, IPPROTO_ICMPV6, sizeof(*icmp) + quote);
	for (__u32 at = 0; at < QUOTE_MAX; at += 4) {
		if (at >= quote)
			break;
		data = ctx_at(ctx, off + sizeof(*icmp) + at, 4);
		if (!data)
			return -1;
		sum += *(__u32 *)data;
	}
	icmp = ctx_at(ctx, off, sizeof(*icmp));
	if (!icmp)
		return -1;
	icmp->checksum = ~csum_fold(sum);
	return 0;
}

__noinline int answer_icmp(context_t *ctx, struct packet *pkt,
			   const struct icmp_error *error)
{
	__u32 ip_len, room, quote;
	__u8 proto;

	if (!pkt || !error)
		return -1;
	ip_len = ip_header_len(pkt);
	room = ip_len + sizeof(struct icmphdr);
	quote = pkt->len < QUOTE_MAX ? pkt->len & ~3 : QUOTE_MAX;
	proto = pkt->is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (ctx_tail(ctx, pkt->l3 + quote) || ctx_head(ctx, room) ||
	    move_l2(ctx, pkt, room))
		return -1;
	if (write_answer_ip(ctx, pkt, pkt->l3, proto,
			    sizeof(struct icmphdr) + quote))
		return -1;
	if (fill_icmp(ctx, pkt, pkt->l3 + ip_len, quote, error))
		return -1;
	if (swap_macs(ctx))
		return -1;
	pkt->action = ctx_send_back(ctx, pkt->hook, pkt->iface_flags);
	return 0;
}

static __always_inline int answer_unreachable(context_t *ctx,
					      struct packet *pkt)
{
	struct icmp_error error = {};

	error.type = pkt->is_v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
	error.code = pkt->is_v4 ? ICMP_PORT_UNREACH : ICMPV6_PORT_UNREACH;
	return answer_icmp(ctx, pkt, &error);
}

static __always_inline int answer_too_big(context_t *ctx, struct packet *pkt,
					  __u32 mtu)
{
	struct icmp_error error = {};

	error.type = pkt->is_v4 ? ICMP_DEST_UNREACH : ICMPV6_PKT_TOOBIG;
	error.code = pkt->is_v4 ? ICMP_FRAG_NEEDED : 0;
	error.info = bpf_htonl(mtu);
	return answer_icmp(ctx, pkt, &error);
}

/* The hops of the request are the client's; the answer has its own. */
static __always_inline int set_answer_ttl(context_t *ctx,
					  const struct packet *pkt)
{
	if (pkt->is_v4) {
		struct iphdr *ip = ctx_at(ctx, pkt->l3, sizeof(*ip));

		if (!ip)
			return -1;
		ip->check = csum_apply(ip->check,
				       csum_change16(ip->ttl, ANSWER_TTL));
		ip->ttl = ANSWER_TTL;
		return 0;
	}
	struct ipv6hdr *ip6 = ctx_at(ctx, pkt->l3, sizeof(*ip6));

	if (!ip6)
		return -1;
	ip6->hop_limit = ANSWER_TTL;
	return 0;
}

__noinline int answer_echo(context_t *ctx, struct packet *pkt)
{
	struct tuple to = {};
	struct icmphdr *icmp;
	__u16 old, new;

	if (!pkt)
		return -1;
	icmp = ctx_at(ctx, pkt->l4, sizeof(*icmp));
	if (!icmp)
		return -1;
	old = icmp->type;
	icmp->type = pkt->is_v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY;
	new = icmp->type;
	icmp->checksum = csum_apply(icmp->checksum, csum_change16(old, new));
	for (int i = 0; i < 4; i++) {
		to.saddr[i] = pkt->key.daddr[i];
		to.daddr[i] = pkt->key.saddr[i];
	}
	if (rewrite(ctx, pkt, &to, 0) || set_answer_ttl(ctx, pkt) ||
	    swap_macs(ctx))
		return -1;
	pkt->action = ctx_send_back(ctx, pkt->hook, pkt->iface_flags);
	return 0;
}

#endif
