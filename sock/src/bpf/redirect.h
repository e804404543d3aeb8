/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Outbound redirect of chosen workloads to their proxy, decided from the
 * workload's own lists; the proxy's own sockets are left alone.
 */
#ifndef TERRACE_REDIRECT_H
#define TERRACE_REDIRECT_H

#include "question.h"

#define DNS_PORT 53
/* Cgroups of a workload may have cgroups of their own below. */
#define CGROUP_DEPTH 8

static __always_inline struct workload *workload_of(__u64 id, __u32 kind)
{
	struct workload_key key = {.id = id, .kind = kind};

	return bpf_map_lookup_elem(&workloads, &key);
}

/* By the network namespace, else by the nearest cgroup that is one. */
static __always_inline struct workload *find_workload(__u64 netns)
{
	struct workload *workload = workload_of(netns, WORKLOAD_BY_NETNS);

	if (workload || !with_cgroups)
		return workload;
	for (int level = CGROUP_DEPTH; level > 0; level--) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			continue;
		workload = workload_of(id, WORKLOAD_BY_CGROUP);
		if (workload)
			return workload;
	}
	return NULL;
}

static __always_inline bool is_proxy(const struct workload *workload,
				     const struct connect_question *question)
{
	__u32 flags = workload->flags;

	if ((flags & WORKLOAD_PROXY_UID) &&
	    question->uid == workload->proxy_uid)
		return true;
	if ((flags & WORKLOAD_PROXY_GID) &&
	    question->gid == workload->proxy_gid)
		return true;
	if ((flags & WORKLOAD_PROXY_MARK) &&
	    question->mark == workload->proxy_mark)
		return true;
	return (flags & WORKLOAD_PROXY_CGROUP) &&
	       question->cgroup == workload->proxy_cgroup;
}

static __always_inline bool port_listed(const struct workload *workload,
					__u8 list, __be16 port)
{
	struct proxy_port_key key = {
		.rules = workload->rules,
		.port = port,
		.list = list,
	};

	return bpf_map_lookup_elem(&proxy_ports, &key);
}

static __always_inline bool net_listed(const struct workload *workload,
				       __u32 list, const __be32 addr[4])
{
	struct proxy_net_key key = {
		.bits = PROXY_NET_HEAD_BITS + 128,
		.rules = workload->rules,
		.list = list,
	};

	copy_address(key.addr, addr);
	return bpf_map_lookup_elem(&proxy_nets, &key);
}

/* Istio's order: what is excluded, then ports, then addresses. */
static __always_inline bool
is_redirected(const struct workload *workload,
	      const struct connect_question *question)
{
	if (is_loopback(question->addr) ||
	    same_address(question->addr, workload->addr4) ||
	    same_address(question->addr, workload->addr6))
		return false;
	if (port_listed(workload, PORTS_OUTBOUND_EXCLUDED, question->port) ||
	    net_listed(workload, NETS_EXCLUDED, question->addr))
		return false;
	return (workload->flags & WORKLOAD_ALL_NETS) ||
	       port_listed(workload, PORTS_OUTBOUND_INCLUDED, question->port) ||
	       net_listed(workload, NETS_INCLUDED, question->addr);
}

static __always_inline void loopback_of(const struct connect_question *question,
					__be32 addr[4])
{
	if (question->is_v4) {
		map_v4(addr, bpf_htonl(0x7f000001));
		return;
	}
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = 0;
	addr[3] = bpf_htonl(1);
}

/* The port of the proxy that this goes to, 0 = none, and why. */
static __always_inline __be16 proxy_port(const struct workload *workload,
					 const struct connect_question *question,
					 __u32 *reason)
{
	__u32 flags = workload->flags;

	*reason = 0;
	if ((flags & WORKLOAD_DNS) && question->port == bpf_htons(DNS_PORT) &&
	    !is_loopback(question->addr)) {
		*reason = REASON_PROXY_DNS;
		return workload->dns_port;
	}
	if (!(flags & WORKLOAD_OUTBOUND) || question->proto != IPPROTO_TCP)
		return 0;
	if (is_redirected(workload, question)) {
		*reason = REASON_PROXY_OUTBOUND;
		return workload->outbound_port;
	}
	*reason = REASON_PROXY_EXCLUDED;
	return 0;
}

/* Whether somebody listens at the proxy's address and port. */
static __always_inline bool proxy_listens(struct bpf_sock_addr *ctx,
					  const struct peer *peer, __u8 proto,
					  bool is_v4)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv6);
	struct bpf_sock *sk;

	if (is_v4) {
		tuple.ipv4.daddr = peer->got[3];
		tuple.ipv4.saddr = peer->got[3];
		tuple.ipv4.dport = peer->got_port;
		size = sizeof(tuple.ipv4);
	} else {
		for (int word = 0; word < 4; word++) {
			tuple.ipv6.daddr[word] = peer->got[word];
			tuple.ipv6.saddr[word] = peer->got[word];
		}
		tuple.ipv6.dport = peer->got_port;
	}
	if (proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS,
					0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS,
				       0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

static __always_inline void ask_who(struct bpf_sock_addr *ctx,
				    struct connect_question *question)
{
	__u64 ids = bpf_get_current_uid_gid();
	struct bpf_sock *sk = ctx->sk;

	question->uid = ids;
	question->gid = ids >> 32;
	if (sk)
		question->mark = sk->mark;
	question->cgroup = bpf_get_current_cgroup_id();
}

/*
 * What the workload's lists say, whether or not the proxy is there. With
 * `answer->peer.flags` it goes to the proxy.
 */
static __always_inline __u32 redirect_wanted(
	const struct workload *workload,
	const struct connect_question *question, struct connect_answer *answer)
{
	__be16 port;
	__u32 why;

	if (is_proxy(workload, question))
		return REASON_PROXY_OWN;
	port = proxy_port(workload, question, &why);
	answer->workload = workload->number;
	if (!port)
		return why;
	loopback_of(question, answer->peer.got);
	answer->peer.got_port = port;
	answer->peer.flags = why == REASON_PROXY_DNS ? PEER_DNS : PEER_OUTBOUND;
	return why;
}

/*
 * 0: not redirected, services are next. Else the reason at which the way ends;
 * with `answer->peer.flags` it ends at the proxy.
 */
static __always_inline __u32 redirect(struct bpf_sock_addr *ctx,
				      struct connect_question *question,
				      struct connect_answer *answer)
{
	struct workload *workload = find_workload(question->netns);
	__u32 why;

	if (!workload)
		return 0;
	ask_who(ctx, question);
	why = redirect_wanted(workload, question, answer);
	if (!answer->peer.flags) {
		if (why)
			count_socket(why);
		return 0;
	}
	if (proxy_listens(ctx, &answer->peer, question->proto, question->is_v4))
		return why;
	answer->peer.flags = 0;
	if (!(workload->flags & WORKLOAD_FAIL_DIRECT))
		return REASON_PROXY_DOWN_REFUSED;
	count_socket(REASON_PROXY_DOWN_DIRECT);
	return 0;
}

#endif
