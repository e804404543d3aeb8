// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The peer of the connection table: the kernel's LRU hash with a key and a
 * value of the same size, filled and looked up by the same keys. It parses
 * nothing and rewrites nothing, so it is the lookup alone.
 */
#include "harness.bpf.h"

struct key {
	__u32 saddr[4];
	__u32 daddr[4];
	__u16 sport;
	__u16 dport;
	__u32 proto;
};

struct value {
	__u64 words[9];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct key);
	__type(value, struct value);
} peers SEC(".maps");

static __always_inline int key_of(struct xdp_md *ctx, struct key *key)
{
	void *data = (void *)(long)ctx->data;

	if (data + FRAME_BYTES > (void *)(long)ctx->data_end)
		return -1;
	key->saddr[3] = *(__u32 *)(data + SADDR_AT);
	key->daddr[3] = *(__u32 *)(data + DADDR_AT);
	key->sport = *(__u16 *)(data + SPORT_AT);
	key->dport = *(__u16 *)(data + DPORT_AT);
	key->proto = 6;
	return 0;
}

SEC("xdp")
int lru_insert(struct xdp_md *ctx)
{
	struct key key = {};
	struct value value = {};

	if (write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end) ||
	    key_of(ctx, &key))
		return XDP_ABORTED;
	return bpf_map_update_elem(&peers, &key, &value, BPF_ANY) ?
		       XDP_ABORTED :
		       XDP_TX;
}

SEC("xdp")
int lru_lookup(struct xdp_md *ctx)
{
	struct key key = {};
	struct value *value;

	if (write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end) ||
	    key_of(ctx, &key))
		return XDP_ABORTED;
	value = bpf_map_lookup_elem(&peers, &key);
	if (!value)
		return XDP_DROP;
	value->words[0]++;
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
