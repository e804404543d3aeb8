/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a call of the kernel (struct bpf_sock_addr) to a question, and from the
 * answer back to the address that the call goes on with.
 */
#ifndef TERRACE_QUESTION_H
#define TERRACE_QUESTION_H

#include "translate.h"

#define AF_INET 2
#define AF_INET6 10
#define EPERM 1
#define EADDRINUSE 98
#define ECONNREFUSED 111

static __always_inline void map_v4(__be32 addr[4], __be32 v4)
{
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
	addr[3] = v4;
}

/*
 * Read now: else clang (19) would choose between two fields by computing an
 * offset, which pointers to contexts and sockets can't have ("dereference of
 * modified ctx ptr").
 */
#define READ_NOW(variable) asm volatile("" : "+r"(variable))

static __always_inline void asked_address(struct bpf_sock_addr *ctx, bool v6,
					  __be32 addr[4])
{
	if (!v6) {
		map_v4(addr, ctx->user_ip4);
		return;
	}
	addr[0] = ctx->user_ip6[0];
	addr[1] = ctx->user_ip6[1];
	addr[2] = ctx->user_ip6[2];
	addr[3] = ctx->user_ip6[3];
}

static __always_inline void bound_address(struct bpf_sock_addr *ctx, bool v6,
					  __be32 addr[4])
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	if (!v6) {
		if (sk->src_ip4)
			map_v4(addr, sk->src_ip4);
		return;
	}
	addr[0] = sk->src_ip6[0];
	addr[1] = sk->src_ip6[1];
	addr[2] = sk->src_ip6[2];
	addr[3] = sk->src_ip6[3];
}

static __always_inline void ask(struct bpf_sock_addr *ctx, bool v6,
				struct connect_question *question)
{
	asked_address(ctx, v6, question->addr);
	bound_address(ctx, v6, question->client);
	question->port = ctx->user_port;
	question->proto = ctx->protocol;
	question->is_v4 = !v6 || addr_is_v4(question->addr);
	question->netns = bpf_get_netns_cookie(ctx);
}

/* The call goes on with this address. */
static __always_inline void put_address(struct bpf_sock_addr *ctx, bool v6,
					const __be32 addr[4], __be16 port)
{
	ctx->user_port = port;
	if (!v6) {
		ctx->user_ip4 = addr[3];
		return;
	}
	ctx->user_ip6[0] = addr[0];
	ctx->user_ip6[1] = addr[1];
	ctx->user_ip6[2] = addr[2];
	ctx->user_ip6[3] = addr[3];
}

/* The program's return value: 0 makes the call fail. */
static __always_inline int refuse(int error)
{
	bpf_set_retval(-error);
	return 0;
}

#endif
