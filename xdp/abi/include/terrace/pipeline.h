/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pipeline, once for every hook: deny list, tracked flows, new flows with
 * service, policy and NAT. A step returns 0 (go on) or the reason at which
 * the packet's way through this program ends; finish() counts it, once, and
 * turns it into the hook's action.
 */
#ifndef TERRACE_PIPELINE_H
#define TERRACE_PIPELINE_H

#include "answer.h"
#include "encap.h"
#include "policy.h"
#include "related.h"
#include "track.h"

/* ---- counting and the end of every program ---- */

static __always_inline bool reason_passes(__u32 reason)
{
	return reason < REASON_TO_WORKLOAD;
}

static __always_inline bool reason_drops(__u32 reason)
{
	return reason >= REASON_DENY_LIST;
}

static __always_inline struct trace *dry_trace(void)
{
	__u32 zero = 0;

	return dry_run ? bpf_map_lookup_elem(&traces, &zero) : NULL;
}

static __always_inline void count(__u32 slot, __u32 hook, __u32 reason,
				  __u32 bytes)
{
	__u32 index = (slot * HOOK_MAX + hook) * REASON_MAX + reason;
	struct reason_stats *stats = bpf_map_lookup_elem(&reasons, &index);

	if (!stats)
		return;
	stats->packets++;
	stats->bytes += bytes;
}

static __always_inline int finish(struct packet *pkt, struct view *view,
				  __u32 reason, __u32 bytes)
{
	struct trace *trace = dry_trace();

	reason &= REASON_MAX - 1;
	if (trace) {
		trace->reason = reason;
		trace->key = pkt->key;
		trace->out_ifindex = pkt->out_ifindex;
	} else {
		count(view->iface_slot, view->hook, reason, bytes);
	}
	if (reason_passes(reason))
		return ACTION_PASS;
	if (reason_drops(reason))
		return ACTION_DROP;
	return pkt->action;
}

static __always_inline void trace_tuple(const struct tuple *to)
{
	struct trace *trace = dry_trace();

	if (!trace)
		return;
	for (int w = 0; w < 4; w++) {
		trace->new_saddr[w] = to->saddr[w];
		trace->new_daddr[w] = to->daddr[w];
	}
	trace->new_sport = to->sport;
	trace->new_dport = to->dport;
}

/* ---- deny list ---- */

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

/* ---- policy ---- */

static __always_inline int judge_one(const struct view *view, __u32 subject,
				     __u32 remote, __u32 direction, __u8 proto,
				     __u16 port)
{
	struct policy_query query = {
		.subject = subject,
		.remote = remote,
		.direction = direction,
		.gen = view->cfg->policy_rev & 1,
		.proto = proto,
		.port = port,
	};
	__u32 value = policy_lookup(&query);
	struct trace *trace = dry_trace();

	if (trace) {
		trace->policy = value;
		trace->policy_direction = direction;
	}
	if (value & POLICY_DENY)
		return direction ? REASON_EGRESS_DENIED : REASON_INGRESS_DENIED;
	if (!(value & POLICY_ALLOW))
		return direction ? REASON_EGRESS_DEFAULT :
				   REASON_INGRESS_DEFAULT;
	return 0;
}

/* 0 = allowed. `port` is the backend's, in host order, or the ICMP type. */
static __noinline int judge(const struct view *view, const struct endpoint *src,
			    const struct endpoint *dst, __u32 proto, __u32 port)
{
	struct trace *trace = dry_trace();
	int reason;

	if (!src || !dst)
		return 0;
	if (trace) {
		trace->src_identity = src->identity;
		trace->dst_identity = dst->identity;
	}
	if (src->flags & ENDPOINT_EGRESS) {
		reason = judge_one(view, src->identity, dst->identity,
				   DIRECTION_EGRESS, proto, port);
		if (reason)
			return reason;
	}
	if (!(dst->flags & ENDPOINT_INGRESS))
		return 0;
	if ((src->flags & ENDPOINT_HOST) &&
	    (view->cfg->flags & CONFIG_HOST_INGRESS))
		return 0;
	return judge_one(view, dst->identity, src->identity, DIRECTION_INGRESS,
			 proto, port);
}

