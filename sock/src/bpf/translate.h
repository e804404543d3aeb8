/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A service address becomes a backend's: the same cells, rings, weights and
 * affinity as for packets (terrace/service.h).
 */
#ifndef TERRACE_TRANSLATE_H
#define TERRACE_TRANSLATE_H

#include <linux/in.h>
#include <terrace/service.h>
#include "socket_maps.h"

static __always_inline bool same_address(const __be32 a[4], const __be32 b[4])
{
	return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) |
		(a[3] ^ b[3])) == 0;
}

static __always_inline void copy_address(__be32 to[4], const __be32 from[4])
{
	for (int word = 0; word < 4; word++)
		to[word] = from[word];
}

static __always_inline bool address_is_zero(const __be32 addr[4])
{
	return (addr[0] | addr[1] | addr[2] | addr[3]) == 0;
}

/* 127.0.0.0/8, ::1, and the wildcard, which a connect takes for it. */
static __always_inline bool is_loopback(const __be32 addr[4])
{
	if (addr_is_v4(addr))
		return !addr[3] || (bpf_ntohl(addr[3]) >> 24) == 127;
	return (addr[0] | addr[1] | addr[2]) == 0 &&
	       (!addr[3] || addr[3] == bpf_htonl(1));
}

static __always_inline struct config *configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* Node ports are on the host's addresses; its loopback has them too. */
static __always_inline __u32 node_port(const struct config *cfg,
				       const struct connect_question *ask)
{
	const __be32 *host = ask->is_v4 ? cfg->host_addr4 : cfg->host_addr6;
	struct service *service;
	__u32 index;

	index = service_lookup(host, ask->port, ask->proto);
	service = bpf_map_lookup_elem(&services, &index);
	if (!index || !service || !(service->flags & SERVICE_NODE_PORT))
		return 0;
	return index;
}

static __always_inline __u32 asked_service(const struct config *cfg,
					   const struct connect_question *ask)
{
	__u32 index = service_lookup(ask->addr, ask->port, ask->proto);

	if (index || ask->netns != host_netns || !is_loopback(ask->addr))
		return index;
	return node_port(cfg, ask);
}

/*
 * Who asks, for session affinity: the bound address, the host's own, or, as no
 * source address is chosen yet, the network namespace.
 */
static __always_inline void client_of(const struct config *cfg,
				      const struct connect_question *ask,
				      struct address *client)
{
	if (!address_is_zero(ask->client)) {
		copy_address(client->words, ask->client);
	} else if (ask->netns == host_netns) {
		copy_address(client->words,
			     ask->is_v4 ? cfg->host_addr4 : cfg->host_addr6);
	} else {
		client->words[0] = 0;
		client->words[1] = 0;
		client->words[2] = ask->netns >> 32;
		client->words[3] = ask->netns;
	}
}

/* Datagrams of a socket keep to one slot of the ring; connections spread. */
static __always_inline __u32 choice_of(const struct connect_question *ask,
				       __u32 service)
{
	__u64 hash = (ask->cookie ^ service) * 0x9e3779b97f4a7c15ULL;

	if (!ask->cookie)
		return bpf_get_prandom_u32();
	hash ^= hash >> 29;
	return (hash * 0xbf58476d1ce4e5b9ULL) >> 32;
}

/* 0, or the reason why a silent daemon ends the way here. */
static __always_inline __u32 silence(const struct config *cfg,
				     const struct service *service, __u32 now)
{
	struct heartbeat *beat;
	__u32 zero = 0;

	if (service->fail_mode == FAIL_LAST)
		return 0;
	beat = bpf_map_lookup_elem(&heartbeat, &zero);
	if (!beat || (__s32)(now - beat->last) <= (__s32)cfg->heartbeat_timeout)
		return 0;
	return service->fail_mode == FAIL_OPEN ? REASON_CONNECT_FAIL_OPEN :
						 REASON_CONNECT_FAIL_CLOSED;
}

/* Fills in `answer` and returns its reason. */
static __always_inline __u32 translate(const struct connect_question *ask,
				       struct connect_answer *answer)
{
	struct config *cfg = configuration();
	struct address client = {};
	struct backend *backend;
	struct service *service;
	__u32 now, silent, index;

	if (!with_services || !cfg)
		return REASON_CONNECT_DIRECT;
	index = asked_service(cfg, ask);
	service = bpf_map_lookup_elem(&services, &index);
	/* A worker has to read the requests: tc gives it the packets. */
	if (!index || !service ||
	    ((service->flags & SERVICE_L7) && ask->proto == IPPROTO_TCP))
		return REASON_CONNECT_DIRECT;
	answer->peer.service = index;
	now = bpf_jiffies64();
	silent = silence(cfg, service, now);
	if (silent)
		return silent;
	client_of(cfg, ask, &client);
	index = choose_backend(&client, service, cfg, now,
			       choice_of(ask, index));
	backend = bpf_map_lookup_elem(&backends, &index);
	if (!index || !backend)
		return service->flags & SERVICE_REJECT ?
			       REASON_CONNECT_REFUSED :
			       REASON_CONNECT_DENIED;
	answer->peer.backend = index;
	answer->peer.got_port = backend->port;
	copy_address(answer->peer.got, backend->addr);
	answer->peer.flags = PEER_SERVICE;
	if (service->flags & SERVICE_TERMINATE)
		answer->peer.flags |= PEER_TERMINATE;
	return REASON_CONNECT_SERVICE;
}

/* Whether a backend may keep what it has: it is still the same one. */
static __always_inline bool keeps_peer(const struct peer *peer)
{
	struct backend *backend;
	__u32 index = peer->backend;

	if (!(peer->flags & PEER_SERVICE))
		return true;
	backend = bpf_map_lookup_elem(&backends, &index);
	return backend &&
	       (backend->flags & (BACKEND_READY | BACKEND_DRAINING)) &&
	       backend->port == peer->got_port &&
	       backend->proto == peer->proto &&
	       same_address(backend->addr, peer->got);
}

#endif
