/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The end of every program: one reason, counted once for interface and hook,
 * and turned into the hook's action. A dry run leaves a trace instead.
 */
#ifndef TERRACE_FINISH_H
#define TERRACE_FINISH_H

#include "way.h"

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

#endif
