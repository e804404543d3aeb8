// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Iterators that userspace runs: which sockets were given another address than
 * they asked for (all network namespaces at once), and the end of those whose
 * backend is gone (one namespace at a time, that of the caller).
 */
#include "kernel.h"
#include "redirect.h"

#define TCP_LISTEN 10

extern int bpf_sock_destroy(struct sock_common *sk) __ksym;

static __always_inline void local_of(struct sock *sk, struct socket_row *row)
{
	struct sock_common *common = &sk->__sk_common;

	row->local_port = bpf_htons(common->skc_num);
	row->state = common->skc_state;
	row->netns = common->skc_net.net->ns.inum;
	row->uid = sk->sk_uid.val;
	if (sk->sk_cgrp_data.cgroup)
		row->cgroup = sk->sk_cgrp_data.cgroup->kn->id;
	row->local[2] = bpf_htonl(0xffff);
	row->local[3] = common->skc_rcv_saddr;
}

static __always_inline void bytes_of(struct sock *sk, struct socket_row *row)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp)
		return;
	row->sent = tcp->bytes_sent;
	row->received = tcp->bytes_received;
}

static __always_inline void tell(struct bpf_iter__bpf_sk_storage_map *ctx,
				 struct sock *sk, const struct peer *peer)
{
	struct socket_row row = {};

	row.peer = *peer;
	row.cookie = bpf_get_socket_cookie(sk);
	local_of(sk, &row);
	if (peer->proto == IPPROTO_TCP)
		bytes_of(sk, &row);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
}

SEC("iter/bpf_sk_storage_map")
int list_connected(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct peer *peer = ctx->value;
	struct sock *sk = ctx->sk;

	if (sk && peer && peer->flags)
		tell(ctx, sk, peer);
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
			tell(ctx, sk, &held->peers[i]);
	}
	return 0;
}

/* Whether the socket is to end: it can't move, and its backend is gone. */
static __always_inline bool is_stale(struct sock_common *sk)
{
	struct peer *peer = bpf_sk_storage_get(&socket_peers, sk, 0, 0);

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
	if (!bpf_sock_destroy(sk))
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
	if (!bpf_sock_destroy(sk))
		count_socket(REASON_SOCKET_CLOSED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
