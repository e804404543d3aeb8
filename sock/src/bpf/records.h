/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What connected sockets asked for, by cookie. Socket storage would do the same
 * and end with the socket, but it allocates twice for each: 0.6 us of a
 * connect() of 26 (Linux 6.18). So the records lie in a table that is there
 * already: claimed at connect(), given back when the socket is closed
 * (cgroup/sock_release), or by `sweep_records` where the kernel closed it.
 *
 * A record is written by calls on its own socket only. Who has its cookie in
 * `cookies` owns it; the cookie comes first and goes last.
 */
#ifndef TERRACE_RECORDS_H
#define TERRACE_RECORDS_H

#include "socket_maps.h"

/* Being cleared by the sweep; no socket has this cookie. */
#define COOKIE_BUSY (~0ULL)

static __always_inline struct socket_bucket *socket_bucket(__u64 cookie)
{
	__u32 index = (cookie / SOCKET_WAYS) & socket_mask;

	return bpf_map_lookup_elem(&socket_records, &index);
}

/* The n-th way to try: its own first, which is mostly the one. */
static __always_inline __u32 nth_way(__u64 cookie, int n)
{
	return (cookie + n) & (SOCKET_WAYS - 1);
}

static __always_inline struct socket_record *
record_in(struct socket_bucket *bucket, __u64 cookie)
{
	for (int i = 0; i < SOCKET_WAYS; i++) {
		__u32 way = nth_way(cookie, i);

		if (bucket->cookies[way] == cookie)
			return &bucket->records[way];
	}
	return NULL;
}

static __always_inline struct socket_record *find_record(__u64 cookie)
{
	struct socket_bucket *bucket = socket_bucket(cookie);

	return bucket ? record_in(bucket, cookie) : NULL;
}

/* The socket's own, or a free one; NULL = its bucket is full. */
static __always_inline struct socket_record *claim_record(__u64 cookie)
{
	struct socket_bucket *bucket = socket_bucket(cookie);
	struct socket_record *record;

	if (!bucket)
		return NULL;
	record = record_in(bucket, cookie);
	if (record)
		return record;
	for (int i = 0; i < SOCKET_WAYS; i++) {
		__u32 way = nth_way(cookie, i);
		__u64 old;

		if (bucket->cookies[way])
			continue;
		old = __sync_val_compare_and_swap(&bucket->cookies[way], 0,
						  cookie);
		if (!old || old == cookie)
			return &bucket->records[way];
	}
	return NULL;
}

/* From the socket's own calls. All ways: two threads may have claimed two. */
static __always_inline void forget_record(__u64 cookie)
{
	struct socket_bucket *bucket = socket_bucket(cookie);

	if (!bucket)
		return;
	for (int way = 0; way < SOCKET_WAYS; way++) {
		if (bucket->cookies[way] != cookie)
			continue;
		bucket->records[way].peer.flags = 0;
		bucket->records[way].sk = 0;
		__sync_val_compare_and_swap(&bucket->cookies[way], cookie, 0);
	}
}

/*
 * What the socket of this cookie asked for. Sockets that found no room, and
 * those of an earlier version, have it in their storage.
 */
static __always_inline struct peer *peer_of(__u64 cookie, void *sk)
{
	struct socket_record *record = find_record(cookie);

	if (record && record->peer.flags)
		return &record->peer;
	return bpf_sk_storage_get(&socket_peers, sk, 0, 0);
}

#endif
