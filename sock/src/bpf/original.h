/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The original destination of a redirected connection. The client's kernel
 * side knows it from connect(); when its SYN leaves, it is put where the
 * proxy's kernel side finds it by the connection's addresses; when the
 * handshake ends there it moves into the storage of the proxy's socket, and
 * getsockopt() reads it from there. Nothing outlives its socket.
 */
#ifndef TERRACE_ORIGINAL_H
#define TERRACE_ORIGINAL_H

#include "redirect.h"
#include "records.h"

#define TCP_CLOSE 7
#define SOL_IP 0
#define SOL_IPV6 41
#define SO_ORIGINAL_DST 80 /* and IP6T_SO_ORIGINAL_DST */

struct sockaddr_v4 {
	__u16 family;
	__be16 port;
	__be32 addr;
	__u8 zero[8];
};

struct sockaddr_v6 {
	__u16 family;
	__be16 port;
	__be32 flow;
	__be32 addr[4];
	__u32 scope;
};

static __always_inline void local_address(struct bpf_sock_ops *ops,
					  __be32 addr[4])
{
	__be32 v4 = ops->local_ip4;

	READ_NOW(v4);
	if (ops->family == AF_INET) {
		map_v4(addr, v4);
		return;
	}
	addr[0] = ops->local_ip6[0];
	addr[1] = ops->local_ip6[1];
	addr[2] = ops->local_ip6[2];
	addr[3] = ops->local_ip6[3];
}

static __always_inline void remote_address(struct bpf_sock_ops *ops,
					   __be32 addr[4])
{
	__be32 v4 = ops->remote_ip4;

	READ_NOW(v4);
	if (ops->family == AF_INET) {
		map_v4(addr, v4);
		return;
	}
	addr[0] = ops->remote_ip6[0];
	addr[1] = ops->remote_ip6[1];
	addr[2] = ops->remote_ip6[2];
	addr[3] = ops->remote_ip6[3];
}

static __always_inline void client_key(struct bpf_sock_ops *ops,
				       struct handshake_key *key)
{
	key->netns = bpf_get_netns_cookie(ops);
	local_address(ops, key->client);
	key->client_port = bpf_htons(ops->local_port);
	key->proxy_port = bpf_htons(bpf_ntohl(ops->remote_port));
}

static __always_inline struct peer *redirected_peer(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct peer *peer;

	if (!sk)
		return NULL;
	peer = peer_of(bpf_get_socket_cookie(ops), sk);
	if (!peer || !(peer->flags & (PEER_OUTBOUND | PEER_DNS)))
		return NULL;
	return peer;
}

/* The client's SYN is about to leave. */
static __always_inline void handshake_begins(struct bpf_sock_ops *ops)
{
	struct peer *peer = redirected_peer(ops);
	struct handshake_key key = {};
	struct peer copy;

	if (!peer)
		return;
	copy = *peer;
	client_key(ops, &key);
	if (bpf_map_update_elem(&handshakes, &key, &copy, BPF_ANY)) {
		count_socket(REASON_HANDSHAKES_FULL);
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_STATE_CB_FLAG);
}

/*
 * One that failed leaves nothing behind. A socket that was closed in the middle
 * has no record any more, so only its addresses tell.
 */
static __always_inline void handshake_ends(struct bpf_sock_ops *ops)
{
	struct handshake_key key = {};

	if (ops->args[1] != TCP_CLOSE)
		return;
	client_key(ops, &key);
	bpf_map_delete_elem(&handshakes, &key);
}

/* The proxy's end of it is there. */
static __always_inline void handshake_done(struct bpf_sock_ops *ops)
{
	struct handshake_key key = {};
	struct bpf_sock *sk = ops->sk;
	struct peer *held, *peer;

	if (!sk)
		return;
	key.netns = bpf_get_netns_cookie(ops);
	remote_address(ops, key.client);
	key.client_port = bpf_htons(bpf_ntohl(ops->remote_port));
	key.proxy_port = bpf_htons(ops->local_port);
	held = bpf_map_lookup_elem(&handshakes, &key);
	if (!held)
		return;
	peer = bpf_sk_storage_get(&socket_peers, sk, 0,
				  BPF_SK_STORAGE_GET_F_CREATE);
	if (peer) {
		*peer = *held;
		peer->flags = PEER_ACCEPTED;
	} else {
		count_socket(REASON_SOCKET_NO_MEMORY);
	}
	bpf_map_delete_elem(&handshakes, &key);
}

