/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connections from elsewhere to a workload are given to its proxy's listening
 * socket while the kernel looks for one: no address or port changes, so the
 * original destination is the address of the proxy's own end.
 */
#ifndef TERRACE_INBOUND_H
#define TERRACE_INBOUND_H

#include "redirect.h"

static __always_inline void entered_at(struct bpf_sk_lookup *ctx,
				       struct address_key *key)
{
	__be32 v4 = ctx->local_ip4;

	READ_NOW(v4);
	if (ctx->family == AF_INET) {
		map_v4(key->words, v4);
		return;
	}
	key->words[0] = ctx->local_ip6[0];
	key->words[1] = ctx->local_ip6[1];
	key->words[2] = ctx->local_ip6[2];
	key->words[3] = ctx->local_ip6[3];
}

static __always_inline void entered_from(struct bpf_sk_lookup *ctx,
					 struct address_key *key)
{
	__be32 v4 = ctx->remote_ip4;

	READ_NOW(v4);
	if (ctx->family == AF_INET) {
		map_v4(key->words, v4);
		return;
	}
	key->words[0] = ctx->remote_ip6[0];
	key->words[1] = ctx->remote_ip6[1];
	key->words[2] = ctx->remote_ip6[2];
	key->words[3] = ctx->remote_ip6[3];
}

/*
 * From the workload itself, its proxy above all. The interface does not tell:
 * for an address of its own the kernel says the one that has it, not lo.
 */
static __always_inline bool is_from_itself(struct bpf_sk_lookup *ctx,
					   const struct workload *workload)
{
	struct address_key from = {};
	struct workload *other;

	entered_from(ctx, &from);
	if (is_loopback(from.words))
		return true;
	other = bpf_map_lookup_elem(&inbound, &from);
	return other && other->netns == workload->netns;
}

static __always_inline bool is_for_proxy(const struct workload *workload,
					 __be16 port)
{
	if (port == workload->inbound_port || port == workload->outbound_port)
		return false;
	if (port_listed(workload, PORTS_INBOUND_EXCLUDED, port))
		return false;
	return (workload->flags & WORKLOAD_ALL_INBOUND) ||
	       port_listed(workload, PORTS_INBOUND_INCLUDED, port);
}

static __always_inline int without_proxy(const struct workload *workload)
{
	if (workload->flags & WORKLOAD_FAIL_DIRECT) {
		count_socket(REASON_PROXY_DOWN_DIRECT);
		return SK_PASS;
	}
	count_socket(REASON_PROXY_DOWN_REFUSED);
	return SK_DROP;
}

/* A listening socket of IPv6 may take IPv4 as well. */
static __always_inline long
assign(struct bpf_sk_lookup *ctx, const struct workload *workload, __u16 family)
{
	struct listener_key key = {
		.netns = workload->netns,
		.port = workload->inbound_port,
		.family = family,
	};
	struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &key);
	long failed;

	if (!sk)
		return -1;
	failed = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return failed;
}

static __always_inline int give_to_proxy(struct bpf_sk_lookup *ctx)
{
	struct address_key at = {};
	struct workload *workload;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	entered_at(ctx, &at);
	workload = bpf_map_lookup_elem(&inbound, &at);
	if (!workload || !is_for_proxy(workload, bpf_htons(ctx->local_port)) ||
	    is_from_itself(ctx, workload))
		return SK_PASS;
	if (assign(ctx, workload, ctx->family) &&
	    (ctx->family != AF_INET || assign(ctx, workload, AF_INET6)))
		return without_proxy(workload);
	count_socket(REASON_PROXY_INBOUND);
	return SK_PASS;
}

#endif
