/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * New flows: service, backend, source, policy, and both directions' slots.
 */
#ifndef TERRACE_OPEN_H
#define TERRACE_OPEN_H

#include "answer.h"
#include "serve.h"

__noinline int no_flow(context_t *ctx, struct packet *pkt, __u32 answer)
{
	if (!pkt || !answer || (pkt->tcp_flags & TCP_RST) ||
	    pkt->fragment == FRAGMENT_LATER)
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
	if ((service->flags & SERVICE_L7) && pkt->key.proto == IPPROTO_TCP)
		return to_worker(ctx, pkt, L7_NO_NUMBER, service->fail_mode);
	if (pkt->key.proto == IPPROTO_TCP &&
	    (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return no_flow(ctx, pkt, service->flags & SERVICE_REJECT);
	hash = flow_hash(&pkt->key, view->cfg->hash_seed);
	open->backend =
		choose_backend((const struct address *)pkt->key.saddr, service,
			       view->cfg, view->now, hash >> 32);
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
	/* A policy may select either of them only later. */
	if ((view->src->flags | view->dst->flags) & ENDPOINT_WORKLOAD)
		flags |= FLOW_POLICY;
	return flags;
}

/* Has state, so it gets a flow: all but single ICMP messages. */
static __always_inline bool is_tracked(const struct packet *pkt)
{
	return !is_icmp(pkt) || pkt->icmp_kind == ICMP_IS_ECHO;
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

/* How often a flow is looked for that another CPU is still filling in. */
#define FILL_ATTEMPTS 8

/* A global function: verified once, whatever loop it is called in. */
__noinline int flow_is_there(const struct flow_key *key, __u64 hash)
{
	struct flow_ref ref;

	if (!key)
		return 0;
	for (int i = 0; i < FILL_ATTEMPTS; i++)
		if (flow_find(key, hash, &ref))
			return 1;
	return 0;
}

/*
 * The flow that another CPU has made of this packet's connection, which takes
 * it well below a microsecond. If the hypervisor has stopped it just there,
 * the packet is lost, the flow is not.
 */
static __noinline int find_others(const struct packet *pkt,
				  const struct view *view, struct flow_ref *ref)
{
	__u64 hash = flow_hash(&pkt->key, view->cfg->hash_seed);

	for (int i = 0; i < FILL_ATTEMPTS; i++)
		if (flow_is_there(&pkt->key, hash))
			break;
	return flow_find(&pkt->key, hash, ref) ? 0 : REASON_FLOWS_FULL;
}

/* Records the flow; 0 and `ref` when its first packet can be served. */
static __always_inline int start(context_t *ctx, struct packet *pkt,
				 const struct view *view, struct opening *open,
				 struct flow_ref *ref)
{
	int reason;

	/* The first port that would be tried. */
	if (dry_run && (open->flags & FLOW_SNAT))
		open->to.sport =
			pool_port(view->cfg,
				  flow_hash(&pkt->key, view->cfg->hash_seed),
				  0);
	if (dry_run || !is_tracked(pkt))
		return open->flags & FLOW_DSR ?
			       encapsulate(ctx, pkt, view, &open->to) :
			       forward(ctx, pkt, view, &open->to, open->flags);
	reason = track(pkt, view, open, ref);
	report_full(reason, pkt, view, open->service);
	if (reason > 0)
		return reason;
	return reason < 0 ? find_others(pkt, view, ref) : 0;
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
	/* Nobody in the network has an address of this host or its workloads. */
	if (view->role == ROLE_UPLINK && view->hook != HOOK_TC_EGRESS &&
	    (view->cfg->flags & CONFIG_CHECK_SOURCE) && is_local(view->src))
		return REASON_BAD_SOURCE;
	__builtin_memset(open, 0, sizeof(*open));
	__builtin_memset(&pkt->reply, 0, sizeof(pkt->reply));
	for (int w = 0; w < 4; w++) {
		open->to.saddr[w] = pkt->key.saddr[w];
		open->to.daddr[w] = pkt->key.daddr[w];
	}
	open->to.sport = pkt->key.sport;
	open->to.dport = pkt->key.dport;
	if (view->dst->flags & ENDPOINT_SERVICE) {
		open->service = service_lookup(pkt->key.daddr, pkt->key.dport,
					       pkt->key.proto);
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
	if (reason == REASON_TO_WORKER)
		return to_worker(ctx, pkt, L7_NO_NUMBER, FAIL_CLOSED);
	if (reason)
		return reason;
	return start(ctx, pkt, view, open, ref);
}

#endif
