/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where a packet goes next: first decided (find_way, changes nothing, so XDP
 * can still pass the packet on untouched), then done (take_way, after the
 * headers were rewritten).
 */
#ifndef TERRACE_WAY_H
#define TERRACE_WAY_H

#include "flow.h"
#include "nexthop.h"
#include "rewrite.h"

/* What every step of a program shares. */
struct view {
	const struct config *cfg;
	const struct iface *iface;
	const struct endpoint *src;
	const struct endpoint *dst;
	__u32 iface_slot;
	__u32 policy_rev; /* from before anything was looked up */
	__u32 now;
	__u16 hook;
	__u16 role;
};

enum way_kind {
	WAY_PEER,      /* into a local workload's namespace */
	WAY_WORKLOAD,  /* out of a local workload's interface */
	WAY_STACK,     /* to this host's stack */
	WAY_FRAGMENTS, /* to this host's stack, which cuts it up */
	WAY_NEIGHBOUR, /* the kernel resolves the next hop */
	WAY_OUT,       /* out of an interface, next hop known */
};

struct way {
	__u32 kind;
	__u32 ifindex;
	__u32 hops; /* to take from TTL or hop limit */
	__u32 mtu;
	__u8 dmac[6];
	__u8 smac[6];
};

static __always_inline const struct endpoint *endpoint_of(const __be32 words[4])
{
	__u32 index = address_lookup((const struct address *)words);

	return bpf_map_lookup_elem(&endpoints, &index);
}

static __always_inline bool is_local(const struct endpoint *endpoint)
{
	return endpoint->flags & (ENDPOINT_WORKLOAD | ENDPOINT_HOST);
}

/* Open addressing by interface index; `slot` is where the counters are. */
static __always_inline const struct iface *iface_of(__u32 ifindex, __u32 *slot)
{
	for (__u32 i = 0; i < IFACE_PROBES; i++) {
		__u32 index = (ifindex + i) & (IFACES_MAX - 1);
		struct iface *iface = bpf_map_lookup_elem(&ifaces, &index);

		if (!iface)
			return NULL;
		if (iface->ifindex == ifindex) {
			*slot = index;
			return iface;
		}
	}
	return NULL;
}

/* To the daemon; at most one of a kind per CPU and jiffy. */
static __always_inline void report(__u32 kind, __u32 ifindex,
				   const __be32 addr[4], __u32 service)
{
	__u32 zero = 0, now = bpf_jiffies64();
	struct scratch *room = bpf_map_lookup_elem(&scratch, &zero);
	struct event *event;

	if (dry_run || !room || room->last_report[kind & 3] == now)
		return;
	room->last_report[kind & 3] = now;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	event->kind = kind;
	event->ifindex = ifindex;
	for (int i = 0; i < 4; i++)
		event->addr[i] = addr[i];
	event->service = service;
	event->pad = 0;
	bpf_ringbuf_submit(event, 0);
}

/* Bytes on the next link: of the largest segment when the packet is GSO. */
static __always_inline __u32 link_len(context_t *ctx, const struct packet *pkt)
{
	__u32 gso = ctx_gso_size(ctx), l4_len = 8;

	if (!gso)
		return pkt->len;
	if (pkt->key.proto == IPPROTO_TCP) {
		struct tcphdr *tcp = ctx_at(ctx, pkt->l4, sizeof(*tcp));

		l4_len = tcp ? tcp->doff * 4 : sizeof(*tcp);
	}
	return pkt->l4 - pkt->l3 + l4_len + gso;
}

static __always_inline int way_to_workload(const struct packet *pkt,
					   const struct view *view,
					   const struct endpoint *dst,
					   struct way *way)
{
	bool ingress = view->hook == HOOK_TC_INGRESS;

	way->ifindex = dst->ifindex;
	way->hops = ingress;
	if (ingress && pkt->ttl <= 1)
		return REASON_TTL_EXPIRED;
	if (view->iface->ifindex == dst->ifindex && !ingress) {
		way->kind = WAY_STACK; /* already on its way there */
		return 0;
	}
	way->kind = ingress && !(dst->flags & ENDPOINT_NO_PEER) ? WAY_PEER :
								  WAY_WORKLOAD;
	if (mac_is_zero(dst->mac))
		way->kind = WAY_NEIGHBOUR;
	__builtin_memcpy(way->dmac, dst->mac, 6);
	__builtin_memcpy(way->smac, dst->iface_mac, 6);
	return 0;
}

/* XDP redirects only to interfaces that it serves itself. */
static __always_inline bool xdp_can_send(const struct view *view, __u32 ifindex)
{
	const struct iface *iface;
	__u32 slot;

	if (view->iface->ifindex == ifindex)
		return true;
	iface = iface_of(ifindex, &slot);
	return iface && iface->prefilter_hook == HOOK_XDP;
}

static __always_inline int way_out(context_t *ctx, const struct packet *pkt,
				   const struct view *view,
				   const struct tuple *to, __u32 extra,
				   struct way *way)
{
	struct nexthop *hop = NULL;
	int reason = nexthop_of(ctx, pkt, view->cfg, to, &hop);

