/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Run by the daemon: what waits unread between joined sockets, and pairs whose
 * sockets are gone without having said so.
 */
#ifndef TERRACE_SHORTCUT_OBSERVE_H
#define TERRACE_SHORTCUT_OBSERVE_H

#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "maps.h"

/* A handshake may be under way in younger pairs. */
#define SWEEP_AGE_SECS 10

struct observation {
	struct shortcut_observed found;
	__u32 oldest; /* jiffies */
};

/* A freed socket keeps its cookie until its memory is used again. */
static __always_inline bool is_alive(const struct shortcut_end *end)
{
	struct sock *sk = (void *)end->sock;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_CLOSE)
		return false;
	return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == end->cookie;
}

static __always_inline bool has_unread(const struct shortcut_end *end)
{
	struct sock *sk = (void *)end->sock;
	struct sk_psock *psock;

	psock = (void *)((__u64)BPF_CORE_READ(sk, sk_user_data) &
			 ~SK_USER_DATA_FLAGS);
	if (!psock)
		return false;
	return (void *)BPF_CORE_READ(psock, ingress_msg.next) !=
	       (void *)__builtin_preserve_access_index(&psock->ingress_msg);
}

static long observe_pair(void *map, struct shortcut_key *key,
			 struct shortcut_pair *pair, struct observation *look)
{
	bool any = false;

	for (int side = 0; side < SHORTCUT_SIDES; side++) {
		struct shortcut_end *end = &pair->ends[side];

		if (!is_alive(end))
			continue;
		any = true;
		if (has_unread(end))
			look->found.unread += 1;
	}
	if (any || (__s32)(pair->created - look->oldest) > 0) {
		look->found.pairs += 1;
		return 0;
	}
	bpf_map_delete_elem(&shortcut_places, &pair->ends[0].sock);
	bpf_map_delete_elem(&shortcut_places, &pair->ends[1].sock);
	if (!bpf_map_delete_elem(map, key))
		look->found.swept += 1;
	return 0;
}

static __always_inline int observe(struct shortcut_observed *found)
{
	__u32 zero = 0;
	struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct observation look = {};

	if (!cfg)
		return -1;
	look.oldest = bpf_jiffies64() - SWEEP_AGE_SECS * cfg->hz;
	bpf_for_each_map_elem(&shortcut_pairs, observe_pair, &look, 0);
	found->pairs = look.found.pairs;
	found->unread = look.found.unread;
	found->swept = look.found.swept;
	return 0;
}

#endif
