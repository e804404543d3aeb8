/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Datagram sockets that are not connected: each datagram names its
 * destination. A socket keeps the backend that it has for a service for as
 * long as that is one, and moves when it is gone.
 */
#ifndef TERRACE_DATAGRAM_H
#define TERRACE_DATAGRAM_H

#include "connected.h"

static __always_inline bool peer_is_of(const struct peer *peer,
				       const struct connect_question *question)
{
	return peer->flags && peer->asked_port == question->port &&
	       same_address(peer->asked, question->addr);
}

/* The one that the socket has for this destination. */
static __always_inline struct peer *
find_peer(struct datagram_peers *held, const struct connect_question *question)
{
	for (int i = 0; i < DATAGRAM_PEERS; i++) {
		if (peer_is_of(&held->peers[i], question))
			return &held->peers[i];
	}
	return NULL;
}

static __always_inline struct peer *free_peer(struct datagram_peers *held)
{
	__u32 next = held->next & (DATAGRAM_PEERS - 1);

	held->next = next + 1;
	return &held->peers[next];
}

static __always_inline int refuse_datagram(__u32 reason)
{
	switch (reason) {
	case REASON_CONNECT_REFUSED:
	case REASON_CONNECT_FAIL_CLOSED:
	case REASON_PROXY_DOWN_REFUSED:
		return refuse(ECONNREFUSED);
	case REASON_CONNECT_DENIED:
		return refuse(EPERM);
	}
	return 1;
}

/* Keeps what was decided with the socket, over `old` if there is one. */
static __always_inline __u32 remember(struct bpf_sock_addr *ctx,
				      const struct connect_question *question,
				      const struct connect_answer *answer,
				      struct peer *old)
{
	struct datagram_peers *held;
	struct peer *peer = old;

	if (!peer) {
		held = bpf_sk_storage_get(&datagram_peers, ctx->sk, 0,
					  BPF_SK_STORAGE_GET_F_CREATE);
		if (!held)
			return REASON_SOCKET_NO_MEMORY;
		peer = free_peer(held);
	}
	*peer = answer->peer;
	copy_address(peer->asked, question->addr);
	peer->asked_port = question->port;
	peer->proto = question->proto;
	return 0;
}

static __always_inline __u32 choose_peer(struct bpf_sock_addr *ctx, bool v6,
					 struct connect_question *question,
					 struct peer *old)
{
	struct connect_answer answer = {};
	__u32 reason, failed;

	question->cookie = bpf_get_socket_cookie(ctx);
	reason = decide(ctx, question, &answer);
	if (!answer.peer.flags) {
		if (old)
			old->flags = 0;
		return reason;
	}
	failed = remember(ctx, question, &answer, old);
	if (failed)
		return failed;
	put_address(ctx, v6, answer.peer.got, answer.peer.got_port);
	if (reason != REASON_CONNECT_SERVICE)
		return reason;
	return old ? REASON_SEND_MOVED : REASON_SEND_SERVICE;
}

static __always_inline int send_datagram(struct bpf_sock_addr *ctx, bool v6)
{
	struct connect_question question = {};
	struct datagram_peers *held;
	struct peer *old = NULL;
	__u32 reason;

	if (!ctx->sk)
		return 1;
	ask(ctx, v6, &question);
	held = bpf_sk_storage_get(&datagram_peers, ctx->sk, 0, 0);
	if (held)
		old = find_peer(held, &question);
	/* A proxy may have gone, or may not be wanted any more. */
	if (old && (old->flags & PEER_SERVICE) && keeps_peer(old)) {
		put_address(ctx, v6, old->got, old->got_port);
		count_socket(REASON_SEND_SERVICE);
		return 1;
	}
	reason = choose_peer(ctx, v6, &question, old);
	count_socket(reason);
	return refuse_datagram(reason);
}

static __always_inline struct peer *
sending_peer(struct bpf_sock_addr *ctx, const __be32 addr[4], __be16 port)
{
	struct datagram_peers *held;

	if (!ctx->sk)
		return NULL;
	held = bpf_sk_storage_get(&datagram_peers, ctx->sk, 0, 0);
	if (!held)
		return NULL;
	for (int i = 0; i < DATAGRAM_PEERS; i++) {
		struct peer *peer = &held->peers[i];

		if (peer->flags && peer->got_port == port &&
		    same_address(peer->got, addr))
			return peer;
	}
	return NULL;
}

/* The sender of a datagram is shown as the address that it was asked at. */
static __always_inline void show_sender(struct bpf_sock_addr *ctx, bool v6)
{
	__be32 addr[4] = {};
	struct peer *peer;
	__be16 port = ctx->user_port;

	asked_address(ctx, v6, addr);
	peer = connected_peer(ctx, addr, port);
	if (!peer)
		peer = sending_peer(ctx, addr, port);
	if (peer)
		put_address(ctx, v6, peer->asked, peer->asked_port);
}

#endif
