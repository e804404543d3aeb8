/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The connection table: open addressing in one BPF array, four flows and one
 * line of tags to a bucket, two buckets to a key.
 *
 * Who may write what, and when:
 * - Readers take no lock. They match tag and key, copy what they need, and
 *   then look whether `seq` is even and unchanged; if not they have read
 *   nothing.
 * - A writer owns a slot by a compare-and-swap of `seq` from even to odd. It
 *   clears the tag first, and gives `seq` back (even, +2) after everything
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
	struct flow_bucket *bucket;
	__u32 index;
	__u32 slot;
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
 * seed. Low 32 bits choose the bucket, bits 32-47 the ring slot, 48-63 tag.
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

static __always_inline __u16 flow_tag(__u64 hash)
{
	return (hash >> 48) | 1;
}

static __always_inline __u32 second_bucket(__u32 first, __u16 tag)
{
	return (first ^ ((tag * 0x5bd1e995u) | 1)) & flow_mask;
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

static __always_inline int flow_find_in(struct flow_bucket *bucket, __u32 slot,
					const struct flow_key *key, __u16 tag,
					struct flow_ref *ref)
{
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		if (bucket->tag[i] != tag ||
		    !flow_key_is(&bucket->slots[i].key, key))
			continue;
		if (bucket->seq[i] & 1)
			return 0;
		ref->bucket = bucket;
		ref->index = i;
		ref->slot = slot + i;
		return 1;
	}
	return 0;
}

/* 1 and `ref` when the key has a flow. */
static __always_inline int flow_find(const struct flow_key *key, __u64 hash,
				     struct flow_ref *ref)
{
	__u16 tag = flow_tag(hash);
	__u32 first = hash & flow_mask;
	struct flow_bucket *bucket = flow_bucket_at(first);

	if (!bucket)
		return 0;
	if (flow_find_in(bucket, first * FLOW_SLOTS, key, tag, ref))
		return 1;
	if (!bucket->spilled)
		return 0;
	first = second_bucket(first, tag);
	bucket = flow_bucket_at(first);
	if (!bucket)
		return 0;
	return flow_find_in(bucket, first * FLOW_SLOTS, key, tag, ref);
}

/*
 * Signed: another CPU may have stamped the slot a tick after `now` was read.
 */
