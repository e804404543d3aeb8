// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The same-host shortcut: both sockets of a local TCP connection are put into
 * a sockhash, and payload goes from socket to socket. message.h says how order
 * is kept, guard.h what is kept away from such sockets.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "shortcut/guard.h"
#include "shortcut/join.h"
#include "shortcut/message.h"
#include "shortcut/observe.h"

SEC("sockops")
int terrace_shortcut_ops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		enter_client(ops, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		enter_server(ops, sk);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		settle(ops, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			leave(sk);
		break;
	}
	return 1;
}

SEC("sk_msg")
int terrace_shortcut_message(struct sk_msg_md *msg)
{
	struct shortcut_socket_key *place;

	place = bpf_sk_storage_get(&shortcut_storage, msg->sk, 0, 0);
	return place ? send(msg, place) : SK_PASS;
}

/* After bytes of the stack were read; bytes by socket don't come here. */
SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(terrace_shortcut_watch, struct sock *sk)
{
	struct shortcut_socket_key *place;

	place = bpf_sk_storage_get(&shortcut_storage, sk, 0, 0);
	if (place)
		watch_reader(place);
	return 0;
}

SEC("cgroup/setsockopt")
int terrace_shortcut_option(struct bpf_sockopt *ctx)
{
	return refuse_option(ctx);
}

SEC("syscall")
int terrace_shortcut_observe(struct shortcut_observed *found)
{
	return observe(found);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
