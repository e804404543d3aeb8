// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Drivers: restore the packet, then tail-call what is in the program array,
 * the program under test or the empty one (the floor). And walks over the
 * connection table, to age or to empty it between measurements.
 */
#include "harness.bpf.h"
#include <terrace/abi.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} xdp_targets SEC(".maps"), tc_targets SEC(".maps");

/* The table under test; userspace puts the pinned one in its place. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flows SEC(".maps");

SEC("xdp")
int drive_xdp(struct xdp_md *ctx)
{
	if (write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &xdp_targets, 0);
	return XDP_ABORTED;
}

SEC("tc")
int drive_tc(struct __sk_buff *skb)
{
	if (write_frame((void *)(long)skb->data, (void *)(long)skb->data_end))
		return 100;
	skb->mark = 0;
	bpf_tail_call(skb, &tc_targets, 0);
	return 100;
}

SEC("xdp")
int empty_xdp(struct xdp_md *ctx)
{
	return settings.verdict;
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return settings.verdict;
}

static __always_inline struct flow_bucket *next_bucket(void)
{
	__u32 zero = 0, index;
	struct state *state = bpf_map_lookup_elem(&states, &zero);

	if (!state)
		return NULL;
	index = state->bucket++ & settings.bucket_mask;
	return bpf_map_lookup_elem(&flows, &index);
}

/* As if every flow of one bucket had been answered. */
SEC("xdp")
int establish(struct xdp_md *ctx)
{
	struct flow_bucket *bucket = next_bucket();

	if (!bucket)
		return XDP_ABORTED;
	for (int i = 0; i < FLOW_SLOTS; i++) {
		if (bucket->slots[i].kind == FLOW_FREE)
			continue;
		bucket->slots[i].state = FLOW_ESTABLISHED;
		bucket->slots[i].flags |= FLOW_ANSWERED;
	}
	return XDP_PASS;
}

/* Forgets the flows of one bucket. */
SEC("xdp")
int empty_bucket(struct xdp_md *ctx)
{
	struct flow_bucket *bucket = next_bucket();

	if (!bucket)
		return XDP_ABORTED;
	for (int i = 0; i < FLOW_SLOTS; i++) {
		bucket->slots[i].kind = FLOW_FREE;
		bucket->slots[i].flags = 0;
		bucket->slots[i].spilled = 0;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
