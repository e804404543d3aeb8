/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services: address and port -> service -> backend, by Maglev ring or by the
 * client's affinity.
 */
#ifndef TERRACE_SERVICE_H
#define TERRACE_SERVICE_H

#include "cells.h"

/* The index of the service at an address and port, 0 = none. */
static __always_inline __u32 service_lookup(const __be32 addr[4], __be16 port,
					    __u8 proto)
{
	__u32 key[CELL_KEY_WORDS] = {
		addr[0], addr[1], addr[2], addr[3], (__u32)port << 16 | proto,
	};

	return cell_lookup(&service_cells, service_mask, key);
}

static __always_inline __u32 ring_backend(const struct service *service,
					  __u32 hash)
{
	__u32 slot, entry, index = service->maglev;
	__u64 *pair;
	void *ring;

	if (!service->maglev_size)
		return 0;
	ring = bpf_map_lookup_elem(&maglevs, &index);
	if (!ring)
		return 0;
	slot = hash % service->maglev_size;
	entry = slot / 2;
	pair = bpf_map_lookup_elem(ring, &entry);
	if (!pair)
		return 0;
	return slot & 1 ? *pair >> 32 : *pair & 0xffffffff;
}

/* The index may have been given to another service's backend since. */
static __always_inline bool takes_new_flows(__u32 index, __u32 group)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);

	return backend && (backend->flags & BACKEND_READY) &&
	       backend->group == group;
}

/* Affinity by client address: the table first, the ring for a new client. */
__noinline __u32 affine_backend(const struct address *client,
				const struct service *service,
				const struct config *cfg, __u32 now, __u32 hash)
{
	struct affinity_key key = {};
	struct affinity *old, new = {};
	__u32 limit;

	if (!client || !service || !cfg)
		return 0;
	limit = service->affinity_secs * cfg->hz;
	for (int i = 0; i < 4; i++)
		key.client[i] = client->words[i];
	key.group = service->group;
	old = bpf_map_lookup_elem(&affinities, &key);
	if (old && (__s32)(now - old->last_seen) <= (__s32)limit &&
	    takes_new_flows(old->backend, service->group)) {
		if (!dry_run)
			old->last_seen = now;
		return old->backend;
	}
	new.backend = ring_backend(service, hash);
	new.last_seen = now;
	if (new.backend && !dry_run)
		bpf_map_update_elem(&affinities, &key, &new, BPF_ANY);
	return new.backend;
}

static __always_inline __u32 choose_backend(const struct address *client,
					    const struct service *service,
					    const struct config *cfg, __u32 now,
					    __u32 hash)
{
	if (service->flags & SERVICE_AFFINITY)
		return affine_backend(client, service, cfg, now, hash);
	return ring_backend(service, hash);
}

#endif
