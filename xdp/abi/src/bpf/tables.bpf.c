/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every table of Terrace, and the programs that userspace runs on them. This
 * object is what makes the maps; all others join them through pins.
 *
 * beat:  the daemon says that it lives. The packet programs compare it with
 *        the clock, so fail modes hold when the daemon is dead.
 * clock: the time base of the tables, so that userspace can give ages.
 * sweep: the clock hand of the connection table.
 * credit: packets that a NIC has sent on by itself count as the host's own.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <terrace/maps.h>
#include <terrace/flow.h>

/* Buckets that one run of `sweep` looks at, at most. */
#define SWEEP_MAX 65536

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("syscall")
int beat(void *ctx)
{
	__u32 zero = 0;
	struct heartbeat *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	if (!beat)
		return 0;
	beat->last = bpf_jiffies64();
	return beat->last;
}

SEC("syscall")
int clock(void *ctx)
{
	return bpf_jiffies64();
}

/* Both directions live, as `flow_set` of track.h has it. */
static __always_inline void stamp(const struct flow_ref *ref, __u32 now)
{
	struct flow_bucket *bucket;
	__u32 peer = ref->flow->peer;

	ref->flow->last_seen = now;
	bucket = flow_bucket_at(peer / FLOW_SLOTS & flow_mask);
	if (bucket && bucket->slots[peer % FLOW_SLOTS].peer == ref->slot)
		bucket->slots[peer % FLOW_SLOTS].last_seen = now;
}

static __always_inline void credit_backend(__u32 backend, bool reply,
					   const struct credit *credit)
{
	struct backend_stats *stats;

	stats = backend ? bpf_map_lookup_elem(&backend_stats, &backend) : NULL;
	if (!stats)
		return;
	stats->packets[reply] += credit->packets;
	stats->bytes[reply] += credit->bytes;
}

SEC("syscall")
int credit(struct credit *args)
{
	__u32 zero = 0;
	const struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct credit credit = *args;
	struct flow_ref ref = {};
	__u64 hash;

	if (!cfg)
		return -1;
	hash = flow_hash(&credit.key, cfg->hash_seed);
	credit.found = flow_find(&credit.key, hash, &ref) && ref.flow &&
		       ref.flow->created == credit.created;
	if (credit.found && credit.packets) {
		__sync_fetch_and_add(&ref.flow->packets, credit.packets);
		__sync_fetch_and_add(&ref.flow->bytes, credit.bytes);
		stamp(&ref, bpf_jiffies64());
		credit_backend(ref.flow->backend, ref.flow->kind == FLOW_REPLY,
			       &credit);
	}
	*args = credit;
	return 0;
}

struct sweep_run {
	struct sweep *sweep;
	const struct config *cfg;
	__u32 now;
};

static long sweep_one(__u32 i, void *context)
{
	struct sweep_run *run = context;

	flow_sweep_bucket(run->sweep->cursor, run->cfg, run->now, run->sweep);
	run->sweep->cursor = (run->sweep->cursor + 1) & flow_mask;
	return 0;
}

SEC("syscall")
int sweep(struct sweep *args)
{
	__u32 zero = 0;
	struct sweep sweep = *args;
	struct sweep_run run = {
		.sweep = &sweep,
		.cfg = bpf_map_lookup_elem(&config, &zero),
		.now = bpf_jiffies64(),
	};

	if (!run.cfg)
		return -1;
	sweep.cursor &= flow_mask;
	if (sweep.n_buckets > SWEEP_MAX)
		sweep.n_buckets = SWEEP_MAX;
	bpf_loop(sweep.n_buckets, sweep_one, &run, 0);
	*args = sweep;
	return 0;
}
