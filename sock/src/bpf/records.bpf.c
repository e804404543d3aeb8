// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Iterators over the table of connected sockets that userspace runs: which
 * there are, in all network namespaces, and the end of records whose socket is
 * gone without a close() of its own, as the kernel's own sockets go.
 *
 * A record has the address of its socket. Whether that is still the socket is
 * told by its cookie, which no other ever has, and by who holds it.
 */
#include "row.h"
#include "records.h"

static __always_inline bool lives(const struct sock *sk, __u64 cookie)
{
	return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == cookie &&
	       BPF_CORE_READ(sk, __sk_common.skc_refcnt.refs.counter) &&
	       BPF_CORE_READ(sk, sk_socket);
}

static __always_inline struct socket_bucket *
bucket_at(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u32 index;

	if (!key)
		return NULL;
	index = *key;
	return bpf_map_lookup_elem(&socket_records, &index);
}

/* Whether this socket may have to end with its backend. */
static __always_inline bool may_end(const struct peer *peer)
{
	return (peer->flags & PEER_CONNECTED) &&
	       (peer->proto == IPPROTO_UDP || (peer->flags & PEER_TERMINATE));
}

static __always_inline void list(struct bpf_iter__bpf_map_elem *ctx,
				 bool ending)
{
	struct socket_bucket *bucket = bucket_at(ctx);

	if (!bucket)
		return;
	for (int way = 0; way < SOCKET_WAYS; way++) {
		struct socket_record record = bucket->records[way];
		__u64 cookie = bucket->cookies[way];
		struct sock *sk = (void *)record.sk;

		if (!cookie || !sk || !record.peer.flags)
			continue;
		if (ending && !may_end(&record.peer))
			continue;
		if (lives(sk, cookie))
			tell(ctx->meta->seq, sk, cookie, &record.peer);
	}
}

SEC("iter/bpf_map_elem")
int list_records(struct bpf_iter__bpf_map_elem *ctx)
{
	list(ctx, false);
	return 0;
}

SEC("iter/bpf_map_elem")
int list_ending(struct bpf_iter__bpf_map_elem *ctx)
{
	list(ctx, true);
	return 0;
}

/* Whether the record's socket was gone. */
static __always_inline bool sweep_way(struct socket_bucket *bucket, int way)
{
	struct socket_record *record = &bucket->records[way];
	__u64 *place = &bucket->cookies[way];
	__u64 cookie = *place;

	if (!record->sk || lives((void *)record->sk, cookie) ||
	    __sync_val_compare_and_swap(place, cookie, COOKIE_BUSY) != cookie)
		return false;
	record->peer.flags = 0;
	record->sk = 0;
	__sync_lock_test_and_set(place, 0);
	return true;
}

SEC("iter/bpf_map_elem")
int sweep_records(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_bucket *bucket = bucket_at(ctx);
	struct socket_sweep found = {};

	if (!bucket)
		return 0;
	for (int way = 0; way < SOCKET_WAYS; way++) {
		if (!bucket->cookies[way])
			continue;
		if (sweep_way(bucket, way))
			found.swept++;
		else
			found.used++;
	}
	if (found.used || found.swept)
		bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
