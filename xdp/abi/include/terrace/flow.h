/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The connection table: open addressing in one BPF array, two cache lines a
 * flow, four flows a bucket, two buckets a key. A key starts at its own slot
 * of the bucket, so that a flow is mostly found with the first line read.
 *
 * Who may write what, and when:
 * - Readers take no lock. They read `seq`, match the key, copy what they need,
 *   and then look whether `seq` was even and is unchanged; if not they have
 *   read nothing.
 * - A writer owns a slot by a compare-and-swap of `seq` from even to odd. It
 *   clears `kind` first, and gives `seq` back (even, +2) after everything
 *   else is written. So two writers never share a slot.
 * - The same key is inserted once: whoever inserts holds the lock of the key's
 *   hash while it looks for the key and claims a slot.
 * - `last_seen`, `state`, `flags` and the counters are plain stores by whoever
 *   serves the flow. Two CPUs that serve one direction at once may lose a
 *   count of that flow; reasons and backends are counted per CPU and exact.
 * - x86 keeps loads and stores in order (TSO); barrier() stops the compiler.
 *   `weak_memory`, set by the loader elsewhere, adds full barriers.
 */
#ifndef TERRACE_FLOW_H
#define TERRACE_FLOW_H

#include "maps.h"

const volatile bool weak_memory = false;

#define barrier() asm volatile("" ::: "memory")
#define FLOW_MULTIPLIER 0x9E3779B97F4A7C15ULL

enum flow_claim {
	CLAIM_NEW = 0,
	CLAIM_EXISTS = 1,
	CLAIM_FULL = 2,
	CLAIM_BUSY = 3, /* another CPU was faster: try again */
};

/* Where a flow sits. */
struct flow_ref {
	struct flow *flow;
	__u32 slot;
	__u32 seq; /* when the key was compared; even */
};

static __always_inline void memory_fence(__u32 *word)
{
	if (weak_memory)
		__sync_fetch_and_add(word, 0);
	barrier();
}

/*
 * A sum of products with odd constants that depend on the seed: the
 * multiplications run side by side, and no set of keys collides for every
 * seed. The low 30 bits choose the bucket, 30-31 its first slot, the high
 * half the ring slot and the second bucket.
 */
static __always_inline __u64 flow_hash(const struct flow_key *key, __u32 seed)
{
	const __u64 *words = (const __u64 *)key;
	__u64 s = seed * FLOW_MULTIPLIER;
	__u64 h;

	h = (words[0] ^ s) * 0xbf58476d1ce4e5b9ULL;
	h += (words[1] + s) * 0x94d049bb133111ebULL;
	h += (words[2] ^ (s >> 7)) * 0xd6e8feb86659fd93ULL;
	h += (words[3] + (s >> 13)) * 0xa0761d6478bd642fULL;
	h += (words[4] ^ (s << 9)) * 0xe7037ed1a0b428dbULL;
	h ^= h >> 32;
	h *= FLOW_MULTIPLIER;
	return h ^ (h >> 29);
}

/* Its own inverse: from either bucket of a key to the other one. */
static __always_inline __u32 other_bucket(__u32 bucket, __u64 hash)
{
	return (bucket ^ (((__u32)(hash >> 48) * 0x5bd1e995u) | 1)) & flow_mask;
}

static __always_inline __u32 first_slot(__u64 hash)
{
	return (hash >> 30) & (FLOW_SLOTS - 1);
}

static __always_inline bool flow_key_is(const struct flow_key *a,
					const struct flow_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] &&
	       x[4] == y[4];
}

static __always_inline struct flow_bucket *flow_bucket_at(__u32 index)
{
	return bpf_map_lookup_elem(&flows, &index);
}

/* The reverse of a key: what the other end sends. */
static __always_inline void flow_key_reverse(struct flow_key *to,
					     const struct flow_key *from)
{
	for (int i = 0; i < 4; i++) {
		to->saddr[i] = from->daddr[i];
		to->daddr[i] = from->saddr[i];
	}
	to->sport = from->dport;
	to->dport = from->sport;
	to->proto = from->proto;
}

static __always_inline int flow_find_in(struct flow_bucket *bucket, __u32 index,
					__u64 hash, const struct flow_key *key,
					struct flow_ref *ref)
{
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u32 at = (first_slot(hash) + i) & (FLOW_SLOTS - 1);
		struct flow *flow = &bucket->slots[at];
		__u32 seq = *(volatile __u32 *)&flow->seq;

