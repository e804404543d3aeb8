/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The l7 port, tc's end: what workers send. A SYN to a server makes the flow's
 * two directions, held against policy; everything else is delivered as it is.
 */
#ifndef TERRACE_PORT_H
#define TERRACE_PORT_H

#include "pipeline.h"

#define PACKET_IS_OURS 0 /* PACKET_HOST of <linux/if_packet.h> */

static __always_inline bool is_address(const __be32 a[4], const __be32 b[4])
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline void forget_flow(const struct flow_key *key,
					const struct config *cfg)
{
	struct flow_ref ref = {};

	if (flow_find(key, flow_hash(key, cfg->hash_seed), &ref) && ref.flow)
		flow_drop(ref.slot);
}

/*
 * Does another worker's flow still have this source and server? Its number's
 * splice tells; the programs' own state of a flow may be behind or ahead.
 */
static __always_inline bool is_lived_in(__u32 by, __u32 number,
					const struct splice *wanted)
{
	const struct splice *held = bpf_map_lookup_elem(&splices, &by);

	return by != number && held &&
	       held->source_port == wanted->source_port &&
	       held->server_port == wanted->server_port &&
	       is_address(held->source, wanted->source) &&
	       is_address(held->server, wanted->server);
}

/* Makes room for the answers of a flow, where an ended one has left its own. */
static __always_inline void forget_ended(const struct packet *pkt,
					 const struct config *cfg, __u32 number)
{
	struct flow_ref ref = {};

	if (flow_find(&pkt->reply, flow_hash(&pkt->reply, cfg->hash_seed),
		      &ref) &&
	    ref.flow && (ref.flow->flags & FLOW_L7) &&
	    !is_lived_in(ref.flow->service, number, &pkt->splice))
		flow_drop(ref.slot);
}

/* Is the flow there already, with this translation: the SYN comes again. */
static __always_inline bool is_bound(const struct packet *pkt,
				     const struct config *cfg, __u32 number)
{
	const struct tuple *to = &pkt->open.to;
	struct flow_ref ref = {};
	struct flow *flow;

	if (!flow_find(&pkt->key, flow_hash(&pkt->key, cfg->hash_seed), &ref) ||
	    !ref.flow)
		return false;
	flow = ref.flow;
	return (flow->flags & FLOW_L7) && flow->service == number &&
	       flow->kind == FLOW_ORIG && flow->new_sport == to->sport &&
	       flow->new_dport == to->dport &&
	       is_address(flow->new_saddr, to->saddr) &&
	       is_address(flow->new_daddr, to->daddr);
}

/* The client's packet and what becomes of it, as the splice has them. */
static __always_inline void take_ends(struct packet *pkt)
{
	const struct splice *splice = &pkt->splice;
	struct opening *open = &pkt->open;

	for (int w = 0; w < 4; w++) {
		pkt->key.saddr[w] = splice->client[w];
		pkt->key.daddr[w] = splice->service[w];
		open->to.saddr[w] = splice->source[w];
		open->to.daddr[w] = splice->server[w];
	}
	pkt->key.sport = splice->client_port;
	pkt->key.dport = splice->service_port;
	open->to.sport = splice->source_port;
	open->to.dport = splice->server_port;
}

/* Both directions of the flow of a SYN to a server; 0 or why not. */
static __always_inline int make_flow(struct packet *pkt, struct view *view,
				     __u32 number)
{
	struct opening *open = &pkt->open;
	struct flow_ref ref = {};
	int reason;

	view->src = endpoint_of(pkt->key.saddr);
	view->dst = endpoint_of(open->to.daddr);
	if (!view->src || !view->dst)
		return REASON_NOT_OURS;
	reason = judge(view, view->src, view->dst, IPPROTO_TCP,
		       bpf_ntohs(open->to.dport));
	if (reason && reason != REASON_TO_WORKER)
		return reason;
	if (dry_run || is_bound(pkt, view->cfg, number))
		return 0;
	open->flags = FLOW_L7 | FLOW_NAT | local_flags(view);
	open->service = number;
	open->backend = pkt->splice.backend;
	forget_flow(&pkt->key, view->cfg);
	build_reply_key(pkt, open);
	/* What is lived in stays, and there is no port for this one. */
	forget_ended(pkt, view->cfg, number);
	reason = track(pkt, view, open, &ref);
	return reason < 0 ? REASON_FLOWS_FULL : reason;
}

static __always_inline bool is_to_server(const struct flow_key *key,
					 const struct splice *splice)
{
	return key->sport == splice->source_port &&
	       key->dport == splice->server_port &&
	       is_address(key->saddr, splice->source) &&
	       is_address(key->daddr, splice->server);
}

