/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets enter and leave the tables. The client's end always comes first: the
 * server's handshake ends with the ACK that the client sends afterwards. So a
 * server whose client is not known is not of this host and is left alone.
 */
#ifndef TERRACE_SHORTCUT_JOIN_H
#define TERRACE_SHORTCUT_JOIN_H

#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "maps.h"
#include "verdict.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

static __always_inline bool port_is_chosen(__u32 port)
{
	struct shortcut_config *cfg = shortcut_settings();
	__u32 index = port >> 6;
	__u64 *word;

	if (!cfg)
		return false;
	if (!cfg->n_ports)
		return true;
	word = bpf_map_lookup_elem(&shortcut_ports, &index);
	return word && (*word >> (port & 63) & 1);
}

/*
 * Clang would merge the loads of both families into one from a computed
 * address, which the verifier (6.18) refuses: "modified ctx ptr".
 */
static __always_inline __be32 as_loaded(__be32 word)
{
	asm volatile("" : "+r"(word));
	return word;
}

static __always_inline void fill_addresses(struct bpf_sock_ops *ops,
					   struct shortcut_end *end)
{
	if (ops->family == AF_INET6) {
		end->local_addr[0] = as_loaded(ops->local_ip6[0]);
		end->local_addr[1] = as_loaded(ops->local_ip6[1]);
		end->local_addr[2] = as_loaded(ops->local_ip6[2]);
		end->local_addr[3] = as_loaded(ops->local_ip6[3]);
		end->remote_addr[0] = as_loaded(ops->remote_ip6[0]);
		end->remote_addr[1] = as_loaded(ops->remote_ip6[1]);
		end->remote_addr[2] = as_loaded(ops->remote_ip6[2]);
		end->remote_addr[3] = as_loaded(ops->remote_ip6[3]);
		return;
	}
	end->local_addr[0] = end->local_addr[1] = 0;
	end->remote_addr[0] = end->remote_addr[1] = 0;
	end->local_addr[2] = end->remote_addr[2] = bpf_htonl(0xffff);
	end->local_addr[3] = as_loaded(ops->local_ip4);
	end->remote_addr[3] = as_loaded(ops->remote_ip4);
}

static __always_inline void fill_end(struct bpf_sock_ops *ops,
				     struct bpf_sock *sk,
				     struct shortcut_end *end)
{
	fill_addresses(ops, end);
	/* local_port is in host order, remote_port a be32. */
	end->local_port = bpf_htons(ops->local_port);
	end->remote_port = bpf_htons(bpf_ntohl(ops->remote_port));
	end->sock = (__u64)(long)sk;
	end->cookie = bpf_get_socket_cookie(ops);
}

/* Whether the other end may be on this host; asked before it is known. */
static __always_inline bool may_be_local(const struct shortcut_end *end)
{
	struct endpoint *remote;

	if (is_loopback(end->remote_addr))
		return true;
	if (end->local_addr[0] == end->remote_addr[0] &&
	    end->local_addr[1] == end->remote_addr[1] &&
	    end->local_addr[2] == end->remote_addr[2] &&
	    end->local_addr[3] == end->remote_addr[3])
		return true;
	remote = endpoint_of(end->remote_addr);
	return remote && (remote->flags & (ENDPOINT_WORKLOAD | ENDPOINT_HOST |
					   ENDPOINT_SERVICE));
}

/* 0, or why this socket can never be joined. */
static __always_inline __u32 unfit(struct bpf_sock *sk)
{
	struct tcp_sock *tcp;

	if (bpf_skc_to_mptcp_sock(sk))
		return SHORTCUT_MPTCP;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return SHORTCUT_MPTCP;
	if (((struct sock *)tcp)->__sk_common.skc_flags >>
		    bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY) &
	    1)
		return SHORTCUT_ZEROCOPY;
	return 0;
}

static __always_inline int enter(struct bpf_sock_ops *ops, struct bpf_sock *sk,
				 const struct shortcut_key *key, __u32 side)
{
	struct shortcut_socket_key place = {.pair = *key, .side = side};
	struct shortcut_socket_key *stored;
	__u64 address = (__u64)(long)sk;

	stored = bpf_sk_storage_get(&shortcut_storage, sk, 0,
				    BPF_SK_STORAGE_GET_F_CREATE);
	if (!stored)
		return -1;
	*stored = place;
	if (bpf_map_update_elem(&shortcut_places, &address, &place, BPF_ANY))
		return -1;
	if (bpf_sock_hash_update(ops, &shortcut_sockets, &place, BPF_ANY)) {
		bpf_map_delete_elem(&shortcut_places, &address);
		return -1;
	}
	return 0;
}

