/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every driver program does before the program under test runs: it
 * chooses a key and writes the packet afresh. Without the first, everything
 * hits the same cache line; without the second, the program under test sees
 * its own output.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAME_WORDS 8
#define FRAME_BYTES (FRAME_WORDS * 8)
/* Offsets in an untagged IPv4 frame without options. */
#define SADDR_AT 26
#define NUMBER_AT 4 /* struct l7_frame in place of the Ethernet addresses */
#define DADDR_AT 30
#define SPORT_AT 34
#define DPORT_AT 36

enum key_order {
	ORDER_RANDOM = 0, /* uniform, with repetition */
	ORDER_ONCE = 1,	  /* every key once, in a scattered order */
};

/* Written by userspace before the load (programs/harness.rs, same order). */
struct settings {
	__u64 frame[FRAME_WORDS];
	__u32 key_mask;
	__u32 order;
	__u32 src_base; /* addresses and ports in host order */
	__u32 src_mul;
	__u32 src_shift;
	__u32 dst_base;
	__u32 dst_mask;
	__u32 sport_base;
	__u32 sport_mask;
	__u32 dport_base;
	__u32 dport_mask;
	__u32 verdict; /* of the empty program */
	__u32 bucket_mask;
	__u32 ifindex;	/* where live frames leave */
	__u32 numbered; /* the key is the number of a struct l7_frame */
	__u32 pad;
};

const volatile struct settings settings = {};

struct state {
	__u64 random;
	__u32 counter;
	__u32 bucket;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

/* xorshift64 (Marsaglia 2003), or a counter times an odd number. */
static __always_inline __u32 next_key(struct state *state)
{
	__u64 x;

	if (settings.order == ORDER_ONCE)
		return state->counter++ * 0x9E3779B1u & settings.key_mask;
	x = state->random ? state->random : 0x2545F4914F6CDD1DULL;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state->random = x;
	return (__u32)(x >> 16) & settings.key_mask;
}

static __always_inline int write_frame(void *data, void *end)
{
	__u32 zero = 0, key;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	__u64 *words = data;

	if (!state || data + FRAME_BYTES > end)
		return -1;
	key = next_key(state);
	for (int i = 0; i < FRAME_WORDS; i++)
		words[i] = settings.frame[i];
	*(__u32 *)(data + SADDR_AT) =
		bpf_htonl(settings.src_base +
			  (key * settings.src_mul >> settings.src_shift));
	*(__u32 *)(data + DADDR_AT) =
		bpf_htonl(settings.dst_base + (key & settings.dst_mask));
	*(__u16 *)(data + SPORT_AT) =
		bpf_htons(settings.sport_base + (key & settings.sport_mask));
	*(__u16 *)(data + DPORT_AT) =
		bpf_htons(settings.dport_base + (key & settings.dport_mask));
	if (settings.numbered)
		*(__u32 *)(data + NUMBER_AT) = key;
	return 0;
}

#endif
