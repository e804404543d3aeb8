/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps of the socket tier, joined by its objects through pins. What belongs
 * to one socket is in `socket_records` (records.h), or in socket storage, which
 * ends with the socket.
 */
#ifndef TERRACE_SOCKET_MAPS_H
#define TERRACE_SOCKET_MAPS_H

#include <terrace/maps.h>

/* Of the network namespace that node ports and loopback mean: the daemon's. */
const volatile __u64 host_netns = 0;
/* Whether services are translated, and workloads have proxies. */
const volatile bool with_services = true;
const volatile bool with_proxy = false;
/* Whether some workload is known by its cgroup. */
const volatile bool with_cgroups = false;
/* Buckets of `socket_records` - 1, from the map itself. */
const volatile __u32 socket_mask = 8191;

#define STORAGE_MAP(name, value_type)                  \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_SK_STORAGE); \
		__uint(map_flags, BPF_F_NO_PREALLOC);  \
		__type(key, int);                      \
		__type(value, value_type);             \
	} name SEC(".maps")

#define SOCKET_HASH(name, key_type, value_type)       \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_HASH);      \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(max_entries, 65536);           \
		__type(key, key_type);                \
		__type(value, value_type);            \
	} name SEC(".maps")

struct address_key {
	__be32 words[4];
};

/* Of sockets that connected; a line of their cookies leads to the records. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	/* Begins a page, so a bucket begins a cache line. */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct socket_bucket);
} socket_records SEC(".maps");

/* Of those without room there, and of sockets that a proxy accepted. */
STORAGE_MAP(socket_peers, struct peer);
/* Of datagram sockets that send without being connected. */
STORAGE_MAP(datagram_peers, struct datagram_peers);

SOCKET_HASH(workloads, struct workload_key, struct workload);
/* The same by their own addresses, for those that redirect what comes in. */
SOCKET_HASH(inbound, struct address_key, struct workload);
SOCKET_HASH(proxy_ports, struct proxy_port_key, __u32);
SOCKET_HASH(handshakes, struct handshake_key, struct peer);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct proxy_net_key);
	__type(value, __u32);
} proxy_nets SEC(".maps");

/* The proxies' listening sockets for what comes in. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct listener_key);
	__type(value, __u64);
} listeners SEC(".maps");

static __always_inline void count_socket(__u32 reason)
{
	__u32 index = reason - SOCKET_REASONS_FIRST;
	struct reason_stats *stats =
		bpf_map_lookup_elem(&socket_reasons, &index);

	if (stats && !dry_run)
		stats->packets++;
}

#endif
