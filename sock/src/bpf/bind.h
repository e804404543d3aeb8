/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bind(): a node port is the service's. A process that had it would never be
 * reached, and answers to what it sends would be taken for the service's.
 * A port that is asked for is refused before the kernel takes it; one that the
 * kernel has chosen, after.
 */
#ifndef TERRACE_BIND_H
#define TERRACE_BIND_H

#include "question.h"

static __always_inline bool is_node_port(struct connect_question *question)
{
	struct config *cfg = configuration();
	struct service *service;
	__u32 index;

	if (!with_services || !cfg || !question->port ||
	    question->netns != host_netns)
		return false;
	if (is_loopback(question->addr)) {
		if (node_port(cfg, question))
			return true;
		/* The wildcard of IPv6 takes IPv4 as well. */
		if (question->is_v4 || !address_is_zero(question->addr))
			return false;
		question->is_v4 = 1;
		return node_port(cfg, question);
	}
	index = service_lookup(question->addr, question->port, question->proto);
	service = bpf_map_lookup_elem(&services, &index);
	return index && service && (service->flags & SERVICE_NODE_PORT);
}

static __always_inline int refuse_node_port(struct connect_question *question)
{
	if (!is_node_port(question))
		return 1;
	count_socket(REASON_BIND_NODE_PORT);
	return refuse(EADDRINUSE);
}

static __always_inline int bind_asked(struct bpf_sock_addr *ctx, bool v6)
{
	struct connect_question question = {};

	if (!ctx->user_port)
		return 1;
	asked_address(ctx, v6, question.addr);
	question.port = ctx->user_port;
	question.proto = ctx->protocol;
	question.is_v4 = !v6 || addr_is_v4(question.addr);
	question.netns = bpf_get_netns_cookie(ctx);
	return refuse_node_port(&question);
}

static __always_inline int bind_done(struct bpf_sock *sk, bool v6)
{
	struct connect_question question = {};

	if (v6) {
		question.addr[0] = sk->src_ip6[0];
		question.addr[1] = sk->src_ip6[1];
		question.addr[2] = sk->src_ip6[2];
		question.addr[3] = sk->src_ip6[3];
	} else {
		map_v4(question.addr, sk->src_ip4);
	}
	question.port = bpf_htons(sk->src_port);
	question.proto = sk->protocol;
	question.is_v4 = !v6;
	question.netns = bpf_get_netns_cookie(sk);
	return refuse_node_port(&question);
}

#endif
