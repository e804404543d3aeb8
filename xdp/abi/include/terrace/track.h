/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow's life: opening both directions with a source port where one is
 * needed, following TCP's flags, refreshing, counting.
 */
#ifndef TERRACE_TRACK_H
#define TERRACE_TRACK_H

#include "claim.h"
#include "service.h"
#include "way.h"

#define SNAT_ATTEMPTS 20

/* With direct server return the answer comes from the service's address. */
static __always_inline void build_reply_key(struct packet *pkt,
					    const struct opening *open)
{
	const struct tuple *to = &open->to;
	struct flow_key *reply = &pkt->reply;

	if (open->flags & FLOW_DSR) {
		flow_key_reverse(reply, &pkt->key);
		return;
	}
	for (int i = 0; i < 4; i++) {
		reply->saddr[i] = to->daddr[i];
		reply->daddr[i] = to->saddr[i];
	}
	reply->sport = to->dport;
	reply->dport = to->sport;
	reply->proto = pkt->key.proto;
}

static __always_inline __u8 first_state(const struct packet *pkt)
{
	switch (pkt->key.proto) {
	case IPPROTO_TCP:
		return FLOW_NEW;
	case IPPROTO_UDP:
		return FLOW_UDP;
	default:
		return is_icmp(pkt) ? FLOW_ICMP : FLOW_OTHER;
	}
}

/* Fills a claimed slot; the caller unlocks it. */
static __always_inline void
fill_slot(struct flow *flow, const struct opening *open,
	  const struct packet *pkt, const struct view *view,
	  const struct tuple *to, __u32 peer, __u8 kind)
{
	for (int w = 0; w < 4; w++) {
		flow->new_saddr[w] = to->saddr[w];
		flow->new_daddr[w] = to->daddr[w];
	}
	flow->new_sport = to->sport;
	flow->new_dport = to->dport;
	flow->service = open->service;
	flow->backend = open->backend;
	flow->peer = peer;
	flow->policy_rev = view->policy_rev;
	flow->created = view->now;
	flow->packets = 0;
	flow->bytes = 0;
	flow->last_seen = view->now;
	flow->state = first_state(pkt);
	flow->flags |= open->flags;
	if (is_local(kind == FLOW_ORIG ? view->src : view->dst))
		flow->flags |= FLOW_FROM_HERE;
	flow->kind = kind;
}

static __always_inline __be16 pool_port(const struct config *cfg, __u32 hash,
					__u32 attempt)
{
	__u32 min = cfg->snat_port_min;
	__u32 range = cfg->snat_port_max - min + 1;

	return bpf_htons(min + (hash + attempt * 0x9E37) % (range ? range : 1));
}

/* A claimed slot; of the flow that had it, the other direction goes too. */
static __always_inline int take_slot(__u32 slot, struct flow_ref *ref)
{
	if (!flow_at(slot, ref) || !ref->flow)
		return 0;
	if (ref->flow->peer != NO_SLOT)
		flow_free(ref->flow->peer, slot);
	return 1;
}

static __always_inline bool has_ports(const struct packet *pkt)
{
	return pkt->key.proto == IPPROTO_TCP || pkt->key.proto == IPPROTO_UDP;
}

/* One try; a global function, verified once. */
__noinline int claim_reply_once(struct packet *pkt, __u32 now, __u32 attempt)
{
	__u32 zero = 0;
	struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct opening *open;

	if (!pkt || !cfg)
		return -CLAIM_FULL;
	open = &pkt->open;
	/*
	 * Kept source taken by another flow: only the port changes. That of a
	 * worker's flow is the worker's choice.
	 */
	if (attempt && has_ports(pkt) && !(open->flags & (FLOW_DSR | FLOW_L7)))
		open->flags |= FLOW_SNAT | FLOW_NAT;
	if (open->flags & FLOW_SNAT)
		open->to.sport = pool_port(
			cfg, flow_hash(&pkt->key, cfg->hash_seed), attempt);
	build_reply_key(pkt, open);
	return flow_claim(&pkt->reply, flow_hash(&pkt->reply, cfg->hash_seed),
			  now);
}

