/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tracked flows: translate, send, follow.
 */
#ifndef TERRACE_SERVE_H
#define TERRACE_SERVE_H

#include "encap.h"
#include "heads.h"
#include "l7.h"
#include "related.h"
#include "track.h"

/* Of forward(): the flow's packet goes back to its opener. Not in the table. */
#define FLOW_BACK 0x10000

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
	if ((flags & FLOW_L7) &&
	    (translate(ctx, pkt, !!(flags & FLOW_BACK)) ||
	     translate_sacks(ctx, pkt, !!(flags & FLOW_BACK))))
		return REASON_HELPER_FAILED;
	if (rewrite(ctx, pkt, to, way.hops))
		return REASON_HELPER_FAILED;
	reason = take_way(ctx, pkt, view, &way);
	/* Nothing translated, and the stack was where it went anyway. */
	if (reason == REASON_TO_HOST && !(flags & FLOW_NAT))
		return REASON_HOST_ALLOWED;
	return reason;
}

/* Opened before its service had routes: no worker has seen its requests. */
static __always_inline bool is_stale(const struct packet *pkt,
				     const struct flow *flow)
{
	__u32 index = flow->service;
	struct service *service;

	if (!index || pkt->key.proto != IPPROTO_TCP)
		return false;
	service = bpf_map_lookup_elem(&services, &index);
	return service && (service->flags & SERVICE_L7);
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
	bool is_l7 = ref->flow->flags & FLOW_L7;
	const struct endpoint *src, *dst;
	int reason;

	if (!is_l7 && is_stale(pkt, ref->flow))
		return REASON_L7_RESET;
	if (!(ref->flow->flags & FLOW_POLICY))
		return 0;
	src = endpoint_of(orig ? pkt->key.saddr : to->daddr);
	dst = endpoint_of(orig ? to->daddr : pkt->key.saddr);
	reason = judge(view, src, dst, pkt->key.proto,
		       policy_port(pkt, orig ? to->dport : pkt->key.sport));
	if (reason != REASON_TO_WORKER)
		return reason;
	return is_l7 ? 0 : REASON_L7_RESET;
}

