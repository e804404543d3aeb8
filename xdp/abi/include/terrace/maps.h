/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every map, declared once and joined by all programs through pins. The sizes
 * here are placeholders: the loader sets max_entries from the limits.
 */
#ifndef TERRACE_MAPS_H
#define TERRACE_MAPS_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/*
 * Load-time constants, set by every loader before load from the real sizes of
 * the pinned maps (entries - 1, powers of two). The verifier folds them.
 */
const volatile __u32 flow_mask = 1023;	  /* buckets of `flows` */
const volatile __u32 service_mask = 1023; /* buckets of `service_cells` */
const volatile __u32 address_mask = 1023;
const volatile __u32 deny_mask = 1023;
const volatile __u32 policy_mask = 1023;
/* True in the copy of a program that `terrace explain` and tests run. */
const volatile bool dry_run = false;

#define NEXTHOPS 8192
#define FLOW_LOCKS 1024

/*
 * BPF_F_MMAPABLE not only lets workers map some of them: it makes the kernel
 * begin the values at a page. Else they begin behind its own header (312 bytes
 * in Linux 6.18), and each bucket of one cache line would lie on two.
 */
#define ARRAY_MAP(name, value_type, entries)       \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, entries);      \
		__type(key, __u32);                \
		__type(value, value_type);         \
	} name SEC(".maps")

#define PERCPU_MAP(name, value_type, entries)            \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
		__uint(max_entries, entries);            \
		__type(key, __u32);                      \
		__type(value, value_type);               \
	} name SEC(".maps")

struct flow_lock {
	struct bpf_spin_lock lock;
};

/* What has a lock in it can't be mapped. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_LOCKS);
	__type(key, __u32);
	__type(value, struct flow_lock);
} flow_locks SEC(".maps");

ARRAY_MAP(config, struct config, 1);
ARRAY_MAP(heartbeat, struct heartbeat, 1);
ARRAY_MAP(ifaces, struct iface, IFACES_MAX);
ARRAY_MAP(services, struct service, 1024);
ARRAY_MAP(service_cells, struct cell_bucket, 1024);
ARRAY_MAP(backends, struct backend, 1024);
ARRAY_MAP(endpoints, struct endpoint, 1024);
ARRAY_MAP(address_roots, struct prefix_root, PREFIX_ROOTS);
ARRAY_MAP(address_cells, struct cell_bucket, 1024);
ARRAY_MAP(deny_roots, struct prefix_root, PREFIX_ROOTS);
ARRAY_MAP(deny_cells, struct cell_bucket, 1024);
ARRAY_MAP(port_classes, __u64, POLICY_CLASS_ENTRIES);
ARRAY_MAP(policy_cells, struct cell_bucket, 1024);
ARRAY_MAP(flows, struct flow_bucket, 1024);
ARRAY_MAP(traces, struct trace, 1);
ARRAY_MAP(splices, struct splice, 1024);
ARRAY_MAP(splice_progress, struct splice_progress, 1024);
ARRAY_MAP(head_notes, struct head_note, 1024);
ARRAY_MAP(l7_workers, struct l7_worker, L7_QUEUES_MAX);

PERCPU_MAP(reasons, struct reason_stats, IFACES_MAX *HOOK_MAX *REASON_MAX);
PERCPU_MAP(backend_stats, struct backend_stats, 1024);
PERCPU_MAP(socket_reasons, struct reason_stats, SOCKET_REASONS);
PERCPU_MAP(nexthops, struct nexthop, NEXTHOPS);

/* The template of a ring; real ones differ in size (BPF_F_INNER_MAP). */
struct ring {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__array(values, struct ring);
} maglevs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} affinities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct head_key);
	__type(value, __u32);
} head_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} xdp_programs SEC(".maps");

#endif