	if (reason == REASON_NO_ROUTE || !hop)
		return REASON_NO_ROUTE;
	way->ifindex = hop->ifindex;
	way->hops = view->hook != HOOK_TC_EGRESS;
	way->mtu = hop->mtu - extra;
	if (way->hops && pkt->ttl <= 1)
		return REASON_TTL_EXPIRED;
	if (reason == REASON_NO_NEIGHBOUR) {
		way->kind = WAY_NEIGHBOUR;
		report(EVENT_NO_NEIGHBOUR, hop->ifindex, to->daddr, 0);
		return IS_XDP ? REASON_NO_NEIGHBOUR : 0;
	}
	if (IS_XDP && !xdp_can_send(view, hop->ifindex))
		return REASON_TO_TC;
	way->kind = WAY_OUT;
	__builtin_memcpy(way->dmac, hop->dmac, 6);
	__builtin_memcpy(way->smac, hop->smac, 6);
	if (link_len(ctx, pkt) <= way->mtu)
		return 0;
	if (pkt->dont_fragment)
		return REASON_TOO_BIG;
	if (IS_XDP)
		return REASON_TO_TC;
	way->kind = WAY_FRAGMENTS;
	way->hops = 0; /* the stack takes its own */
	return 0;
}

/*
 * The way for a packet whose headers become `to`; 0, or the reason why it
 * can't be taken. `local` = the destination may be this host or a workload.
 */
static __always_inline int find_way(context_t *ctx, const struct packet *pkt,
				    const struct view *view,
				    const struct tuple *to, bool local,
				    struct way *way)
{
	const struct endpoint *dst;

	if (!local)
		return way_out(ctx, pkt, view, to, 0, way);
	if (IS_XDP)
		return REASON_TO_TC;
	dst = endpoint_of(to->daddr);
	if (dst && (dst->flags & ENDPOINT_WORKLOAD))
		return way_to_workload(pkt, view, dst, way);
	if (dst && (dst->flags & ENDPOINT_HOST)) {
		/* What is leaving the host does not come back to it. */
		if (view->hook == HOOK_TC_EGRESS)
			return REASON_LOOP;
		way->kind = WAY_STACK;
		return 0;
	}
	return way_out(ctx, pkt, view, to, 0, way);
}

#if IS_XDP
static __always_inline int take_way(context_t *ctx, struct packet *pkt,
				    const struct view *view,
				    const struct way *way)
{
	if (write_macs(ctx, way->dmac, way->smac))
		return REASON_HELPER_FAILED;
	pkt->action = ctx_send(ctx, way->ifindex, pkt->iface_flags);
	pkt->out_ifindex = way->ifindex;
	return way->ifindex == ctx_ifindex(ctx) ? REASON_TX : REASON_REDIRECT;
}
#else
/* A workload's interface carries no tags; the stack would strip them. */
static __always_inline void pop_tags(context_t *ctx, const struct packet *pkt)
{
	for (__u32 i = 0; i < VLAN_TAGS_MAX; i++)
		if (i < pkt->tags)
			bpf_skb_vlan_pop(ctx);
	if (ctx->vlan_present)
		bpf_skb_vlan_pop(ctx);
}

static __always_inline int take_way(context_t *ctx, struct packet *pkt,
				    const struct view *view,
				    const struct way *way)
{
	pkt->out_ifindex = way->ifindex;
	if (way->kind == WAY_STACK || way->kind == WAY_FRAGMENTS) {
		ctx_mark(ctx);
		pkt->action = ACTION_PASS;
		return way->kind == WAY_STACK ? REASON_TO_HOST :
						REASON_TO_FRAGMENT;
	}
	if (way->kind == WAY_NEIGHBOUR) {
		ctx_mark(ctx);
		pkt->action = bpf_redirect_neigh(way->ifindex, NULL, 0, 0);
		return REASON_TO_NEIGHBOUR;
	}
	if (write_macs(ctx, way->dmac, way->smac))
		return REASON_HELPER_FAILED;
	if (way->kind == WAY_PEER) {
		pop_tags(ctx, pkt);
		pkt->action = bpf_redirect_peer(way->ifindex, 0);
		return REASON_TO_WORKLOAD;
	}
	if (way->kind == WAY_WORKLOAD) {
		pop_tags(ctx, pkt);
		pkt->action = ctx_send(ctx, way->ifindex, pkt->iface_flags);
		return REASON_TO_WORKLOAD;
	}
	/* At egress the packet is already leaving by this interface. */
	if (view->hook == HOOK_TC_EGRESS && way->ifindex == ctx->ifindex) {
		ctx_mark(ctx);
		pkt->action = ACTION_PASS;
		return REASON_REDIRECT;
	}
	pkt->action = ctx_send(ctx, way->ifindex, pkt->iface_flags);
	return way->ifindex == ctx->ifindex ? REASON_TX : REASON_REDIRECT;
}
#endif

#endif