/* Both ends of a stale flow learn that they have to open a new one. */
static __always_inline int refuse_stale(context_t *ctx, struct packet *pkt)
{
	if (pkt->fragment == FRAGMENT_LATER)
		return REASON_L7_UNFIT;
	if (dry_run)
		return REASON_L7_RESET;
	return answer_reset(ctx, pkt) ? REASON_HELPER_FAILED : REASON_L7_RESET;
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

/* The stack gets large ones translated, to make fragments of them. */
static __always_inline bool has_left(__u32 reason)
{
	return (reason >= REASON_TO_WORKLOAD && reason < REASON_ECHO_REPLY) ||
	       reason == REASON_TO_FRAGMENT;
}

static __always_inline int reason_of(__u32 verdict)
{
	if (verdict == SPLICE_REQUEST)
		return REASON_REQUEST;
	return verdict == SPLICE_PASS ? REASON_SPLICED : REASON_SPLICED_COPIED;
}

/*
 * What XDP leaves: reading heads, copies, delivery to workloads. Servers'
 * segments go up in one line with their copies, by the port.
 */
static __always_inline bool is_for_tc(__u32 verdict, __u32 flags, bool reply)
{
	if (verdict == SPLICE_UP)
		return reply;
	return verdict != SPLICE_PASS || (flags & FLOW_LOCAL);
}

/* A segment of a worker's flow: translated and sent, or given to the worker. */
static __noinline int serve_l7(context_t *ctx, struct packet *pkt,
			       const struct view *view,
			       const struct flow_ref *ref,
			       const struct tuple *to)
{
	bool reply = ref->flow->kind == FLOW_REPLY;
	__u32 number = ref->flow->service, flags = ref->flow->flags;
	__u32 verdict;
	int reason;

	if (is_unfit(pkt))
		return REASON_L7_UNFIT;
	if (read_segment(ctx, pkt))
		return REASON_BAD_L4_HEADER;
	verdict = judge_segment(pkt, to, number, reply);
	if (verdict >= SPLICE_HEAD)
		verdict = judge_noting(ctx, pkt, number, verdict);
	if (IS_XDP && is_for_tc(verdict, flags, reply))
		return REASON_TO_TC;
	/* A copy can't carry tags that the original has to keep. */
	if (verdict == SPLICE_PASS_AND_COPY && ctx_is_tagged(ctx, pkt->tags))
		verdict = SPLICE_UP;
	if (verdict == SPLICE_UP) {
		reason = to_worker(ctx, pkt, number, FAIL_LAST);
	} else {
		if (verdict == SPLICE_PASS_AND_COPY)
			copy_to_worker(ctx, pkt, number);
		reason = forward(ctx, pkt, view, to,
				 flags | (reply ? FLOW_BACK : 0));
		if (!dry_run && has_left(reason))
			note_passed(pkt, number, reply);
		if (has_left(reason) && reason != REASON_TO_FRAGMENT)
			reason = reason_of(verdict);
	}
	if (!dry_run &&
	    (reason >= REASON_TO_WORKLOAD || reason == REASON_TO_FRAGMENT)) {
		/* What of the client's ends the flow the worker says: port.h. */
		if (!reply)
			pkt->tcp_flags &= ~(TCP_FIN | TCP_RST);
		follow(ref, pkt, view);
		count_backend(ref->flow->backend, reply, pkt->len);
	}
	return reason;
}

/* Nobody in the network has an address of this host or its workloads. */
static __noinline bool is_forged(const struct packet *pkt,
				 const struct view *view)
{
	const struct endpoint *src;

	if (view->role != ROLE_UPLINK || view->hook == HOOK_TC_EGRESS ||
	    !(view->cfg->flags & CONFIG_CHECK_SOURCE))
		return false;
	/* A workload may have moved to another host. */
	src = endpoint_of(pkt->key.saddr);
	return src && is_local(src);
}

/*
 * A datagram's backend that is gone: its flow would last as long as the client
 * sends. A connection notices by itself. The table's change moves policy_rev.
 */
static __always_inline bool is_orphan(const struct packet *pkt,
				      const struct flow *flow,
				      const struct tuple *to)
{
	__u32 index = flow->backend;
	struct backend *backend;

	if (!index || pkt->key.proto != IPPROTO_UDP || flow->kind != FLOW_ORIG)
		return false;
	backend = bpf_map_lookup_elem(&backends, &index);
	if (!backend || backend->port != to->dport)
		return true;
	for (int w = 0; w < 4; w++)
		if (backend->addr[w] != to->daddr[w])
			return true;
	return false;
}

/* A packet of headers alone is no longer, whatever options they have. */
#define HEADERS_MAX 120

/* Of a flow with a workload, only what a worker reads can be XDP's. */
static __always_inline bool may_go_up(const struct packet *pkt,
				      const struct view *view, __u32 flags)
{
	return (flags & FLOW_L7) && view->iface->l7_sockets &&
	       pkt->len > HEADERS_MAX;
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

	if (IS_XDP && (flags & FLOW_LOCAL) && !may_go_up(pkt, view, flags))
		return REASON_TO_TC;
	if ((flags & FLOW_FROM_HERE) && is_forged(pkt, view))
		return REASON_BAD_SOURCE;
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
		if (is_orphan(pkt, flow, &to)) {
			if (!dry_run)
				flow_drop(ref->slot);
			return 0;
		}
		reason = recheck(pkt, view, ref, &to);
		if (reason == REASON_L7_RESET) {
			if (!(pkt->tcp_flags & TCP_RST))
				return refuse_stale(ctx, pkt);
		} else if (reason) {
			return reason;
		} else if (!dry_run) {
			flow->policy_rev = view->policy_rev;
		}
	}
	if (flags & FLOW_L7)
		return serve_l7(ctx, pkt, view, ref, &to);
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
