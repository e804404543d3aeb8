/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pipeline, once for every hook: deny list, tracked flows, new flows with
 * service, policy and NAT. A step returns 0 (go on) or the reason at which
 * the packet's way through this program ends; finish() counts it, once, and
 * turns it into the hook's action.
 */
#ifndef TERRACE_PIPELINE_H
#define TERRACE_PIPELINE_H

#include "open.h"

static __always_inline int prefilter(const struct packet *pkt,
				     const struct view *view)
{
	if (!(view->cfg->flags & CONFIG_DENY_LIST) ||
	    view->iface->prefilter_hook != view->hook)
		return 0;
	return deny_lookup((const struct address *)pkt->key.saddr) ?
		       REASON_DENY_LIST :
		       0;
}

/* Later fragments of what nobody here follows are the stack's. */
static __always_inline int fragment_step(struct packet *pkt,
					 const struct view *view)
{
	if (pkt->fragment == FRAGMENT_FIRST && !dry_run)
		remember_fragment(pkt, view->now);
	if (pkt->fragment != FRAGMENT_LATER || !recall_fragment(pkt))
		return 0;
	if (view->role == ROLE_WORKLOAD ||
	    (view->dst->flags & (ENDPOINT_WORKLOAD | ENDPOINT_VIRTUAL)))
		return REASON_FRAGMENT_UNKNOWN;
	return REASON_NOT_OURS;
}

static __always_inline int echo_step(context_t *ctx, struct packet *pkt,
				     const struct view *view)
{
	if (pkt->icmp_kind != ICMP_IS_ECHO ||
	    !(view->dst->flags & ENDPOINT_VIRTUAL) ||
	    !(view->cfg->flags & CONFIG_ANSWER_ECHO))
		return 0;
	if (pkt->fragment)
		return REASON_NO_SERVICE;
	if (dry_run)
		return REASON_ECHO_REPLY;
	return answer_echo(ctx, pkt) ? REASON_HELPER_FAILED : REASON_ECHO_REPLY;
}

/* Does this program have anything to do with the packet's addresses? */
static __always_inline int classify(const struct packet *pkt, struct view *view)
{
	__u32 mine =
		IS_XDP ? ENDPOINT_SERVICE | ENDPOINT_HOST :
			 ENDPOINT_SERVICE | ENDPOINT_HOST | ENDPOINT_WORKLOAD;

	view->dst = endpoint_of(pkt->key.daddr);
	if (!view->dst)
		return REASON_NOT_OURS;
	if (view->role == ROLE_UPLINK && view->hook != HOOK_TC_EGRESS &&
	    !(view->dst->flags & mine))
		return view->dst->flags & ENDPOINT_WORKLOAD ? REASON_TO_TC :
							      REASON_NOT_OURS;
	if (view->role != ROLE_WORKLOAD || view->hook != HOOK_TC_INGRESS)
		return 0;
	view->src = endpoint_of(pkt->key.saddr);
	if (!view->src)
		return REASON_NOT_OURS;
	if ((view->cfg->flags & CONFIG_CHECK_SOURCE) &&
	    (!(view->src->flags & ENDPOINT_WORKLOAD) ||
	     view->src->ifindex != view->iface->ifindex))
		return REASON_SPOOFED_SOURCE;
	return 0;
}

/* ICMP without state has the key of an echo whose identifier is 0. */
static __always_inline bool may_have_flow(const struct packet *pkt)
{
	return !is_icmp(pkt) || pkt->icmp_kind == ICMP_IS_ECHO ||
	       pkt->icmp_kind == ICMP_IS_REPLY ||
	       pkt->fragment == FRAGMENT_LATER;
}

static __always_inline int pipeline(context_t *ctx, struct packet *pkt,
				    struct view *view)
{
	struct flow_ref ref = {};
	int reason = parse_l3(ctx, pkt);

	if (reason)
		return reason;
	reason = prefilter(pkt, view);
	if (reason)
		return reason;
	reason = parse_packet(ctx, pkt);
	if (reason)
		return reason;
	reason = classify(pkt, view);
	if (reason)
		return reason;
	reason = fragment_step(pkt, view);
	if (reason)
		return reason;
	if (pkt->icmp_kind == ICMP_IS_ERROR) {
		reason = serve_related(ctx, pkt, view);
		if (reason)
			return reason;
	}
	reason = echo_step(ctx, pkt, view);
	if (reason)
		return reason;
	if (may_have_flow(pkt) &&
	    flow_find(&pkt->key, flow_hash(&pkt->key, view->cfg->hash_seed),
		      &ref) &&
	    ref.flow) {
		reason = serve_flow(ctx, pkt, view, &ref);
		if (reason)
			return reason;
	}
	reason = open_flow(ctx, pkt, view, &ref);
	if (reason || !ref.flow)
		return reason ? reason : REASON_FLOWS_FULL;
	reason = serve_flow(ctx, pkt, view, &ref);
	return reason ? reason : REASON_FLOWS_FULL;
}

/* Packets too big for the next link: the answer needs the untouched packet. */
static __always_inline int answer_size(context_t *ctx, struct packet *pkt,
				       const struct view *view, int reason)
{
	__u32 mtu = pkt->out_ifindex;

	if (reason != REASON_TOO_BIG)
		return reason;
	pkt->out_ifindex = 0;
	/* An error is never answered with an error (RFC 1122, 4443). */
	if (pkt->icmp_kind == ICMP_IS_ERROR)
		return REASON_TO_FRAGMENT;
	if (dry_run)
		return reason;
	return answer_too_big(ctx, pkt, mtu) ? REASON_HELPER_FAILED :
					       REASON_TOO_BIG;
}

/* What every entry program begins with: the packet's facts, or NULL. */
static __always_inline struct packet *begin(struct view *view, __u32 hook)
{
	__u32 zero = 0;
	struct scratch *room = bpf_map_lookup_elem(&scratch, &zero);

	view->cfg = bpf_map_lookup_elem(&config, &zero);
	if (!view->cfg || !room)
		return NULL;
	__builtin_memset(&room->pkt, 0, PACKET_FACTS);
	room->pkt.hook = hook;
	view->hook = hook;
	view->now = bpf_jiffies64();
	/* Before anything is looked up: a flow never claims to know more. */
	view->policy_rev = *(const volatile __u32 *)&view->cfg->policy_rev;
	return &room->pkt;
}

/* The body of the entry programs of uplinks and workloads. */
static __always_inline int run(context_t *ctx, __u32 hook, __u32 role)
{
	struct view view = {.role = role};
	__u32 bytes = ctx_len(ctx);
	struct packet *pkt = begin(&view, hook);
	int reason;

	if (!pkt)
		return ACTION_PASS;
	view.iface = iface_of(ctx_ifindex(ctx), &view.iface_slot);
	if (!view.iface)
		return finish(pkt, &view, REASON_IFACE_UNKNOWN, bytes);
	pkt->iface_flags = view.iface->flags;
	if (ctx_is_marked(ctx))
		return finish(pkt, &view, REASON_ALREADY_HANDLED, bytes);
	reason = pipeline(ctx, pkt, &view);
	reason = answer_size(ctx, pkt, &view, reason);
	return finish(pkt, &view, reason, bytes);
}

#endif
