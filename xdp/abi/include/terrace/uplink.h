/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Workers' sockets on the queues of uplinks; for XDP programs alone. */
#ifndef TERRACE_UPLINK_H
#define TERRACE_UPLINK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/* No entry where a worker has gone: the kernel takes closed sockets out. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, L7_SOCKETS_MAX);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} uplink_sockets SEC(".maps");

#endif
