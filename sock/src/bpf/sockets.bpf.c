// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Iterators that userspace runs: which sockets have in their storage that they
 * were given another address than they asked for (all network namespaces at
 * once; records.bpf.c has the others), and the end of those whose backend is
 * gone (one namespace at a time, that of the caller).
 */
#include "row.h"
#include "redirect.h"
#include "records.h"

#define TCP_LISTEN 10

/* Linux 6.5; without it the programs load and end nothing. */
extern int bpf_sock_destroy(struct sock_common *sk) __ksym __weak;

static __always_inline long end_socket(struct sock_common *sk)
{
	if (!bpf_ksym_exists(bpf_sock_destroy))
		return -1;
	return bpf_sock_destroy(sk);
}

SEC("iter/bpf_sk_storage_map")
int list_connected(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct peer *peer = ctx->value;
	struct sock *sk = ctx->sk;

	if (sk && peer && peer->flags)
		tell(ctx->meta->seq, sk, bpf_get_socket_cookie(sk), peer);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int list_datagrams(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct datagram_peers *held = ctx->value;
	struct sock *sk = ctx->sk;

	if (!sk || !held)
		return 0;
	for (int i = 0; i < DATAGRAM_PEERS; i++) {
		if (held->peers[i].flags)
			tell(ctx->meta->seq, sk, bpf_get_socket_cookie(sk),
			     &held->peers[i]);
	}
	return 0;
}

/* Whether the socket is to end: it can't move, and its backend is gone. */
static __always_inline bool is_stale(struct sock_common *sk)
{
	struct peer *peer = peer_of(bpf_get_socket_cookie(sk), sk);

	if (!peer || !(peer->flags & PEER_CONNECTED) || keeps_peer(peer))
		return false;
	return peer->proto == IPPROTO_UDP || (peer->flags & PEER_TERMINATE);
}

SEC("iter/tcp")
int close_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	if (!sk || !is_stale(sk))
		return 0;
	if (!end_socket(sk))
		count_socket(REASON_SOCKET_CLOSED);
	return 0;
}

/* Proxies that listened before their workload was known. */
SEC("iter/tcp")
int find_listeners(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct listener_key key = {};
	struct workload *workload;

	if (!sk || sk->skc_state != TCP_LISTEN)
		return 0;
	key.netns = sk->skc_net.net->net_cookie;
	key.port = bpf_htons(sk->skc_num);
	key.family = sk->skc_family;
	workload = workload_of(key.netns, WORKLOAD_BY_NETNS);
	if (!workload || !(workload->flags & WORKLOAD_INBOUND) ||
	    workload->inbound_port != key.port)
		return 0;
	bpf_map_update_elem(&listeners, &key, sk, BPF_ANY);
	return 0;
}

SEC("iter/udp")
int close_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;

	if (!sk || !is_stale(sk))
		return 0;
	if (!end_socket(sk))
		count_socket(REASON_SOCKET_CLOSED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