static __always_inline bool flow_expired(const struct flow_bucket *bucket,
					 __u32 i, const struct config *cfg,
					 __u32 now)
{
	__u32 state = bucket->state[i] & (FLOW_STATES - 1);

	return (__s32)(now - bucket->last_seen[i]) >
	       (__s32)cfg->timeouts[state];
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
 * worth << 2 | slot. Without branches: the verifier would follow every
 * combination of eight slots (6.18: over a million instructions).
 */
static __always_inline __u32 slot_worth(const struct flow_bucket *bucket,
					__u32 i, const struct config *cfg,
					__u32 now)
{
	__u32 state = bucket->state[i] & (FLOW_STATES - 1);
	__u32 worth = (STATE_WORTH >> (state * 8)) & 0xff;
	__s32 left = cfg->timeouts[state] - (now - bucket->last_seen[i]);
	__u32 expired = (__u32)left >> 31;
	__u32 used = bucket->tag[i], busy = -(bucket->seq[i] & 1);

	worth = (worth & (expired - 1)) | expired;
	worth &= -((used | -used) >> 31);
	return ((worth | busy) & 0xff) << 2 | i;
}

static __always_inline __u32 lesser(__u32 a, __u32 b)
{
	__s32 less = (__s32)(b - a) >> 31; /* all ones when b < a */

	return a ^ ((a ^ b) & less);
}

static __always_inline __u32 cheapest(const struct flow_bucket *bucket,
				      const struct config *cfg, __u32 now)
{
	return lesser(lesser(slot_worth(bucket, 0, cfg, now),
			     slot_worth(bucket, 1, cfg, now)),
		      lesser(slot_worth(bucket, 2, cfg, now),
			     slot_worth(bucket, 3, cfg, now)));
}

static __always_inline int slot_lock(struct flow_bucket *bucket, __u32 i)
{
	__u32 seq = bucket->seq[i];

	if (seq & 1)
		return 0;
	return __sync_val_compare_and_swap(&bucket->seq[i], seq, seq + 1) ==
	       seq;
}

static __always_inline void slot_unlock(struct flow_bucket *bucket, __u32 i)
{
	memory_fence(&bucket->seq[i]);
	*(volatile __u32 *)&bucket->seq[i] += 1;
}

/* Empties a slot that the caller has locked. */
static __always_inline void slot_clear(struct flow_bucket *bucket, __u32 i,
				       __u32 index)
{
	__u16 tag = bucket->tag[i];

	bucket->tag[i] = 0;
	bucket->kind[i] = FLOW_FREE;
	barrier();
	if (bucket->flags[i] & FLOW_SPILLED) {
		struct flow_bucket *first =
			flow_bucket_at(second_bucket(index, tag));

		if (first)
			__sync_fetch_and_add(&first->spilled, (__u32)-1);
	}
	bucket->flags[i] = 0;
}

/* Frees a slot if it still is the other direction of `peer`. */
__noinline int flow_free(__u32 slot, __u32 peer)
{
	__u32 index = slot / FLOW_SLOTS, i = slot % FLOW_SLOTS;
	struct flow_bucket *bucket = flow_bucket_at(index);

	if (!bucket || !bucket->tag[i] || bucket->slots[i].peer != peer)
		return 0;
	if (!slot_lock(bucket, i))
		return 0;
	slot_clear(bucket, i, index);
	slot_unlock(bucket, i);
	return 1;
}

/* What was claimed, and what was there: to clean up after the lock. */
struct claim {
	__u32 index;
	__u32 in_second;
	__u32 victim_peer;
	__u16 victim_tag;
	__u16 victim_flags;
};

static __always_inline int claim_scan(struct flow_bucket *bucket,
				      const struct flow_key *key, __u16 tag)
{
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		if (bucket->tag[i] == tag &&
		    flow_key_is(&bucket->slots[i].key, key))
			return 1;
	return 0;
}

/* Under the key's lock: finds the key or takes the cheapest slot. */
static __always_inline int claim_locked(struct flow_bucket *first,
					struct flow_bucket *second,
					const struct flow_key *key, __u16 tag,
					const struct config *cfg, __u32 now,
					struct claim *claim)
{
	struct flow_bucket *bucket = first;
	__u32 i, worth, other;

	if (claim_scan(first, key, tag))
		return CLAIM_EXISTS;
	if (first->spilled && claim_scan(second, key, tag))
		return CLAIM_EXISTS;
	worth = cheapest(first, cfg, now);
	if (worth >> 2 > 1) {
		other = cheapest(second, cfg, now);
		if (other >> 2 < worth >> 2) {
			bucket = second;
			worth = other;
		}
	}
	if (worth >> 2 == WORTH_NEVER)
		return CLAIM_FULL;
	i = worth & (FLOW_SLOTS - 1);
	if (!slot_lock(bucket, i))
		return CLAIM_FULL;
	claim->victim_tag = bucket->tag[i];
	claim->victim_flags = bucket->flags[i];
	claim->victim_peer = bucket->slots[i].peer;
	bucket->tag[i] = 0;
	bucket->flags[i] = 0;
	barrier();
	bucket->slots[i].key = *key;
	bucket->tag[i] = tag;
	if (bucket == second) {
		bucket->flags[i] = FLOW_SPILLED;
		__sync_fetch_and_add(&first->spilled, 1);
		claim->in_second = 1;
	}
	claim->index = i;
	return CLAIM_NEW;
}

/* A slot that was taken had a counted first bucket and another direction. */
static __always_inline void claim_cleanup(const struct claim *claim, __u32 slot)
{
	if (claim->victim_flags & FLOW_SPILLED) {
		struct flow_bucket *first = flow_bucket_at(
			second_bucket(slot / FLOW_SLOTS, claim->victim_tag));

		if (first)
			__sync_fetch_and_add(&first->spilled, (__u32)-1);
	}
	if (claim->victim_tag)
		flow_free(claim->victim_peer, slot);
}

/*
 * Claims a slot for `key`: its number, or -CLAIM_EXISTS or -CLAIM_FULL. The
 * slot is locked (seq odd) with key and tag in place: the caller fills in the
 * rest and calls slot_unlock().
 */
__noinline int flow_claim(const struct flow_key *key, __u64 hash, __u32 now)
{
	__u16 tag = flow_tag(hash);
	__u32 index = hash & flow_mask, other = second_bucket(index, tag);
	__u32 lock_index = hash & (FLOW_LOCKS - 1), zero = 0;
	struct flow_bucket *first = flow_bucket_at(index);
	struct flow_bucket *second = flow_bucket_at(other);
	struct flow_lock *lock = bpf_map_lookup_elem(&flow_locks, &lock_index);
	struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct claim claim = {};
	int result;

	if (!key || !first || !second || !lock || !cfg)
		return -CLAIM_FULL;
	bpf_spin_lock(&lock->lock);
	result = claim_locked(first, second, key, tag, cfg, now, &claim);
	bpf_spin_unlock(&lock->lock);
	if (result != CLAIM_NEW)
		return -result;
	index = (claim.in_second ? other : index) * FLOW_SLOTS + claim.index;
	claim_cleanup(&claim, index);
	return index & 0x7fffffff;
}

/* The place of a slot number. */
static __always_inline int flow_at(__u32 slot, struct flow_ref *ref)
{
	ref->bucket = flow_bucket_at(slot / FLOW_SLOTS);
	ref->index = slot % FLOW_SLOTS;
	ref->slot = slot;
	return ref->bucket != NULL;
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
		__u32 state = bucket->state[i] & (FLOW_STATES - 1);

		if (!bucket->tag[i] || (bucket->seq[i] & 1))
			continue;
		if (flow_expired(bucket, i, cfg, now) && slot_lock(bucket, i)) {
			slot_clear(bucket, i, index);
			slot_unlock(bucket, i);
			sweep->expired++;
			continue;
		}
		sweep->live++;
		if (bucket->kind[i] == FLOW_ORIG)
			sweep->by_state[state]++;
	}
}

#endif
