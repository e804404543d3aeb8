/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Verdicts on new flows and on flows after a policy change, and what a silent
 * daemon means for a service.
 */
#ifndef TERRACE_JUDGE_H
#define TERRACE_JUDGE_H

#include "finish.h"
#include "policy.h"

static __always_inline int judge_one(const struct view *view, __u32 subject,
				     __u32 remote, __u32 direction, __u8 proto,
				     __u16 port)
{
	struct policy_query query = {
		.subject = subject,
		.remote = remote,
		.direction = direction,
		.gen = view->policy_rev & 1,
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
	return value & POLICY_L7 && proto == IPPROTO_TCP ? REASON_TO_WORKER : 0;
}

/*
 * 0 = allowed, TO_WORKER = a worker has to look at its requests. `port` is
 * the backend's, in host order, or the ICMP type.
 */
static __noinline int judge(const struct view *view, const struct endpoint *src,
			    const struct endpoint *dst, __u32 proto, __u32 port)
{
	struct trace *trace = dry_trace();
	int reason = 0, egress = 0;

	/* A workload may reach itself, whatever its policy says. */
	if (!src || !dst || (src == dst && (src->flags & ENDPOINT_WORKLOAD)))
		return 0;
	if (trace) {
		trace->src_identity = src->identity;
		trace->dst_identity = dst->identity;
	}
	if (src->flags & ENDPOINT_EGRESS) {
		egress = judge_one(view, src->identity, dst->identity,
				   DIRECTION_EGRESS, proto, port);
		if (egress && egress != REASON_TO_WORKER)
			return egress;
	}
	if (!(dst->flags & ENDPOINT_INGRESS))
		return egress;
	if ((src->flags & ENDPOINT_HOST) &&
	    (view->cfg->flags & CONFIG_HOST_INGRESS))
		return egress;
	reason = judge_one(view, dst->identity, src->identity,
			   DIRECTION_INGRESS, proto, port);
	return reason ? reason : egress;
}

static __always_inline __u32 policy_port(const struct packet *pkt, __be16 dport)
{
	if (!is_icmp(pkt))
		return bpf_ntohs(dport);
	/* An answer, and fragments, are judged as the echo that asked. */
	if (pkt->icmp_kind == ICMP_IS_REPLY || pkt->fragment == FRAGMENT_LATER)
		return pkt->is_v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
	return pkt->icmp_type;
}

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

#endif
