/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * connect() of TCP and datagram sockets, getpeername() afterwards, and close().
 */
#ifndef TERRACE_CONNECTED_H
#define TERRACE_CONNECTED_H

#include "question.h"
#include "redirect.h"
#include "records.h"

/* Where the socket keeps its peer; NULL = no memory. */
static __always_inline struct peer *place_peer(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_record *record;

	record = claim_record(bpf_get_socket_cookie(ctx));
	if (record) {
		record->sk = (__u64)sk;
		bpf_sk_storage_delete(&socket_peers, sk);
		return &record->peer;
	}
	count_socket(REASON_SOCKETS_FULL);
	return bpf_sk_storage_get(&socket_peers, sk, 0,
				  BPF_SK_STORAGE_GET_F_CREATE);
}

/* False: no memory. */
static __always_inline bool keep_peer(struct bpf_sock_addr *ctx,
				      const struct connect_question *question,
				      const struct connect_answer *answer)
{
	struct peer *peer = place_peer(ctx);

	if (!peer)
		return false;
	*peer = answer->peer;
	copy_address(peer->asked, question->addr);
	peer->asked_port = question->port;
	peer->proto = question->proto;
	peer->flags |= PEER_CONNECTED;
	return true;
}

/* Of an earlier connect() of the same socket. */
static __always_inline void forget_peer(struct bpf_sock_addr *ctx)
{
	forget_record(bpf_get_socket_cookie(ctx));
	bpf_sk_storage_delete(&socket_peers, ctx->sk);
}

static __always_inline __u32 decide(struct bpf_sock_addr *ctx,
				    struct connect_question *question,
				    struct connect_answer *answer)
{
	__u32 reason;

	if (with_proxy) {
		reason = redirect(ctx, question, answer);
		if (reason)
			return reason;
	}
	return translate(question, answer);
}

static __always_inline int connect_socket(struct bpf_sock_addr *ctx, bool v6)
{
	struct connect_question question = {};
	struct connect_answer answer = {};
	__u32 reason;

	if (!ctx->sk)
		return 1;
	ask(ctx, v6, &question);
	reason = decide(ctx, &question, &answer);
	if (answer.peer.flags) {
		if (keep_peer(ctx, &question, &answer))
			put_address(ctx, v6, answer.peer.got,
				    answer.peer.got_port);
		else
			reason = REASON_SOCKET_NO_MEMORY;
	} else {
		forget_peer(ctx);
	}
	count_socket(reason);
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

/* What the socket asked for when it got this address; NULL = this address. */
static __always_inline struct peer *
connected_peer(struct bpf_sock_addr *ctx, const __be32 addr[4], __be16 port)
{
	struct peer *peer;

	if (!ctx->sk)
		return NULL;
	peer = peer_of(bpf_get_socket_cookie(ctx), ctx->sk);
	if (!peer || !(peer->flags & PEER_CONNECTED) ||
	    peer->got_port != port || !same_address(peer->got, addr))
		return NULL;
	return peer;
}

static __always_inline void show_peer(struct bpf_sock_addr *ctx, bool v6)
{
	__be32 addr[4] = {};
	struct peer *peer;

	asked_address(ctx, v6, addr);
	peer = connected_peer(ctx, addr, ctx->user_port);
	if (peer)
		put_address(ctx, v6, peer->asked, peer->asked_port);
}

#endif
