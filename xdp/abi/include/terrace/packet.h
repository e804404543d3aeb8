/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packet in, facts out: Ethernet with up to two tags, IPv4 with options, IPv6
 * with extension headers, and the ports of TCP, UDP, SCTP and ICMP echo.
 * A parser returns 0 or the reason why the packet goes no further.
 */
#ifndef TERRACE_PACKET_H
#define TERRACE_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/icmpv6.h>
#include <bpf/bpf_endian.h>
#include "cells.h"
#include "facts.h"

#define VLAN_TAGS_MAX 2
#define EXTENSIONS_MAX 6
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_MORE_FRAGMENTS 0x2000
#define IP_DONT_FRAGMENT 0x4000

enum fragment_part {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,
};

enum icmp_kind {
	ICMP_NONE = 0, /* not ICMP, or a type without state */
	ICMP_IS_ECHO = 1,
	ICMP_IS_REPLY = 2,
	ICMP_IS_ERROR = 3,
};

/* <linux/icmp.h> drags the C library in; RFC 792 and RFC 4443. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4

struct icmphdr {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	union {
		struct {
			__be16 id;
			__be16 sequence;
		} echo;
		__be32 gateway;
	} un;
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct extension {
	__u8 next;
	__u8 len; /* in 8 bytes, the first not counted */
	__u16 pad;
	__u32 pad2;
};

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) ||
	       proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline int parse_ethernet(context_t *ctx, struct packet *pkt,
					  __be16 *proto)
{
	struct ethhdr *eth = ctx_pull(ctx, 0, sizeof(*eth));

	if (!eth)
		return REASON_TRUNCATED;
	*proto = eth->h_proto;
	pkt->l3 = sizeof(*eth);
	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(*proto); i++) {
		struct vlan_tag *tag;

		tag = ctx_pull(ctx, pkt->l3, sizeof(*tag));
		if (!tag)
			return REASON_TRUNCATED;
		*proto = tag->proto;
		pkt->l3 += sizeof(*tag);
		pkt->tags++;
	}
	return 0;
}

static __always_inline void addr_from_v4(__be32 addr[4], __be32 v4)
{
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
	addr[3] = v4;
}

static __always_inline int parse_ipv4(context_t *ctx, struct packet *pkt)
{
	struct iphdr *ip = ctx_pull(ctx, pkt->l3, sizeof(*ip));
	__u32 header_len, total;
	__u16 frag;

	if (!ip)
		return REASON_TRUNCATED;
	header_len = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	/* A GSO packet over 64 kB has no length in its header. */
	if (!total && ctx_gso_size(ctx))
		total = ctx_len(ctx) - pkt->l3;
	if (ip->version != 4 || header_len < sizeof(*ip) ||
	    total < header_len || pkt->l3 + total > ctx_len(ctx))
		return REASON_BAD_IP_HEADER;
	frag = bpf_ntohs(ip->frag_off);
	if (frag & IP_FRAGMENT_OFFSET)
		pkt->fragment = FRAGMENT_LATER;
	else if (frag & IP_MORE_FRAGMENTS)
		pkt->fragment = FRAGMENT_FIRST;
	pkt->fragment_id = ip->id;
	pkt->dont_fragment = !!(frag & IP_DONT_FRAGMENT);
	pkt->is_v4 = 1;
	pkt->ttl = ip->ttl;
	pkt->len = total;
	pkt->l4 = pkt->l3 + header_len;
	pkt->key.proto = ip->protocol;
	addr_from_v4(pkt->key.saddr, ip->saddr);
	addr_from_v4(pkt->key.daddr, ip->daddr);
	return 0;
}

/* `len` bytes at `off` that the IP packet really has: no padding. */
static __always_inline void *ip_pull(context_t *ctx, const struct packet *pkt,
				     __u32 off, __u32 len)
{
	if (off - pkt->l3 + len > pkt->len)
		return NULL;
	return ctx_pull(ctx, off, len);
}

/* `len` bytes of the header that comes next. */
static __always_inline void *l4_at(context_t *ctx, const struct packet *pkt,
				   __u32 len)
{
	return ip_pull(ctx, pkt, pkt->l4, len);
}

