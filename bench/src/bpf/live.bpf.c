// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Live frames: `generate` runs with BPF_F_TEST_XDP_LIVE_FRAMES and sends each
 * frame into a veth; `sink` counts and drops what comes back.
 */
#include "harness.bpf.h"

#define ETHERTYPE_AT 12
#define IP_AT 14
#define CHECK_AT 24

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u16 *words = data + IP_AT;
	__u32 sum = 0;

	if (write_frame(data, (void *)(long)ctx->data_end))
		return XDP_ABORTED;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__u16 *)(data + CHECK_AT) = ~sum;
	return bpf_redirect(settings.ifindex, 0);
}

/* ARP and neighbour discovery go on. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&arrived, &zero);

	if (!count || data + FRAME_BYTES > (void *)(long)ctx->data_end ||
	    *(__u16 *)(data + ETHERTYPE_AT) != bpf_htons(0x0800))
		return XDP_PASS;
	(*count)++;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
