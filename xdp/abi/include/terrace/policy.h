/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Policy on identities: at most four cells, whatever the number of rules.
 * abi.h says how the compiler lays the rules out.
 */
#ifndef TERRACE_POLICY_H
#define TERRACE_POLICY_H

#include <linux/in.h>
#include <linux/in6.h>
#include "cells.h"

static __always_inline int class_row(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 0;
	case IPPROTO_UDP:
		return 1;
	case IPPROTO_SCTP:
		return 2;
	case IPPROTO_ICMP:
		return 3;
	case IPPROTO_ICMPV6:
		return 4;
	default:
		return -1;
	}
}

/* `port` in host order; the type for ICMP. */
static __always_inline __u32 port_class(__u32 gen, __u8 proto, __u32 port)
{
	int row = class_row(proto);
	__u64 *entry;
	__u32 index;

	if (row < 0)
		return 0;
	index = (gen * POLICY_CLASS_ROWS + row) * 16384 + (port >> 2);
	entry = bpf_map_lookup_elem(&port_classes, &index);
	if (!entry)
		return 0;
	return (*entry >> (16 * (port & 3))) & 0xffff;
}

/* The verdict of one row, 0 when there is no such row. */
static __always_inline __u32 policy_row(__u32 subject, __u32 remote,
					__u32 class, __u32 way)
{
	__u32 key[CELL_KEY_WORDS] = {subject, remote, POLICY_ROW, way, 0};
	__u32 row = cell_lookup(&policy_cells, policy_mask, key);
	__u32 cell;

	if (!(row & POLICY_HAS_CELLS))
		return row;
	key[2] = class;
	cell = cell_lookup(&policy_cells, policy_mask, key);
	return cell ? cell : row;
}

struct policy_query {
	__u32 subject;
	__u32 remote;
	__u32 direction;
	__u32 gen;
	__u32 proto;
	__u32 port;
};

/* The policy value (bits and rule); without ALLOW it is refused. */
__noinline __u32 policy_lookup(const struct policy_query *query)
{
	__u32 class, way, value;

	if (!query)
		return 0;
	class = port_class(query->gen & 1, query->proto, query->port & 0xffff);
	way = query->direction | (query->gen & 1) << 8;
	value = policy_row(query->subject, query->remote, class, way);
	if (value)
		return value;
	return policy_row(query->subject, 0, class, way);
}

#endif