static __always_inline void enter_client(struct bpf_sock_ops *ops,
					 struct bpf_sock *sk)
{
	struct shortcut_key key = {ops->snd_nxt, ops->rcv_nxt};
	struct shortcut_pair pair = {};
	struct shortcut_end *end = &pair.ends[SHORTCUT_CLIENT];
	__u32 why;

	fill_end(ops, sk, end);
	if (!may_be_local(end))
		return;
	why = unfit(sk);
	if (why) {
		count_message(why, 0);
		return;
	}
	pair.policy_rev = ~0U;
	pair.verdict = SHORTCUT_ALONE;
	pair.created = bpf_jiffies64();
	if (bpf_map_update_elem(&shortcut_pairs, &key, &pair, BPF_NOEXIST)) {
		count_event(SHORTCUT_EVENT_FULL);
		return;
	}
	if (enter(ops, sk, &key, SHORTCUT_CLIENT)) {
		count_event(SHORTCUT_EVENT_FULL);
		bpf_map_delete_elem(&shortcut_pairs, &key);
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_STATE_CB_FLAG |
					       BPF_SOCK_OPS_RTT_CB_FLAG);
}

static __always_inline void enter_server(struct bpf_sock_ops *ops,
					 struct bpf_sock *sk)
{
	struct shortcut_key key = {ops->rcv_nxt, ops->snd_nxt};
	struct shortcut_pair *pair;
	struct shortcut_end *end;
	__u32 why;

	pair = bpf_map_lookup_elem(&shortcut_pairs, &key);
	if (!pair || pair->ends[SHORTCUT_SERVER].sock)
		return;
	if (!port_is_chosen(ops->local_port))
		return;
	why = unfit(sk);
	if (why) {
		count_message(why, 0);
		return;
	}
	end = &pair->ends[SHORTCUT_SERVER];
	fill_end(ops, sk, end);
	if (enter(ops, sk, &key, SHORTCUT_SERVER)) {
		count_event(SHORTCUT_EVENT_FULL);
		end->sock = 0;
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_STATE_CB_FLAG);
	count_event(SHORTCUT_EVENT_PAIRED);
}

static __always_inline struct shortcut_socket_key *place_of(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&shortcut_storage, sk, 0, 0);
}

/* The socket has closed: its place goes, and with the last end the pair. */
static __always_inline void leave(struct bpf_sock *sk)
{
	struct shortcut_socket_key *place = place_of(sk);
	struct shortcut_pair *pair;
	__u64 address = (__u64)(long)sk;

	bpf_map_delete_elem(&shortcut_places, &address);
	if (!place)
		return;
	pair = bpf_map_lookup_elem(&shortcut_pairs, &place->pair);
	if (!pair)
		return;
	pair->ends[place->side & 1].sock = 0;
	if (pair->ends[(place->side & 1) ^ 1].sock)
		return;
	if (!bpf_map_delete_elem(&shortcut_pairs, &place->pair))
		count_event(SHORTCUT_EVENT_CLOSED);
}

/*
 * The client's first round trip with payload: a server of this host is known
 * by now. Without one, the socket is given back to plain TCP.
 */
static __always_inline void settle(struct bpf_sock_ops *ops,
				   struct bpf_sock *sk)
{
	struct shortcut_socket_key *place = place_of(sk), key;
	struct shortcut_pair *pair;
	__u64 address = (__u64)(long)sk;

	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags &
					       ~BPF_SOCK_OPS_RTT_CB_FLAG);
	if (!place)
		return;
	key = *place;
	pair = bpf_map_lookup_elem(&shortcut_pairs, &key.pair);
	if (!pair || pair->ends[SHORTCUT_SERVER].cookie)
		return;
	bpf_map_delete_elem(&shortcut_sockets, &key);
	bpf_map_delete_elem(&shortcut_places, &address);
	bpf_map_delete_elem(&shortcut_pairs, &key.pair);
}

#endif
