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

/*
 * How dear a slot is to keep, by state; the cheapest is taken, 255 never is.
 * Free slots cost 0, timed out ones 1. One byte a state, from the lowest:
 * new 4, established and closing 255, closed 2, UDP 5, UDP stream 255,
 * ICMP and others 3.
 */
#define STATE_WORTH 0x0303ff0502ffff04ULL
#define WORTH_NEVER 255

/*
 * worth << 2 | steps from the key's first slot. Without branches: the verifier
 * would follow every combination of eight slots (6.18: over a million
 * instructions).
 */
static __always_inline __u32 slot_worth(const struct flow_bucket *bucket,
					__u32 start, __u32 steps,
					const struct config *cfg, __u32 now)
{
	const struct flow *flow =
		&bucket->slots[(start + steps) & (FLOW_SLOTS - 1)];
	__u32 state = flow->state & (FLOW_STATES - 1);
	__u32 worth = (STATE_WORTH >> (state * 8)) & 0xff;
	__s32 left = cfg->timeouts[state] - (now - flow->last_seen);
	__u32 expired = (__u32)left >> 31;
	__u32 used = flow->kind, busy = -(flow->seq & 1);

	worth = (worth & (expired - 1)) | expired;
	worth &= -((used | -used) >> 31);
	return ((worth | busy) & 0xff) << 2 | steps;
}

static __always_inline __u32 lesser(__u32 a, __u32 b)
{
	__s32 less = (__s32)(b - a) >> 31; /* all ones when b < a */

	return a ^ ((a ^ b) & less);
}

static __always_inline __u32 cheapest(const struct flow_bucket *bucket,
				      __u32 start, const struct config *cfg,
				      __u32 now)
{
	return lesser(lesser(slot_worth(bucket, start, 0, cfg, now),
			     slot_worth(bucket, start, 1, cfg, now)),
		      lesser(slot_worth(bucket, start, 2, cfg, now),
			     slot_worth(bucket, start, 3, cfg, now)));
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

#define NO_BUCKET 0xffffffff
#define NO_SLOT 0xffffffff

/* What was claimed, and what was there: to clean up after the lock. */
struct claim {
	__u32 slot;
	__u32 victim_first; /* its first bucket when it sat in its second */
};

static __always_inline int claim_scan(const struct flow_bucket *bucket,
				      const struct flow_key *key)
{
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		if (flow_key_is(&bucket->slots[i].key, key) &&
		    bucket->slots[i].kind != FLOW_FREE)
			return 1;
	return 0;
}

static __always_inline __u32 n_used(const struct flow_bucket *bucket)
{
	__u32 n = 0;

	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u32 kind = bucket->slots[i].kind;

		n += (kind | -kind) >> 31;
	}
	return n;
}

/* The buckets of a key, looked up before its lock is taken. */
struct places {
	struct flow_bucket *first;
	struct flow_bucket *second;
};

/* Under the key's lock: finds the key or takes the cheapest slot. */
static __always_inline int claim_locked(const struct places *in,
					const struct flow_key *key, __u64 hash,
					const struct config *cfg, __u32 now,
					struct claim *claim)
{
	__u32 start = first_slot(hash), worth, other, used, spill = 0;
	__u32 index;
	struct flow_bucket *bucket = in->first;
	struct flow *flow;

	if (claim_scan(in->first, key))
		return CLAIM_EXISTS;
	if (in->first->slots[0].spilled && claim_scan(in->second, key))
		return CLAIM_EXISTS;
	worth = cheapest(in->first, start, cfg, now);
	used = n_used(in->first);
	/*
	 * The second bucket is looked at when the first is nearly full, and
	 * taken when it is clearly emptier: at half load 1 insert in 3,000
	 * finds no room; taking the first one until it is full, 1 in 270.
	 */
	if (worth >> 2 > 1 || used >= FLOW_SLOTS - 1) {
		other = cheapest(in->second, start, cfg, now);
		if (other >> 2 < worth >> 2 ||
		    (other >> 2 == 0 && n_used(in->second) + 1 < used)) {
			bucket = in->second;
			worth = other;
			spill = FLOW_SPILLED;
		}
	}
	start = (start + worth) & (FLOW_SLOTS - 1);
	flow = &bucket->slots[start];
	if (worth >> 2 == WORTH_NEVER || !slot_lock(flow))
		return CLAIM_FULL;
	if (flow->kind == FLOW_FREE)
		flow->peer = NO_SLOT;
	index = hash & flow_mask;
	if (spill)
		index = other_bucket(index, hash);
	claim->victim_first = NO_BUCKET;
	if (flow->flags & FLOW_SPILLED)
		claim->victim_first = other_bucket(
			index, flow_hash(&flow->key, cfg->hash_seed));
	flow->kind = FLOW_FREE;
	barrier();
	flow->key = *key;
	flow->flags = spill;
	/* Any kind: seq is odd, so only other claims of this key see it. */
	flow->kind = FLOW_ORIG;
	if (spill)
		__sync_fetch_and_add(&in->first->slots[0].spilled, 1);
	claim->slot = index * FLOW_SLOTS + start;
	return CLAIM_NEW;
}

/*
 * Claims a slot for `key`: its number, or -CLAIM_EXISTS or -CLAIM_FULL. The
 * slot is locked (seq odd) with the key in place, and `peer` is still that of
 * the flow that had to go, or NO_SLOT: the caller frees it, fills in the rest
 * and calls slot_unlock().
 */
__noinline int flow_claim(const struct flow_key *key, __u64 hash, __u32 now)
{
	__u32 lock_index = hash & (FLOW_LOCKS - 1), zero = 0;
	struct flow_lock *lock = bpf_map_lookup_elem(&flow_locks, &lock_index);
	struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct claim claim = {};
	struct places in = {};
	int result;

	in.first = flow_bucket_at(hash & flow_mask);
	in.second = flow_bucket_at(other_bucket(hash & flow_mask, hash));
	if (!key || !in.first || !in.second || !lock || !cfg)
		return -CLAIM_FULL;
	bpf_spin_lock(&lock->lock);
	result = claim_locked(&in, key, hash, cfg, now, &claim);
	bpf_spin_unlock(&lock->lock);
	if (result != CLAIM_NEW)
		return -result;
	if (claim.victim_first != NO_BUCKET)
		unspill(claim.victim_first);
	return claim.slot & 0x7fffffff;
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
