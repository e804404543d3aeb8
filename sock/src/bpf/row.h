/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One line of `terrace sockets`, from the kernel's own structures. Everything
 * is read by probes: the socket may come from a record, as an address that
 * nobody holds.
 */
#ifndef TERRACE_ROW_H
#define TERRACE_ROW_H

#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <terrace/abi.h>
#include "kernel.h"

static __always_inline void local_of(const struct sock *sk,
				     struct socket_row *row)
{
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);

	row->local_port = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
	row->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	row->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	row->uid = BPF_CORE_READ(sk, sk_uid.val);
	if (cgroup)
		row->cgroup = BPF_CORE_READ(cgroup, kn, id);
	row->local[2] = bpf_htonl(0xffff);
	row->local[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
}

static __always_inline void tell(struct seq_file *seq, const struct sock *sk,
				 __u64 cookie, const struct peer *peer)
{
	const struct tcp_sock *tcp = (const void *)sk;
	struct socket_row row = {};

	row.peer = *peer;
	row.cookie = cookie;
	local_of(sk, &row);
	if (peer->proto == IPPROTO_TCP) {
		row.sent = BPF_CORE_READ(tcp, bytes_sent);
		row.received = BPF_CORE_READ(tcp, bytes_received);
	}
	bpf_seq_write(seq, &row, sizeof(row));
}

#endif
