/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The shortcut's own maps, pinned beside the shared tables. The sizes of the
 * tables of sockets are placeholders: the loader sets them.
 */
#ifndef TERRACE_SHORTCUT_MAPS_H
#define TERRACE_SHORTCUT_MAPS_H

#include <terrace/maps.h>

#define HASH_MAP(name, map_type, key_type, value_type) \
	struct {                                       \
		__uint(type, map_type);                \
		__uint(max_entries, 1024);             \
		__type(key, key_type);                 \
		__type(value, value_type);             \
	} name SEC(".maps")

/* Both sockets of a pair, for bpf_msg_redirect_hash(). */
HASH_MAP(shortcut_sockets, BPF_MAP_TYPE_SOCKHASH, struct shortcut_socket_key,
	 __u64);
HASH_MAP(shortcut_pairs, BPF_MAP_TYPE_HASH, struct shortcut_key,
	 struct shortcut_pair);
/* The kernel's address of a socket -> its place in a pair, for the guards. */
HASH_MAP(shortcut_places, BPF_MAP_TYPE_HASH, __u64, struct shortcut_socket_key);

/* The same place, found from the socket itself: a load, not a hash. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct shortcut_socket_key);
} shortcut_storage SEC(".maps");

ARRAY_MAP(shortcut_config, struct shortcut_config, 1);
/* One bit a port, host order; consulted when n_ports is not 0. */
ARRAY_MAP(shortcut_ports, __u64, 1024);
PERCPU_MAP(shortcut_stats, struct shortcut_stats, SHORTCUT_REASON_MAX);
PERCPU_MAP(shortcut_events, __u64, SHORTCUT_EVENT_MAX);

static __always_inline struct shortcut_config *shortcut_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shortcut_config, &zero);
}

static __always_inline void count_event(__u32 event)
{
	__u64 *count = bpf_map_lookup_elem(&shortcut_events, &event);

	if (count)
		*count += 1;
}

static __always_inline void count_message(__u32 reason, __u32 bytes)
{
	struct shortcut_stats *stats;

	stats = bpf_map_lookup_elem(&shortcut_stats, &reason);
	if (!stats)
		return;
	stats->messages += 1;
	stats->bytes += bytes;
}

#endif
