/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether policy lets two sockets talk: the same tables and the same rules as
 * for packets (terrace/judge.h), asked again whenever the revision changes.
 * A refusal here only sends the bytes back to the stack, where the packet
 * programs decide.
 */
#ifndef TERRACE_SHORTCUT_VERDICT_H
#define TERRACE_SHORTCUT_VERDICT_H

#include <terrace/policy.h>
#include "maps.h"

static __always_inline struct endpoint *endpoint_of(const __be32 addr[4])
{
	struct address address = {};
	__u32 index;

	__builtin_memcpy(address.words, addr, sizeof(address.words));
	index = address_lookup(&address);
	return bpf_map_lookup_elem(&endpoints, &index);
}

/* What must be read by a worker may not go past it. */
static __always_inline bool is_allowed(__u32 rev, __u32 subject, __u32 remote,
				       __u32 direction, __u32 port)
{
	struct policy_query query = {
		.subject = subject,
		.remote = remote,
		.direction = direction,
		.gen = rev & 1,
		.proto = IPPROTO_TCP,
		.port = port,
	};
	__u32 value = policy_lookup(&query);

	return (value & (POLICY_ALLOW | POLICY_DENY | POLICY_L7)) ==
	       POLICY_ALLOW;
}

static __always_inline bool is_loopback(const __be32 addr[4])
{
	if (addr_is_v4(addr))
		return (bpf_ntohl(addr[3]) >> 24) == 127;
	return !addr[0] && !addr[1] && !addr[2] && addr[3] == bpf_htonl(1);
}

/* No packet of these leaves a namespace, so the stack's policy has no say. */
static __always_inline bool stays_inside(const struct shortcut_end *client,
					 const struct shortcut_end *server)
{
	if (is_loopback(client->local_addr) || is_loopback(server->local_addr))
		return true;
	return client->local_addr[0] == server->local_addr[0] &&
	       client->local_addr[1] == server->local_addr[1] &&
	       client->local_addr[2] == server->local_addr[2] &&
	       client->local_addr[3] == server->local_addr[3];
}

static __always_inline bool policy_allows(const struct config *cfg, __u32 rev,
					  const struct shortcut_end *client,
					  const struct shortcut_end *server)
{
	struct endpoint *src, *dst;
	__u32 port = bpf_ntohs(server->local_port);

	if (stays_inside(client, server))
		return true;
	src = endpoint_of(client->local_addr);
	dst = endpoint_of(server->local_addr);
	if (!src || !dst)
		return false;
	if ((src->flags & ENDPOINT_EGRESS) &&
	    !is_allowed(rev, src->identity, dst->identity, DIRECTION_EGRESS,
			port))
		return false;
	if (!(dst->flags & ENDPOINT_INGRESS))
		return true;
	if ((src->flags & ENDPOINT_HOST) && (cfg->flags & CONFIG_HOST_INGRESS))
		return true;
	return is_allowed(rev, dst->identity, src->identity, DIRECTION_INGRESS,
			  port);
}

/* Asks policy anew if it has changed; a global function, verified once. */
__noinline int shortcut_judge(struct shortcut_pair *pair)
{
	__u32 zero = 0, verdict, rev;
	struct config *cfg;

	if (!pair)
		return SHORTCUT_POLICY;
	cfg = bpf_map_lookup_elem(&config, &zero);
	if (!cfg)
		return SHORTCUT_POLICY;
	rev = *(const volatile __u32 *)&cfg->policy_rev;
	if (pair->policy_rev == rev)
		return pair->verdict;
	verdict = SHORTCUT_POLICY;
	if (policy_allows(cfg, rev, &pair->ends[SHORTCUT_CLIENT],
			  &pair->ends[SHORTCUT_SERVER]))
		verdict = SHORTCUT_JOINED;
	if (verdict == SHORTCUT_POLICY && pair->verdict == SHORTCUT_JOINED)
		count_event(SHORTCUT_EVENT_SPLIT);
	/* The revision last: with it, another CPU takes the verdict as it is. */
	*(volatile __u32 *)&pair->verdict = verdict;
	*(volatile __u32 *)&pair->policy_rev = rev;
	return verdict;
}

#endif
