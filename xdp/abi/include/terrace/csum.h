/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Incremental Internet checksums (RFC 1624). A change is collected as a sum
 * over (~old + new) of 32-bit words as they lie in memory, so no byte order
 * conversion is needed, and folded once.
 */
#ifndef TERRACE_CSUM_H
#define TERRACE_CSUM_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline __u64 csum_change(__u32 old, __u32 new)
{
	return (__u64)(__u32)~old + new;
}

static __always_inline __u64 csum_change_addr(const __be32 old[4],
					      const __be32 new[4])
{
	return csum_change(old[0], new[0]) + csum_change(old[1], new[1]) +
	       csum_change(old[2], new[2]) + csum_change(old[3], new[3]);
}

/* IPv4 addresses differ in their last word only. */
static __always_inline __u64 csum_change_ip(bool is_v4, const __be32 old[4],
					    const __be32 new[4])
{
	return is_v4 ? csum_change(old[3], new[3]) : csum_change_addr(old, new);
}

static __always_inline __u64 csum_change16(__u16 old, __u16 new)
{
	return (__u64)(__u16)~old + new;
}

/* A checksum field after a change. */
static __always_inline __u16 csum_apply(__u16 check, __u64 change)
{
	return ~csum_fold((__u16)~check + (__u64)csum_fold(change));
}

#endif