		memory_fence(&flow->seq);
		if (!flow_key_is(&flow->key, key) || flow->kind == FLOW_FREE)
			continue;
		if (seq & 1)
			return 0;
		ref->flow = flow;
		ref->seq = seq;
		ref->slot = index * FLOW_SLOTS + at;
		return 1;
	}
	return 0;
}

/* 1 and `ref` when the key has a flow. */
static __always_inline int flow_find(const struct flow_key *key, __u64 hash,
				     struct flow_ref *ref)
{
	__u32 index = hash & flow_mask;
	struct flow_bucket *bucket = flow_bucket_at(index);

	if (!bucket)
		return 0;
	if (flow_find_in(bucket, index, hash, key, ref))
		return 1;
	if (!bucket->slots[0].spilled)
		return 0;
	index = other_bucket(index, hash);
	bucket = flow_bucket_at(index);
	if (!bucket)
		return 0;
	return flow_find_in(bucket, index, hash, key, ref);
}

/*
 * Signed: another CPU may have stamped the slot a tick after `now` was read.
 */
static __always_inline bool flow_expired(const struct flow *flow,
					 const struct config *cfg, __u32 now)
{
	__u32 state = flow->state & (FLOW_STATES - 1);

	return (__s32)(now - flow->last_seen) > (__s32)cfg->timeouts[state];
}

static __always_inline int slot_lock(struct flow *flow)
{
	__u32 seq = flow->seq;

	if (seq & 1)
		return 0;
	return __sync_val_compare_and_swap(&flow->seq, seq, seq + 1) == seq;
}

static __always_inline void slot_unlock(struct flow *flow)
{
	memory_fence(&flow->seq);
	*(volatile __u32 *)&flow->seq += 1;
}

static __always_inline __u32 flow_seed(void)
{
	__u32 zero = 0;
	struct config *cfg = bpf_map_lookup_elem(&config, &zero);

	return cfg ? cfg->hash_seed : 0;
}

/* A key that sat in its second bucket is gone: its first one counts less. */
static __always_inline void unspill(__u32 first)
{
	struct flow_bucket *bucket = flow_bucket_at(first);

	if (bucket)
		__sync_fetch_and_add(&bucket->slots[0].spilled, (__u32)-1);
}

/* Empties a slot that the caller has locked. */
static __always_inline void slot_clear(struct flow *flow, __u32 slot)
{
	flow->kind = FLOW_FREE;
	barrier();
	if (flow->flags & FLOW_SPILLED)
		unspill(other_bucket(slot / FLOW_SLOTS,
				     flow_hash(&flow->key, flow_seed())));
	flow->flags = 0;
}

/* The place of a slot number. */
static __always_inline int flow_at(__u32 slot, struct flow_ref *ref)
{
	struct flow_bucket *bucket = flow_bucket_at(slot / FLOW_SLOTS);

	ref->slot = slot;
	if (!bucket)
		return 0;
	/* Keeps clang from computing the address before the check. */
	asm volatile("" : "+r"(slot));
	ref->flow = &bucket->slots[slot % FLOW_SLOTS];
	return 1;
}

/* Frees a slot if it still is the other direction of `peer`. */
__noinline int flow_free(__u32 slot, __u32 peer)
{
	struct flow_ref ref;

	if (!flow_at(slot, &ref) || !ref.flow || ref.flow->peer != peer ||
	    ref.flow->kind == FLOW_FREE || !slot_lock(ref.flow))
		return 0;
	/* Another flow may have come in before the lock. */
	if (ref.flow->peer == peer && ref.flow->kind != FLOW_FREE)
		slot_clear(ref.flow, slot);
	slot_unlock(ref.flow);
	return 1;
}

/* One bucket of the clock hand's round: frees what has timed out. */
static __always_inline void flow_sweep_bucket(__u32 index,
					      const struct config *cfg,
					      __u32 now, struct sweep *sweep)
{
	struct flow_bucket *bucket = flow_bucket_at(index);

	if (!bucket)
		return;
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		struct flow *flow = &bucket->slots[i];

		if (flow->kind == FLOW_FREE || (flow->seq & 1))
			continue;
		if (flow_expired(flow, cfg, now) && slot_lock(flow)) {
			slot_clear(flow, index * FLOW_SLOTS + i);
			slot_unlock(flow);
			sweep->expired++;
			continue;
		}
		sweep->live++;
		if (flow->kind == FLOW_ORIG)
			sweep->by_state[flow->state & (FLOW_STATES - 1)]++;
	}
}

#endif