static __always_inline __u32 policy_port(const struct packet *pkt, __be16 dport)
{
	if (pkt->key.proto != IPPROTO_ICMP && pkt->key.proto != IPPROTO_ICMPV6)
		return bpf_ntohs(dport);
	/* The answer to an echo is judged as the echo that asked for it. */
	if (pkt->icmp_kind == ICMP_IS_REPLY)
		return pkt->is_v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
	return pkt->icmp_type;
}

/* ---- fail mode ---- */

static __always_inline bool daemon_is_silent(const struct view *view)
{
	__u32 zero = 0;
	struct heartbeat *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	return beat && (__s32)(view->now - beat->last) >
			       (__s32)view->cfg->heartbeat_timeout;
}

static __noinline int fail_mode(const struct view *view, __u32 flags)
{
	if (!daemon_is_silent(view))
		return 0;
	return flags & FLOW_FAIL_OPEN ? REASON_FAIL_OPEN : REASON_FAIL_CLOSED;
}

/* ---- sending ---- */

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

/* ---- tracked flows ---- */

/* After a policy change: the flow is judged again, in its own direction. */
static __noinline int recheck(const struct packet *pkt, const struct view *view,
			      const struct flow_ref *ref,
			      const struct tuple *to)
{
	__u32 i = ref->index & (FLOW_SLOTS - 1);
	bool orig = ref->bucket->kind[i] == FLOW_ORIG;
	const struct endpoint *src, *dst;
	int reason;

	src = endpoint_of(orig ? pkt->key.saddr : to->daddr);
	dst = endpoint_of(orig ? to->daddr : pkt->key.saddr);
	reason = judge(view, src, dst, pkt->key.proto,
		       policy_port(pkt, orig ? to->dport : pkt->key.sport));
	if (!reason)
		ref->bucket->slots[i].policy_rev = view->cfg->policy_rev;
	else if (!dry_run)
		flow_drop(ref->slot);
	return reason;
}

static __always_inline void trace_flow(const struct flow_ref *ref, __u32 i)
{
	struct trace *trace = dry_trace();

	if (!trace)
		return;
	trace->flow_kind = ref->bucket->kind[i];
	trace->flow_state = ref->bucket->state[i];
	trace->service = ref->bucket->slots[i].service;
	trace->backend = ref->bucket->slots[i].backend;
}