/* Steps over one extension header; 1 = another one may follow. */
static __always_inline int parse_extension(context_t *ctx, struct packet *pkt,
					   __u8 *next)
{
	struct extension *ext;

	switch (*next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
		break;
	default:
		return 0;
	}
	ext = l4_at(ctx, pkt, sizeof(*ext));
	if (!ext)
		return -REASON_TRUNCATED;
	if (*next == IPPROTO_ROUTING && (ext->pad & 0xff) == 0)
		return -REASON_ROUTING_HEADER;
	if (*next == IPPROTO_FRAGMENT) {
		__u16 frag = bpf_ntohs(ext->pad);

		if (frag & 0xfff8)
			pkt->fragment = FRAGMENT_LATER;
		else if (frag & 1)
			pkt->fragment = FRAGMENT_FIRST;
		pkt->fragment_id = ext->pad2;
		pkt->l4 += 8;
	} else if (*next == IPPROTO_AH) {
		pkt->l4 += (ext->len + 2) * 4;
	} else {
		pkt->l4 += (ext->len + 1) * 8;
	}
	*next = ext->next;
	/* What follows a later fragment's header is payload. */
	return pkt->fragment != FRAGMENT_LATER;
}

static __always_inline int parse_ipv6(context_t *ctx, struct packet *pkt)
{
	struct ipv6hdr *ip = ctx_pull(ctx, pkt->l3, sizeof(*ip));
	__u32 total;
	__u8 next;
	int more = 1;

	if (!ip)
		return REASON_TRUNCATED;
	total = bpf_ntohs(ip->payload_len);
	if (!total && ctx_gso_size(ctx))
		total = ctx_len(ctx) - pkt->l3 - sizeof(*ip);
	if (ip->version != 6 || pkt->l3 + sizeof(*ip) + total > ctx_len(ctx))
		return REASON_BAD_IP_HEADER;
	pkt->dont_fragment = 1;
	pkt->ttl = ip->hop_limit;
	pkt->len = total + sizeof(*ip);
	pkt->l4 = pkt->l3 + sizeof(*ip);
	__builtin_memcpy(pkt->key.saddr, &ip->saddr, 16);
	__builtin_memcpy(pkt->key.daddr, &ip->daddr, 16);
	next = ip->nexthdr;
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		more = parse_extension(ctx, pkt, &next);
		if (more < 0)
			return -more;
		if (!more)
			break;
	}
	if (more && pkt->fragment != FRAGMENT_LATER)
		return REASON_EXTENSION_HEADERS;
	pkt->key.proto = next;
	return 0;
}

static __always_inline bool addr_is_multicast(const __be32 addr[4],
					      const bool is_v4)
{
	if (!is_v4)
		return (addr[0] & 0xff) == 0xff;
	/* 240/4 is unicast to Linux, but for the limited broadcast. */
	return (addr[3] & 0xf0) == 0xe0 || addr[3] == 0xffffffff;
}

/*
 * Multicast, loopback, unspecified, the destination itself; IPv6: a mapped
 * IPv4 address too.
 */
static __always_inline bool is_bad_source(const struct flow_key *key,
					  const bool is_v4)
{
	const __be32 *src = key->saddr, *dst = key->daddr;
	__u8 first = src[3] & 0xff;

	if (src[3] == dst[3] && src[2] == dst[2] && src[1] == dst[1] &&
	    src[0] == dst[0])
		return true;
	if (is_v4)
		return first == 0 || first == 127 || first >= 224;
	if ((src[0] & 0xff) == 0xff)
		return true;
	if (src[0] == 0 && src[1] == 0 &&
	    (src[2] == bpf_htonl(0xffff) ||
	     (src[2] == 0 && (src[3] == 0 || src[3] == bpf_htonl(1)))))
		return true;
	return addr_is_v4(dst);
}

static __always_inline int truncated(const struct packet *pkt)
{
	return pkt->fragment ? REASON_FRAGMENT_TINY : REASON_TRUNCATED;
}

static __always_inline int parse_tcp(context_t *ctx, struct packet *pkt)
{
	struct tcphdr *tcp = l4_at(ctx, pkt, sizeof(*tcp));

	if (!tcp)
		return truncated(pkt);
	if (tcp->doff < 5 || pkt->l4 - pkt->l3 + tcp->doff * 4 > pkt->len)
		return REASON_BAD_L4_HEADER;
	pkt->key.sport = tcp->source;
	pkt->key.dport = tcp->dest;
	pkt->tcp_flags = ((__u8 *)tcp)[13];
	return 0;
}

