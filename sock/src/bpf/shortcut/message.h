/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One message: to the other socket, or through the stack, and why.
 *
 * Order. The kernel's reader takes what came by socket before what came
 * through the stack. So going over to the stack is always in order; going
 * over to the socket is allowed only when the reader has read every byte that
 * this end ever gave to the stack: its copied_seq is our write_seq.
 */
#ifndef TERRACE_SHORTCUT_MESSAGE_H
#define TERRACE_SHORTCUT_MESSAGE_H

#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "call.h"
#include "maps.h"
#include "verdict.h"

/*
 * A socket's address as read from a pair may be stale for a moment. What is
 * read then is wrong but harmless: the sockhash, by key, has the last word.
 */
static __always_inline bool has_read_all(__u64 reader, __u32 write_seq)
{
	struct tcp_sock *tcp = (void *)reader;

	return BPF_CORE_READ(tcp, copied_seq) == write_seq;
}

static __always_inline __u32 backlog(__u64 reader)
{
	struct sock *sk = (void *)reader;

	return BPF_CORE_READ(sk, sk_backlog.rmem_alloc.counter);
}

/* Only these states send; anything else gets its error from the stack. */
static __always_inline bool may_send(struct bpf_sock *sk)
{
	return sk->state == BPF_TCP_ESTABLISHED ||
	       sk->state == BPF_TCP_CLOSE_WAIT;
}

static __always_inline bool due(const struct shortcut_config *cfg,
				const struct shortcut_end *own)
{
	return cfg->refresh &&
	       (__u32)bpf_jiffies64() - own->refreshed >= cfg->refresh;
}

/* What holds for the whole pair; 0 = nothing is in the way. */
static __always_inline __u32 pair_blocker(const struct shortcut_config *cfg,
					  struct shortcut_pair *pair,
					  struct shortcut_end *own)
{
	if (!cfg->enabled)
		return SHORTCUT_OFF;
	if (!pair->ends[SHORTCUT_SERVER].cookie)
		return SHORTCUT_ALONE;
	if (!pair->ends[SHORTCUT_CLIENT].sock ||
	    !pair->ends[SHORTCUT_SERVER].sock)
		return SHORTCUT_CLOSING;
	if (own->barred)
		return own->barred;
	return shortcut_judge(pair);
}

/* What holds for this message. */
static __always_inline __u32 message_blocker(const struct shortcut_config *cfg,
					     struct shortcut_end *own,
					     __u64 reader, __u32 write_seq,
					     __u32 size)
{
	if (!own->stack_messages)
		return SHORTCUT_WATCHED;
	if (cfg->bulk_bytes && own->run_bytes + size > cfg->bulk_bytes)
		return SHORTCUT_BULK;
	if (own->way == SHORTCUT_BY_STACK && !has_read_all(reader, write_seq))
		return SHORTCUT_IN_FLIGHT;
	if (backlog(reader) + size > cfg->backlog_bytes)
		return SHORTCUT_BACKLOG;
	if (due(cfg, own))
		return SHORTCUT_REFRESH;
	if (send_flags() & MSG_OOB) {
		own->barred = SHORTCUT_URGENT;
		return SHORTCUT_URGENT;
	}
	return SHORTCUT_JOINED;
}

static __always_inline void account(struct shortcut_end *own, __u32 why,
				    __u32 size)
{
	own->reason = why;
	own->run_bytes += size;
	if (why == SHORTCUT_JOINED) {
		own->way = SHORTCUT_BY_SOCKET;
		own->socket_bytes += size;
		own->socket_messages += 1;
	} else {
		own->way = SHORTCUT_BY_STACK;
		own->stack_bytes += size;
		own->stack_messages += 1;
		own->refreshed = bpf_jiffies64();
	}
	count_message(why, size);
}

/* The reader's way of reading is decided once; see enum shortcut_claim. */
static __always_inline bool claim(struct shortcut_end *own)
{
	if (own->claim == SHORTCUT_USED)
		return true;
	return __sync_val_compare_and_swap(&own->claim, SHORTCUT_UNDECIDED,
					   SHORTCUT_USED) != SHORTCUT_BARRED;
}

static __always_inline __u32 choose(struct sk_msg_md *msg,
				    struct shortcut_pair *pair,
				    struct shortcut_end *own,
				    struct shortcut_end *peer)
{
	struct shortcut_config *cfg = shortcut_settings();
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(msg->sk);
	__u32 why;

	if (!cfg || !tcp || !may_send(msg->sk))
		return SHORTCUT_CLOSING;
	why = pair_blocker(cfg, pair, own);
	if (why)
		return why;
	return message_blocker(cfg, own, peer->sock, tcp->write_seq, msg->size);
}

static __always_inline int send(struct sk_msg_md *msg,
				const struct shortcut_socket_key *place)
{
	struct shortcut_socket_key other = *place;
	struct shortcut_end *own, *peer;
	struct shortcut_pair *pair;
	__u32 why, size = msg->size;

	pair = bpf_map_lookup_elem(&shortcut_pairs, &place->pair);
	if (!pair)
		return SK_PASS;
	own = &pair->ends[place->side & 1];
	other.side = (place->side & 1) ^ 1;
	peer = &pair->ends[other.side];
	peer->run_bytes = 0;
	why = choose(msg, pair, own, peer);
	if (why == SHORTCUT_JOINED && !claim(own))
		why = SHORTCUT_SPLICE;
	if (why == SHORTCUT_JOINED &&
	    bpf_msg_redirect_hash(msg, &shortcut_sockets, &other,
				  BPF_F_INGRESS) != SK_PASS)
		why = SHORTCUT_CLOSING;
	account(own, why, size);
	return SK_PASS;
}

#endif