/* Claims the reply direction; with SNAT it is what makes a port ours. */
static __always_inline int
claim_reply(struct packet *pkt, const struct view *view, struct flow_ref *reply)
{
	int result;

	for (__u32 i = 0; i < SNAT_ATTEMPTS; i++) {
		result = claim_reply_once(pkt, view->now, i);
		if (result >= 0)
			return take_slot(result, reply) ? 0 : REASON_FLOWS_FULL;
		if (result == -CLAIM_FULL)
			return REASON_FLOWS_FULL;
		if (!(pkt->open.flags & FLOW_SNAT) && (i || !has_ports(pkt)))
			return REASON_SNAT_PORTS_FULL;
	}
	return REASON_SNAT_PORTS_FULL;
}

static __always_inline void count_connection(__u32 backend)
{
	struct backend_stats *stats;

	stats = bpf_map_lookup_elem(&backend_stats, &backend);
	if (stats)
		stats->connections++;
}

/*
 * Makes both directions of a flow. 0, a reason, or -1 when another CPU has
 * just made the same flow (then the caller serves that one).
 */
static __noinline int track(struct packet *pkt, const struct view *view,
			    struct opening *open, struct flow_ref *orig)
{
	__u64 hash = flow_hash(&pkt->key, view->cfg->hash_seed);
	struct flow_ref reply = {};
	struct tuple *back = &pkt->back;
	int reason, result = flow_claim(&pkt->key, hash, view->now);

	if (result == -CLAIM_EXISTS)
		return -1;
	if (result < 0 || !take_slot(result, orig) || !orig->flow)
		return REASON_FLOWS_FULL;
	reason = claim_reply(pkt, view, &reply);
	if (reason || !reply.flow) {
		slot_clear(orig->flow, orig->slot);
		slot_unlock(orig->flow);
		return reason ? reason : REASON_FLOWS_FULL;
	}
	for (int w = 0; w < 4; w++) {
		back->saddr[w] = pkt->key.daddr[w];
		back->daddr[w] = pkt->key.saddr[w];
	}
	back->sport = pkt->key.dport;
	back->dport = pkt->key.sport;
	fill_slot(orig->flow, open, pkt, view, &open->to, reply.slot,
		  FLOW_ORIG);
	fill_slot(reply.flow, open, pkt, view, back, orig->slot, FLOW_REPLY);
	slot_unlock(reply.flow);
	orig->seq = orig->flow->seq + 1;
	slot_unlock(orig->flow);
	if (open->backend)
		count_connection(open->backend);
	return 0;
}

/* Sets state and adds flags in both directions. */
__noinline int flow_set(__u32 slot, __u32 state, __u32 flags, __u32 now)
{
	struct flow_ref ref = {};

	if (!flow_at(slot, &ref) || !ref.flow)
		return 0;
	ref.flow->state = state;
	ref.flow->flags |= flags;
	ref.flow->last_seen = now;
	if (!flow_at(ref.flow->peer, &ref) || !ref.flow ||
	    ref.flow->peer != slot)
		return 0;
	ref.flow->state = state;
	ref.flow->flags |= flags;
	ref.flow->last_seen = now;
	return 0;
}

/* Forgets both directions. */
__noinline int flow_drop(__u32 slot)
{
	struct flow_ref ref = {};
	__u32 peer;

	if (!flow_at(slot, &ref) || !ref.flow)
		return 0;
	peer = ref.flow->peer;
	flow_free(peer, slot);
	flow_free(slot, peer);
	return 0;
}