static __noinline int open_l7(struct packet *pkt, struct view *view,
			      __u32 number)
{
	const struct splice *splice = &pkt->splice;
	int reason;

	__builtin_memset(&pkt->open, 0, sizeof(pkt->open));
	__builtin_memset(&pkt->reply, 0, sizeof(pkt->reply));
	if (copy_splice(pkt, number) || !is_to_server(&pkt->key, splice))
		return REASON_L7_UNFIT;
	take_ends(pkt);
	reason = make_flow(pkt, view, number);
	/* The packet's own again. */
	for (int w = 0; w < 4; w++) {
		pkt->key.saddr[w] = splice->source[w];
		pkt->key.daddr[w] = splice->server[w];
	}
	pkt->key.sport = splice->source_port;
	pkt->key.dport = splice->server_port;
	return reason;
}

/* A worker's FIN or RST to a server: nothing else tells the flow's end. */
static __noinline int close_l7(struct packet *pkt, const struct view *view)
{
	struct flow_key *reply = &pkt->reply;
	struct flow_ref ref = {};

	__builtin_memset(reply, 0, sizeof(*reply));
	for (int w = 0; w < 4; w++) {
		reply->saddr[w] = pkt->key.daddr[w];
		reply->daddr[w] = pkt->key.saddr[w];
	}
	reply->sport = pkt->key.dport;
	reply->dport = pkt->key.sport;
	reply->proto = IPPROTO_TCP;
	if (flow_find(reply, flow_hash(reply, view->cfg->hash_seed), &ref) &&
	    ref.flow && (ref.flow->flags & FLOW_L7))
		track_tcp(&ref, true, pkt->tcp_flags, view->now);
	return 0;
}

/* What the worker has translated itself. */
static __noinline int deliver(context_t *ctx, struct packet *pkt,
			      const struct view *view)
{
	struct tuple *to = &pkt->back;
	struct way way = {};
	int reason;

	for (int w = 0; w < 4; w++) {
		to->saddr[w] = pkt->key.saddr[w];
		to->daddr[w] = pkt->key.daddr[w];
	}
	to->sport = pkt->key.sport;
	to->dport = pkt->key.dport;
	reason = find_way(ctx, pkt, view, to, true, &way);
	if (reason)
		return reason == REASON_TOO_BIG ? REASON_TO_FRAGMENT : reason;
	if (way.hops && take_hop(ctx, pkt))
		return REASON_HELPER_FAILED;
	if (way.kind == WAY_STACK && bpf_skb_change_type(ctx, PACKET_IS_OURS))
		return REASON_HELPER_FAILED;
	return take_way(ctx, pkt, view, &way);
}

static __always_inline int serve_port(context_t *ctx, struct packet *pkt,
				      struct view *view)
{
	struct l7_frame *frame = ctx_pull(ctx, 0, sizeof(*frame));
	__u32 number, kind;
	int reason;

	if (!frame)
		return REASON_TRUNCATED;
	number = frame->number[0] | (__u32)frame->number[1] << 16;
	kind = frame->kind;
	if (frame->magic != L7_MAGIC ||
	    (kind != L7_TO_CLIENT && kind != L7_TO_SERVER))
		return REASON_L7_UNFIT;
	reason = parse_l3(ctx, pkt);
	if (reason)
		return reason;
	reason = parse_packet(ctx, pkt);
	if (reason)
		return reason;
	if (is_unfit(pkt) || pkt->key.proto != IPPROTO_TCP)
		return REASON_L7_UNFIT;
	if (kind == L7_TO_SERVER &&
	    (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		reason = open_l7(pkt, view, number);
		if (reason)
			return reason;
	} else if (kind == L7_TO_SERVER &&
		   (pkt->tcp_flags & (TCP_FIN | TCP_RST))) {
		close_l7(pkt, view);
	}
	return deliver(ctx, pkt, view);
}

/* The body of the port's entry program. */
static __always_inline int run_port(context_t *ctx)
{
	struct view view = {.role = ROLE_L7_PORT};
	__u32 bytes = ctx_len(ctx);
	struct packet *pkt = begin(&view, HOOK_TC_INGRESS);

	if (!pkt)
		return ACTION_PASS;
	view.iface = iface_of(ctx_ifindex(ctx), &view.iface_slot);
	if (!view.iface)
		return finish(pkt, &view, REASON_IFACE_UNKNOWN, bytes);
	return finish(pkt, &view, serve_port(ctx, pkt, &view), bytes);
}

#endif