/* 0 = not a flow of ours (any more): goes on as a new one. */
static __noinline int serve_flow(context_t *ctx, struct packet *pkt,
				 const struct view *view,
				 const struct flow_ref *ref)
{
	struct flow_bucket *bucket = ref->bucket;
	__u32 i = ref->index & (FLOW_SLOTS - 1);
	__u32 flags = bucket->flags[i], backend;
	struct tuple to;
	bool reply;
	int reason;

	if (IS_XDP && (flags & FLOW_LOCAL))
		return REASON_TO_TC;
	/* The ports of a closed connection may be used again. */
	if ((pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    bucket->state[i] == FLOW_CLOSED) {
		if (!dry_run)
			flow_drop(ref->slot);
		return 0;
	}
	reply = bucket->kind[i] == FLOW_REPLY;
	backend = bucket->slots[i].backend;
	if (copy_tuple(ref, i, &to))
		return 0;
	trace_flow(ref, i);
	if (flags & (FLOW_FAIL_OPEN | FLOW_FAIL_CLOSED)) {
		reason = fail_mode(view, flags);
		if (reason)
			return reason;
	}
	if ((flags & FLOW_POLICY) &&
	    bucket->slots[i].policy_rev != view->cfg->policy_rev) {
		reason = recheck(pkt, view, ref, &to);
		if (reason)
			return reason;
	}
	reason = flags & FLOW_DSR ? encapsulate(ctx, pkt, view, &to) :
				    forward(ctx, pkt, view, &to, flags);
	if (!dry_run &&
	    (reason >= REASON_TO_WORKLOAD || reason == REASON_HOST_ALLOWED)) {
		follow(ref, i, pkt, view);
		count_backend(backend, reply, pkt);
	}
	return reason;
}

/* ---- new flows ---- */

__noinline int no_flow(context_t *ctx, struct packet *pkt, __u32 answer)
{
	if (!pkt || !answer || (pkt->tcp_flags & TCP_RST))
		return REASON_NO_FLOW;
	if (dry_run)
		return REASON_NO_FLOW_RESET;
	return answer_reset(ctx, pkt) ? REASON_HELPER_FAILED :
					REASON_NO_FLOW_RESET;
}

/* Three reasons in one word: BPF calls take five arguments. */
#define REFUSAL(reset, reject, drop) ((reset) | (reject) << 8 | (drop) << 16)

/* Refuses with the first reason for TCP, the second for UDP, else drops. */
__noinline int refuse(context_t *ctx, struct packet *pkt, __u32 refusal)
{
	__u32 reset = refusal & 0xff, reject = refusal >> 8 & 0xff;
	__u32 drop = refusal >> 16;
	bool tcp;

	if (!pkt)
		return REASON_HELPER_FAILED;
	tcp = pkt->key.proto == IPPROTO_TCP;
	if ((pkt->tcp_flags & TCP_RST) || pkt->fragment == FRAGMENT_LATER ||
	    (!tcp && pkt->key.proto != IPPROTO_UDP))
		return drop;
	if (dry_run)
		return tcp ? reset : reject;
	if (tcp)
		return answer_reset(ctx, pkt) ? REASON_HELPER_FAILED : reset;
	return answer_unreachable(ctx, pkt) ? REASON_HELPER_FAILED : reject;
}

static __always_inline __u32 service_flow_flags(const struct service *service)
{
	if (service->fail_mode == FAIL_OPEN)
		return FLOW_FAIL_OPEN;
	return service->fail_mode == FAIL_CLOSED ? FLOW_FAIL_CLOSED : 0;
}

/* Chooses the backend of a new flow to a service. */
static __always_inline int choose(context_t *ctx, struct packet *pkt,
				  struct view *view, struct opening *open)
{
	__u32 index = open->service;
	struct service *service = bpf_map_lookup_elem(&services, &index);
	struct trace *trace = dry_trace();
	struct backend *backend;
	__u64 hash;
	int reason;

	if (!service)
		return REASON_NO_SERVICE;
	if (trace)
		trace->service = index;
	open->flags |= service_flow_flags(service);
	if (open->flags) {
		reason = fail_mode(view, open->flags);
		if (reason)
			return reason;
	}
	if (pkt->key.proto == IPPROTO_TCP &&
	    (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return no_flow(ctx, pkt, service->flags & SERVICE_REJECT);
	hash = flow_hash(&pkt->key, view->cfg->hash_seed);
	open->backend =
		choose_backend(pkt, service, view->cfg, view->now, hash >> 32);
	backend = bpf_map_lookup_elem(&backends, &open->backend);
	if (!open->backend || !backend) {
		if (!(service->flags & SERVICE_REJECT))
			return REASON_NO_BACKEND;
		return refuse(ctx, pkt,
			      REFUSAL(REASON_NO_BACKEND_RESET,
				      REASON_NO_BACKEND_REJECT,
				      REASON_NO_BACKEND));
	}
	if (trace)
		trace->backend = open->backend;
	for (int w = 0; w < 4; w++)
		open->to.daddr[w] = backend->addr[w];
	open->to.dport = backend->port;
	open->flags |= FLOW_NAT;
	if (service->flags & SERVICE_DSR)
		open->flags |= FLOW_DSR;
	return 0;
}

static __always_inline void take_source(struct opening *open,
					const __be32 addr[4])
{
	for (int w = 0; w < 4; w++)
		open->to.saddr[w] = addr[w];
	open->flags |= FLOW_SNAT;
}

static __always_inline bool is_local(const struct endpoint *endpoint)
{
	return endpoint->flags & (ENDPOINT_WORKLOAD | ENDPOINT_HOST);
}

/*
 * Whose address the backend sees: the client's where its answer comes back
 * here anyway, else an address of the interface that leads to the backend.
 */
static __always_inline int choose_source(context_t *ctx,
					 const struct packet *pkt,
					 const struct view *view,
					 struct opening *open)
{
	const struct config *cfg = view->cfg;
	const struct iface *iface = view->iface;
	struct nexthop *hop = NULL;
	const __be32 *addr;
	__u32 slot;

	if (view->src == view->dst && is_local(view->dst)) {
		take_source(open,
			    pkt->is_v4 ? cfg->host_addr4 : cfg->host_addr6);
		return 0;
	}
	if (is_local(view->src) || is_local(view->dst))
		return 0;
	if (nexthop_of(ctx, pkt, cfg, &open->to, &hop) == REASON_NO_ROUTE ||
	    !hop)
		return REASON_NO_ROUTE;
	if (hop->ifindex != iface->ifindex) {
		iface = iface_of(hop->ifindex, &slot);
		if (!iface)
			return REASON_NO_ROUTE;
	}
	addr = pkt->is_v4 ? iface->addr4 : iface->addr6;
	if (!addr[3])
		return REASON_NO_ROUTE;
	take_source(open, addr);
	return 0;
}

/* Services: backend, destination, source. */
static __always_inline int steer(context_t *ctx, struct packet *pkt,
				 struct view *view, struct opening *open)
{
	int reason = choose(ctx, pkt, view, open);

	if (reason)
		return reason;
	view->dst = endpoint_of(open->to.daddr);
	if (!view->dst)
		return REASON_NO_SERVICE;
	if (view->dst->flags & ENDPOINT_VIRTUAL)
		return REASON_LOOP;
	if (is_local(view->dst)) {
		open->flags &= ~FLOW_DSR;
		if (IS_XDP)
			return REASON_TO_TC;
	}
	if (open->flags & FLOW_DSR)
		return 0;
	return choose_source(ctx, pkt, view, open);
}

static __always_inline __u32 local_flags(const struct view *view)
{
	__u32 flags = 0;

	if (is_local(view->src) || is_local(view->dst))
		flags |= FLOW_LOCAL;
	if ((view->src->flags & ENDPOINT_EGRESS) ||
	    (view->dst->flags & ENDPOINT_INGRESS))
		flags |= FLOW_POLICY;
	return flags;
}

/* Has state, so it gets a flow: all but single ICMP messages. */
static __always_inline bool is_tracked(const struct packet *pkt)
{
	return (pkt->key.proto != IPPROTO_ICMP &&
		pkt->key.proto != IPPROTO_ICMPV6) ||
	       pkt->icmp_kind == ICMP_IS_ECHO;
}

static __always_inline void report_full(__u32 reason, const struct packet *pkt,
					const struct view *view, __u32 service)
{
	if (reason == REASON_FLOWS_FULL)
		report(EVENT_FLOWS_FULL, view->iface->ifindex, pkt->key.daddr,
		       service);
	if (reason == REASON_SNAT_PORTS_FULL)
		report(EVENT_SNAT_PORTS_FULL, view->iface->ifindex,
		       pkt->key.daddr, service);
}

/* Records the flow; 0 and `ref` when its first packet can be served. */
static __always_inline int start(context_t *ctx, struct packet *pkt,
				 const struct view *view, struct opening *open,
				 struct flow_ref *ref)
{
	int reason;

	if (dry_run || !is_tracked(pkt))
		return open->flags & FLOW_DSR ?
			       encapsulate(ctx, pkt, view, &open->to) :
			       forward(ctx, pkt, view, &open->to, open->flags);
	reason = track(pkt, view, open, ref);
	report_full(reason, pkt, view, open->service);
	if (reason > 0)
		return reason;
	if (reason < 0 &&
	    !flow_find(&pkt->key, flow_hash(&pkt->key, view->cfg->hash_seed),
		       ref))
		return REASON_FLOWS_FULL;
	return 0;
}

static __always_inline int virtual_address(context_t *ctx, struct packet *pkt,
					   const struct view *view)
{
	return refuse(ctx, pkt,
		      REFUSAL(REASON_NO_SERVICE_RESET, REASON_NO_SERVICE_REJECT,
			      REASON_NO_SERVICE));
}

static __noinline int open_flow(context_t *ctx, struct packet *pkt,
				struct view *view, struct flow_ref *ref)
{
	struct opening *open = &pkt->open;
	int reason;

	if (!view->src)
		view->src = endpoint_of(pkt->key.saddr);
	if (!view->src)
		return REASON_NOT_OURS;
	__builtin_memset(open, 0, sizeof(*open));
	__builtin_memset(&pkt->reply, 0, sizeof(pkt->reply));
	for (int w = 0; w < 4; w++) {
		open->to.saddr[w] = pkt->key.saddr[w];
		open->to.daddr[w] = pkt->key.daddr[w];
	}
	open->to.sport = pkt->key.sport;
	open->to.dport = pkt->key.dport;
	if (view->dst->flags & ENDPOINT_SERVICE) {
		open->service = service_index(pkt);
		if (open->service) {
			reason = steer(ctx, pkt, view, open);
			if (reason)
				return reason;
		} else if (view->dst->flags & ENDPOINT_VIRTUAL) {
			return virtual_address(ctx, pkt, view);
		}
	}
	/* The host's own traffic, and what only passes through it. */
	if (!open->service &&
	    !((view->src->flags | view->dst->flags) & ENDPOINT_WORKLOAD))
		return REASON_NOT_OURS;
	if (IS_XDP && !open->service)
		return REASON_TO_TC;
	open->flags |= local_flags(view);
	reason = IS_XDP ? 0 :
			  judge(view, view->src, view->dst, pkt->key.proto,
				policy_port(pkt, open->to.dport));
	if (reason)
		return reason;
	return start(ctx, pkt, view, open, ref);
}

/* ---- the whole ---- */

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
	if (flow_find(&pkt->key, flow_hash(&pkt->key, view->cfg->hash_seed),
		      &ref) &&
	    ref.bucket) {
		reason = serve_flow(ctx, pkt, view, &ref);
		if (reason)
			return reason;
	}
	reason = open_flow(ctx, pkt, view, &ref);
	if (reason || !ref.bucket)
		return reason ? reason : REASON_FLOWS_FULL;
	reason = serve_flow(ctx, pkt, view, &ref);
	return reason ? reason : REASON_FLOWS_FULL;
}

/* Packets too big for the next link: the answer needs the untouched packet. */
static __always_inline int answer_size(context_t *ctx, struct packet *pkt,
				       const struct view *view, int reason)
{
	__u32 mtu = pkt->out_ifindex;

	if (reason != REASON_TOO_BIG || dry_run)
		return reason;
	pkt->out_ifindex = 0;
	return answer_too_big(ctx, pkt, mtu) ? REASON_HELPER_FAILED :
					       REASON_TOO_BIG;
}

/* The body of every entry program. */
static __always_inline int run(context_t *ctx, __u32 hook, __u32 role)
{
	struct view view = {.hook = hook, .role = role};
	__u32 zero = 0, bytes = ctx_len(ctx);
	struct scratch *room = bpf_map_lookup_elem(&scratch, &zero);
	struct packet *pkt;
	int reason;

	view.cfg = bpf_map_lookup_elem(&config, &zero);
	if (!view.cfg || !room)
		return ACTION_PASS;
	pkt = &room->pkt;
	__builtin_memset(pkt, 0, PACKET_FACTS);
	pkt->hook = hook;
	view.iface = iface_of(ctx_ifindex(ctx), &view.iface_slot);
	if (!view.iface)
		return finish(pkt, &view, REASON_IFACE_UNKNOWN, bytes);
	if (ctx_is_marked(ctx))
		return finish(pkt, &view, REASON_ALREADY_HANDLED, bytes);
	view.now = bpf_jiffies64();
	reason = pipeline(ctx, pkt, &view);
	reason = answer_size(ctx, pkt, &view, reason);
	return finish(pkt, &view, reason, bytes);
}

#endif