/* With direct server return the answer does not come by here. */
static __always_inline void track_tcp(const struct flow_ref *ref, bool orig,
				      __u8 flags, __u32 now)
{
	__u32 old = ref->flow->flags, state = ref->flow->state;
	__u32 add = old, next = state;

	if (!orig)
		add |= FLOW_ANSWERED;
	if (flags & TCP_FIN)
		add |= orig ? FLOW_FIN_ORIG : FLOW_FIN_REPLY;
	if (flags & TCP_RST)
		next = FLOW_CLOSED;
	else if ((add & FLOW_FIN_ORIG) && (add & FLOW_FIN_REPLY))
		next = FLOW_CLOSED;
	else if (add & (FLOW_FIN_ORIG | FLOW_FIN_REPLY))
		next = FLOW_CLOSING;
	else if (state == FLOW_NEW && orig && (flags & TCP_ACK) &&
		 (add & (FLOW_ANSWERED | FLOW_DSR)))
		next = FLOW_ESTABLISHED;
	if (state == FLOW_CLOSED)
		next = FLOW_CLOSED;
	if (next != state || add != old)
		flow_set(ref->slot, next, add & ~FLOW_SPILLED, now);
}

/*
 * Time stamps and counters of a packet. The other direction is stamped eight
 * times per timeout, so that one-way traffic keeps both alive; more often
 * would cost every packet of a rarely used flow its other direction's lines.
 */
static __always_inline void refresh(const struct flow_ref *ref,
				    const struct config *cfg, __u32 now,
				    __u32 len)
{
	struct flow *flow = ref->flow;
	__u32 last = flow->last_seen;

	if (now != last) {
		__u32 period =
			cfg->timeouts[flow->state & (FLOW_STATES - 1)] / 8;

		if (!period || now / period != last / period)
			flow_set(ref->slot, flow->state, 0, now);
		flow->last_seen = now;
	}
	flow->packets++;
	flow->bytes += len;
}

/* Per packet of a tracked flow: state, time stamps, counters. */
static __always_inline void follow(const struct flow_ref *ref,
				   const struct packet *pkt,
				   const struct view *view)
{
	struct flow *flow = ref->flow;
	__u32 state = flow->state;

	if (pkt->key.proto == IPPROTO_TCP) {
		if (state != FLOW_ESTABLISHED ||
		    (pkt->tcp_flags & (TCP_FIN | TCP_RST)))
			track_tcp(ref, flow->kind == FLOW_ORIG, pkt->tcp_flags,
				  view->now);
	} else if (state == FLOW_UDP && flow->kind == FLOW_REPLY) {
		flow_set(ref->slot, FLOW_UDP_STREAM, FLOW_ANSWERED, view->now);
	}
	if (!!(flow->flags & FLOW_BY_XDP) != IS_XDP)
		flow->flags ^= FLOW_BY_XDP;
	refresh(ref, view->cfg, view->now, pkt->len);
}

static __always_inline void count_backend(__u32 backend, __u32 from, __u32 len)
{
	struct backend_stats *stats;

	if (!backend)
		return;
	stats = bpf_map_lookup_elem(&backend_stats, &backend);
	if (!stats)
		return;
	stats->packets[from & 1]++;
	stats->bytes[from & 1] += len;
}

/* A first fragment tells the later ones their ports. */
__noinline int remember_fragment(const struct packet *pkt, __u32 now)
{
	struct fragment_key key = {};
	struct fragment ports = {};

	if (!pkt)
		return 0;
	for (int i = 0; i < 4; i++) {
		key.saddr[i] = pkt->key.saddr[i];
		key.daddr[i] = pkt->key.daddr[i];
	}
	key.id = pkt->fragment_id;
	key.proto = pkt->key.proto;
	ports.sport = pkt->key.sport;
	ports.dport = pkt->key.dport;
	ports.last_seen = now;
	bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
	return 0;
}

/* Gives a later fragment the ports of its first one; 0 when known. */
__noinline int recall_fragment(struct packet *pkt)
{
	struct fragment_key key = {};
	struct fragment *ports;

	if (!pkt)
		return -1;
	for (int i = 0; i < 4; i++) {
		key.saddr[i] = pkt->key.saddr[i];
		key.daddr[i] = pkt->key.daddr[i];
	}
	key.id = pkt->fragment_id;
	key.proto = pkt->key.proto;
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return -1;
	pkt->key.sport = ports->sport;
	pkt->key.dport = ports->dport;
	return 0;
}

#endif
