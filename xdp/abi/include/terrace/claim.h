/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A slot for a new key: the cheapest of its two buckets, under the key's lock,
 * so that a key is inserted once. flow.h says who may write what.
 */
#ifndef TERRACE_CLAIM_H
#define TERRACE_CLAIM_H

#include "flow.h"

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
	__u32 worth = slot_worth(bucket, start, 0, cfg, now);

	/*
	 * One after the other: the compiler would hold all four on the stack,
	 * and here is the deepest of all chains of calls (before Linux 6.8 the
	 * verifier rounds the stack of each function up to 32 bytes).
	 */
	for (__u32 i = 1; i < FLOW_SLOTS; i++) {
		barrier_var(worth);
		worth = lesser(worth, slot_worth(bucket, start, i, cfg, now));
	}
	return worth;
}

#define NO_BUCKET 0xffffffff
#define NO_SLOT 0xffffffff

/* What was claimed, and what was there: to clean up after the lock. */
struct claim {
	__u32 slot;
	__u32 victim_first; /* its first bucket when it sat in its second */
};

/* The slot of the bucket that has the key, or FLOW_SLOTS. */
static __always_inline __u32 claim_scan(const struct flow_bucket *bucket,
					const struct flow_key *key)
{
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		if (flow_key_is(&bucket->slots[i].key, key) &&
		    bucket->slots[i].kind != FLOW_FREE)
			return i;
	return FLOW_SLOTS;
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

/* A slot that is about to be taken: the bucket's worth may be old news. */
struct pick {
	struct flow *flow;
	__u32 at;
	__u32 worth;
	__u32 spill; /* FLOW_SPILLED or 0 */
};

static __always_inline void pick_slot(const struct places *in, __u32 start,
				      const struct config *cfg, __u32 now,
				      struct pick *pick)
{
	struct flow_bucket *bucket = in->first;
	__u32 worth = cheapest(in->first, start, cfg, now), other;
	__u32 used = n_used(in->first);

	pick->spill = 0;
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
			pick->spill = FLOW_SPILLED;
		}
	}
	pick->worth = worth >> 2;
	pick->at = (start + worth) & (FLOW_SLOTS - 1);
	pick->flow = &bucket->slots[pick->at];
}

/* Was answered in the moment before its slot was locked. */
static __always_inline bool is_kept(const struct flow *flow,
				    const struct config *cfg, __u32 now)
{
	__u32 state = flow->state & (FLOW_STATES - 1);

	return flow->kind != FLOW_FREE &&
	       ((STATE_WORTH >> (state * 8)) & 0xff) == WORTH_NEVER &&
	       !flow_expired(flow, cfg, now);
}

/* Locks the cheapest slot, or says why not. */
static __always_inline int lock_slot(const struct places *in, __u32 start,
				     const struct config *cfg, __u32 now,
				     struct pick *pick)
{
	pick_slot(in, start, cfg, now, pick);
	if (pick->worth == WORTH_NEVER)
		return CLAIM_FULL;
	if (!slot_lock(pick->flow))
		return CLAIM_BUSY;
	if (!is_kept(pick->flow, cfg, now))
		return CLAIM_NEW;
	slot_unlock(pick->flow);
	return CLAIM_BUSY;
}

/*
 * The slot that has the key already: taken over when its flow has timed out,
 * also while no daemon sweeps the table.
 */
static __always_inline int lock_own(struct flow_bucket *bucket, __u32 at,
				    const struct config *cfg, __u32 now,
				    struct pick *pick)
{
	pick->at = at & (FLOW_SLOTS - 1);
	pick->flow = &bucket->slots[pick->at];
	if (!flow_expired(pick->flow, cfg, now))
		return CLAIM_EXISTS;
	if (!slot_lock(pick->flow))
		return CLAIM_BUSY;
	if (pick->flow->kind != FLOW_FREE && flow_expired(pick->flow, cfg, now))
		return CLAIM_NEW;
	slot_unlock(pick->flow);
	return CLAIM_BUSY;
}

/* Under the key's lock: finds the key or takes the cheapest slot. */
static __always_inline int claim_locked(const struct places *in,
					const struct flow_key *key, __u64 hash,
					const struct config *cfg, __u32 now,
					struct claim *claim)
{
	struct pick pick = {};
	struct flow *flow;
	__u32 index, at;
	int result;

	at = claim_scan(in->first, key);
	if (at < FLOW_SLOTS) {
		result = lock_own(in->first, at, cfg, now, &pick);
	} else {
		if (in->first->slots[0].spilled)
			at = claim_scan(in->second, key);
		if (at < FLOW_SLOTS) {
			pick.spill = FLOW_SPILLED;
			result = lock_own(in->second, at, cfg, now, &pick);
		} else {
			result = lock_slot(in, first_slot(hash), cfg, now,
					   &pick);
		}
	}
	if (result != CLAIM_NEW || !pick.flow)
		return result;
	flow = pick.flow;
	if (flow->kind == FLOW_FREE)
		flow->peer = NO_SLOT;
	index = hash & flow_mask;
	if (pick.spill)
		index = other_bucket(index, hash);
	claim->victim_first = NO_BUCKET;
	if (flow->flags & FLOW_SPILLED)
		claim->victim_first = other_bucket(
			index, flow_hash(&flow->key, cfg->hash_seed));
	flow->kind = FLOW_FREE;
	barrier();
	flow->key = *key;
	flow->flags = pick.spill;
	/* Any kind: seq is odd, so only other claims of this key see it. */
	flow->kind = FLOW_ORIG;
	if (pick.spill)
		__sync_fetch_and_add(&in->first->slots[0].spilled, 1);
	claim->slot = index * FLOW_SLOTS + pick.at;
	return CLAIM_NEW;
}

/* One try. The verifier walks a loop of calls of it cheaply. */
__noinline int claim_once(const struct flow_key *key, __u64 hash, __u32 now)
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

/* Another key's claim may be faster: how often the next best is tried. */
#define CLAIM_ATTEMPTS 8

/*
 * Claims a slot for `key`: its number, or -CLAIM_EXISTS or -CLAIM_FULL. The
 * slot is locked (seq odd) with the key in place, and `peer` is still that of
 * the flow that had to go, or NO_SLOT: the caller frees it, fills in the rest
 * and calls slot_unlock().
 */
__noinline int flow_claim(const struct flow_key *key, __u64 hash, __u32 now)
{
	for (int i = 0; i < CLAIM_ATTEMPTS; i++) {
		int result = claim_once(key, hash, now);

		if (result != -CLAIM_BUSY)
			return result;
	}
	return -CLAIM_FULL;
}

#endif