static __always_inline int parse_udp(context_t *ctx, struct packet *pkt)
{
	struct udphdr *udp = l4_at(ctx, pkt, sizeof(*udp));
	__u32 len;

	if (!udp)
		return truncated(pkt);
	len = bpf_ntohs(udp->len);
	if (!ctx_gso_size(ctx) && !pkt->fragment &&
	    (len < sizeof(*udp) || pkt->l4 - pkt->l3 + len > pkt->len))
		return REASON_BAD_L4_HEADER;
	pkt->key.sport = udp->source;
	pkt->key.dport = udp->dest;
	return 0;
}

static __always_inline __u8 icmp4_kind(__u8 type)
{
	switch (type) {
	case ICMP_ECHO:
		return ICMP_IS_ECHO;
	case ICMP_ECHOREPLY:
		return ICMP_IS_REPLY;
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return ICMP_IS_ERROR;
	default:
		return ICMP_NONE;
	}
}

static __always_inline __u8 icmp6_kind(__u8 type)
{
	if (type == ICMPV6_ECHO_REQUEST)
		return ICMP_IS_ECHO;
	if (type == ICMPV6_ECHO_REPLY)
		return ICMP_IS_REPLY;
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB ?
		       ICMP_IS_ERROR :
		       ICMP_NONE;
}

/* ICMP of the packet's own family; the other's is a protocol like any. */
static __always_inline bool is_icmp(const struct packet *pkt)
{
	return pkt->key.proto == (pkt->is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/*
 * Router and neighbour discovery (RFC 4861: hop limit 255) and multicast
 * listener reports (RFC 2710, 3810: hop limit 1). With another hop limit they
 * may have been forwarded, or may be: then they are under policy like the rest.
 */
static __always_inline bool is_neighbour_discovery(const struct packet *pkt)
{
	__u8 type = pkt->icmp_type;

	if (pkt->is_v4)
		return false;
	if ((type >= 130 && type <= 132) || type == 143)
		return pkt->ttl == 1;
	return type >= 133 && type <= 137 && pkt->ttl == 255;
}

static __always_inline int parse_icmp(context_t *ctx, struct packet *pkt)
{
	struct icmphdr *icmp = l4_at(ctx, pkt, sizeof(*icmp));

	if (!icmp)
		return truncated(pkt);
	pkt->icmp_type = icmp->type;
	if (is_neighbour_discovery(pkt))
		return REASON_NEIGHBOUR_DISCOVERY;
	pkt->icmp_kind =
		pkt->is_v4 ? icmp4_kind(icmp->type) : icmp6_kind(icmp->type);
	if (pkt->icmp_kind == ICMP_IS_ECHO)
		pkt->key.sport = icmp->un.echo.id;
	if (pkt->icmp_kind == ICMP_IS_REPLY)
		pkt->key.dport = icmp->un.echo.id;
	return 0;
}

/* Ports of SCTP: it passes through, under policy, never translated. */
static __always_inline int parse_sctp(context_t *ctx, struct packet *pkt)
{
	struct udphdr *ports = l4_at(ctx, pkt, 12);

	if (!ports)
		return truncated(pkt);
	pkt->key.sport = ports->source;
	pkt->key.dport = ports->dest;
	return 0;
}

static __always_inline int parse_l3(context_t *ctx, struct packet *pkt)
{
	__be16 proto;
	int reason = parse_ethernet(ctx, pkt, &proto);

	if (reason)
		return reason;
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, pkt);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(ctx, pkt);
	return REASON_NOT_IP;
}

static __always_inline int parse_l4(context_t *ctx, struct packet *pkt)
{
	if (pkt->fragment == FRAGMENT_LATER)
		return 0;
	switch (pkt->key.proto) {
	case IPPROTO_TCP:
		return parse_tcp(ctx, pkt);
	case IPPROTO_UDP:
		return parse_udp(ctx, pkt);
	case IPPROTO_SCTP:
		return parse_sctp(ctx, pkt);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return is_icmp(pkt) ? parse_icmp(ctx, pkt) : 0;
	default:
		return 0;
	}
}

/* Neighbour discovery may come from ::, so it is told apart first. */
static __always_inline int parse_packet(context_t *ctx, struct packet *pkt)
{
	int reason = parse_l4(ctx, pkt);

	if (reason)
		return reason;
	if (addr_is_multicast(pkt->key.daddr, pkt->is_v4))
		return REASON_MULTICAST;
	if (is_bad_source(&pkt->key, pkt->is_v4))
		return REASON_BAD_SOURCE;
	return 0;
}

#endif
