/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tracked flows: translate, send, follow.
 */
#ifndef TERRACE_SERVE_H
#define TERRACE_SERVE_H

#include "encap.h"
#include "judge.h"
#include "related.h"
#include "track.h"

/* Translates and sends; the reason says where to. */
static __noinline int forward(context_t *ctx, struct packet *pkt,
			      const struct view *view, const struct tuple *to,
			      __u32 flags)
{
	struct way way = {};
	int reason;

	trace_tuple(to);
	reason = find_way(ctx, pkt, view, to, flags & FLOW_LOCAL, &way);
	if (reason == REASON_TOO_BIG)
		pkt->out_ifindex = way.mtu;
	if (reason)
		return reason;
	if (rewrite(ctx, pkt, to, way.hops))
		return REASON_HELPER_FAILED;
	reason = take_way(ctx, pkt, view, &way);
	/* Nothing translated, and the stack was where it went anyway. */
	if (reason == REASON_TO_HOST && !(flags & FLOW_NAT))
		return REASON_HOST_ALLOWED;
	return reason;
}

/*
 * After a policy change: the flow is judged again, in its own direction. A
 * refused one stays until it times out, so that it goes on if it is allowed
 * again before.
 */
static __noinline int recheck(const struct packet *pkt, const struct view *view,
			      const struct flow_ref *ref,
			      const struct tuple *to)
{
	bool orig = ref->flow->kind == FLOW_ORIG;
	const struct endpoint *src, *dst;
	int reason;

	src = endpoint_of(orig ? pkt->key.saddr : to->daddr);
	dst = endpoint_of(orig ? to->daddr : pkt->key.saddr);
	reason = judge(view, src, dst, pkt->key.proto,
		       policy_port(pkt, orig ? to->dport : pkt->key.sport));
	return reason;
}

static __always_inline void trace_flow(const struct flow_ref *ref)
{
	struct trace *trace = dry_trace();

	if (!trace)
		return;
	trace->flow_kind = ref->flow->kind;
	trace->flow_state = ref->flow->state;
	trace->service = ref->flow->service;
	trace->backend = ref->flow->backend;
}

/* 0 = not a flow of ours (any more): goes on as a new one. */
static __noinline int serve_flow(context_t *ctx, struct packet *pkt,
				 const struct view *view,
				 const struct flow_ref *ref)
{
	struct flow *flow = ref->flow;
	__u32 flags = flow->flags, backend;
	struct tuple to;
	bool reply;
	int reason;

	if (IS_XDP && (flags & FLOW_LOCAL))
		return REASON_TO_TC;
	/* The ports of a closed connection may be used again. */
	if ((pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    flow->state == FLOW_CLOSED) {
		if (!dry_run)
			flow_drop(ref->slot);
		return 0;
	}
	reply = flow->kind == FLOW_REPLY;
	backend = flow->backend;
	if (copy_tuple(ref, &to))
		return 0;
	trace_flow(ref);
	if (flags & (FLOW_FAIL_OPEN | FLOW_FAIL_CLOSED)) {
		reason = fail_mode(view, flags);
		if (reason)
			return reason;
	}
	if (flow->policy_rev != view->policy_rev) {
		reason = flags & FLOW_POLICY ? recheck(pkt, view, ref, &to) : 0;
		if (reason)
			return reason;
		if (!dry_run)
			flow->policy_rev = view->policy_rev;
	}
	/* The direct answer to a workload of this host needs no wrapping. */
	reason = (flags & FLOW_DSR) && !reply ?
			 encapsulate(ctx, pkt, view, &to) :
			 forward(ctx, pkt, view, &to, flags);
	if (!dry_run &&
	    (reason >= REASON_TO_WORKLOAD || reason == REASON_HOST_ALLOWED ||
	     reason == REASON_TO_FRAGMENT)) {
		follow(ref, pkt, view);
		count_backend(backend, reply, pkt->len);
	}
	return reason;
}

#endif
