/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What sockets of a sockhash can't do is kept away from them. A reader is
 * watched while bytes still come through the stack: one that uses splice() or
 * MSG_WAITALL is left there for good. Socket options that would take the
 * socket's calls away from the sockhash are refused as on a kernel without.
 */
#ifndef TERRACE_SHORTCUT_GUARD_H
#define TERRACE_SHORTCUT_GUARD_H

#include "call.h"

#define EOPNOTSUPP 95
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SO_ZEROCOPY 60
#define TCP_ULP 31

static __always_inline void bar(struct shortcut_end *sender, __u32 why)
{
	__u32 before;

	before = __sync_val_compare_and_swap(&sender->claim, SHORTCUT_UNDECIDED,
					     SHORTCUT_BARRED);
	if (before == SHORTCUT_UNDECIDED)
		sender->barred = why;
}

static __always_inline void
watch_reader(const struct shortcut_socket_key *place)
{
	struct shortcut_end *sender;
	struct shortcut_pair *pair;
	__u32 call;

	pair = bpf_map_lookup_elem(&shortcut_pairs, &place->pair);
	if (!pair)
		return;
	sender = &pair->ends[(place->side & 1) ^ 1];
	if (sender->claim != SHORTCUT_UNDECIDED)
		return;
	call = running_call();
	if (call == call_splice)
		bar(sender, SHORTCUT_SPLICE);
	else if (receive_flags(call) & MSG_WAITALL)
		bar(sender, SHORTCUT_WAITALL);
}

static __always_inline int refuse_option(struct bpf_sockopt *ctx)
{
	bool zerocopy = ctx->level == SOL_SOCKET && ctx->optname == SO_ZEROCOPY;
	bool ulp = ctx->level == SOL_TCP && ctx->optname == TCP_ULP;

	/* Larger values than a page: 0 tells the kernel to use its own copy. */
	if (ctx->optlen > 4096)
		ctx->optlen = 0;
	if (!(zerocopy || ulp) || !ctx->sk)
		return 1;
	if (!bpf_sk_storage_get(&shortcut_storage, ctx->sk, 0, 0))
		return 1;
	count_event(SHORTCUT_EVENT_REFUSED);
	bpf_set_retval(-EOPNOTSUPP);
	return 0;
}

#endif