/* A proxy listens for what comes in. */
static __always_inline void listening(struct bpf_sock_ops *ops)
{
	struct listener_key key = {};
	struct workload *workload;

	key.netns = bpf_get_netns_cookie(ops);
	key.port = bpf_htons(ops->local_port);
	key.family = ops->family;
	workload = workload_of(key.netns, WORKLOAD_BY_NETNS);
	if (!workload || !(workload->flags & WORKLOAD_INBOUND) ||
	    workload->inbound_port != key.port)
		return;
	bpf_sock_hash_update(ops, &listeners, &key, BPF_ANY);
}

/*
 * A connection to the proxy's own ports was not given to it on its way in. If
 * nobody knows its destination any more, its own address would be a wrong one:
 * the proxy would connect to itself for ever.
 */
static __always_inline bool is_own_port(const struct workload *workload,
					__be16 port)
{
	return port == workload->outbound_port || port == workload->dns_port;
}

/* False: this socket has none that Terrace would know. */
static __always_inline bool original_of(struct bpf_sockopt *ctx,
					struct peer *found)
{
	struct bpf_sock *sk = ctx->sk;
	struct workload *workload;
	struct peer *peer;
	__be32 v4;

	if (!sk)
		return false;
	peer = bpf_sk_storage_get(&socket_peers, sk, 0, 0);
	if (peer && (peer->flags & PEER_ACCEPTED)) {
		*found = *peer;
		return true;
	}
	/* Given to the proxy on its way in: its own address is the original. */
	if (!ctx->retval)
		return false;
	workload = workload_of(bpf_get_netns_cookie(ctx), WORKLOAD_BY_NETNS);
	found->asked_port = bpf_htons(sk->src_port);
	if (!workload || !(workload->flags & WORKLOAD_INBOUND) ||
	    is_own_port(workload, found->asked_port))
		return false;
	v4 = sk->src_ip4;
	READ_NOW(v4);
	if (sk->family == AF_INET) {
		map_v4(found->asked, v4);
	} else {
		found->asked[0] = sk->src_ip6[0];
		found->asked[1] = sk->src_ip6[1];
		found->asked[2] = sk->src_ip6[2];
		found->asked[3] = sk->src_ip6[3];
	}
	return true;
}

static __always_inline bool write_v4(struct bpf_sockopt *ctx,
				     const struct peer *peer)
{
	struct sockaddr_v4 *to = ctx->optval;

	if ((void *)(to + 1) > ctx->optval_end || !addr_is_v4(peer->asked))
		return false;
	to->family = AF_INET;
	to->port = peer->asked_port;
	to->addr = peer->asked[3];
	__builtin_memset(to->zero, 0, sizeof(to->zero));
	ctx->optlen = sizeof(*to);
	return true;
}

static __always_inline bool write_v6(struct bpf_sockopt *ctx,
				     const struct peer *peer)
{
	struct sockaddr_v6 *to = ctx->optval;

	if ((void *)(to + 1) > ctx->optval_end)
		return false;
	to->family = AF_INET6;
	to->port = peer->asked_port;
	to->flow = 0;
	copy_address(to->addr, peer->asked);
	to->scope = 0;
	ctx->optlen = sizeof(*to);
	return true;
}

static __always_inline void tell_original(struct bpf_sockopt *ctx)
{
	struct peer peer = {};
	bool told;

	if (ctx->optname != SO_ORIGINAL_DST ||
	    (ctx->level != SOL_IP && ctx->level != SOL_IPV6))
		return;
	if (!original_of(ctx, &peer))
		return;
	if (ctx->level == SOL_IP)
		told = write_v4(ctx, &peer);
	else
		told = write_v6(ctx, &peer);
	if (!told)
		return;
	ctx->retval = 0;
	count_socket(REASON_ORIGINAL_DST);
}

#endif
