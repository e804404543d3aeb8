/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What destinations are. Where no prefix longer than /16 is known, the root
 * says it. Others are remembered, which spares the walk of the address table. A
 * CPU has its own, so an entry has one writer and one reader. The policy
 * revision changes whenever an address becomes something else, and empties it.
 */
#ifndef TERRACE_DESTINATION_H
#define TERRACE_DESTINATION_H

#include "way.h"

#define DESTINATIONS 256

struct destination {
	__be32 addr[4];
	__u32 policy_rev;
	__u32 endpoint; /* its index */
	__u32 pad[2];
};

PERCPU_MAP(destinations, struct destination, DESTINATIONS);

static __always_inline __u32 destination_index(const __be32 addr[4])
{
	return ((addr[0] ^ addr[1] ^ addr[2] ^ addr[3]) * 0x9e3779b1u) >> 24;
}

/* The endpoint of `addr`, remembered. */
static __always_inline const struct endpoint *
known_endpoint(const __be32 addr[4], __u32 policy_rev)
{
	__u32 index = prefix_root_index(addr);
	struct prefix_root *root = bpf_map_lookup_elem(&address_roots, &index);
	struct destination *known;

	if (root && !(root->lengths[0] | root->lengths[1])) {
		index = root->value;
		return bpf_map_lookup_elem(&endpoints, &index);
	}
	index = destination_index(addr);
	known = bpf_map_lookup_elem(&destinations, &index);
	if (!known)
		return NULL;
	if (known->policy_rev != policy_rev || known->addr[3] != addr[3] ||
	    known->addr[2] != addr[2] || known->addr[1] != addr[1] ||
	    known->addr[0] != addr[0]) {
		known->endpoint = address_lookup((const struct address *)addr);
		for (int w = 0; w < 4; w++)
			known->addr[w] = addr[w];
		known->policy_rev = policy_rev;
	}
	index = known->endpoint;
	return bpf_map_lookup_elem(&endpoints, &index);
}

#endif
