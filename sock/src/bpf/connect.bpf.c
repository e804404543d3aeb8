// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Connect-time programs, on a cgroup: what a process asks for is translated
 * before a packet exists, so that packets go to the backend directly and
 * nothing has to be translated in them. What the process asked for is kept
 * for its socket and shown to it again.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "question.h"
#include "connected.h"
#include "datagram.h"
#include "bind.h"

SEC("cgroup/connect4")
int terrace_connect4(struct bpf_sock_addr *ctx)
{
	return connect_socket(ctx, false);
}

SEC("cgroup/connect6")
int terrace_connect6(struct bpf_sock_addr *ctx)
{
	return connect_socket(ctx, true);
}

SEC("cgroup/getpeername4")
int terrace_getpeername4(struct bpf_sock_addr *ctx)
{
	show_peer(ctx, false);
	return 1;
}

SEC("cgroup/getpeername6")
int terrace_getpeername6(struct bpf_sock_addr *ctx)
{
	show_peer(ctx, true);
	return 1;
}

SEC("cgroup/sendmsg4")
int terrace_sendmsg4(struct bpf_sock_addr *ctx)
{
	return send_datagram(ctx, false);
}

SEC("cgroup/sendmsg6")
int terrace_sendmsg6(struct bpf_sock_addr *ctx)
{
	return send_datagram(ctx, true);
}

SEC("cgroup/recvmsg4")
int terrace_recvmsg4(struct bpf_sock_addr *ctx)
{
	show_sender(ctx, false);
	return 1;
}

SEC("cgroup/recvmsg6")
int terrace_recvmsg6(struct bpf_sock_addr *ctx)
{
	show_sender(ctx, true);
	return 1;
}

SEC("cgroup/bind4")
int terrace_bind4(struct bpf_sock_addr *ctx)
{
	return bind_asked(ctx, false);
}

SEC("cgroup/bind6")
int terrace_bind6(struct bpf_sock_addr *ctx)
{
	return bind_asked(ctx, true);
}

SEC("cgroup/post_bind4")
int terrace_post_bind4(struct bpf_sock *sk)
{
	return bind_done(sk, false);
}

SEC("cgroup/post_bind6")
int terrace_post_bind6(struct bpf_sock *sk)
{
	return bind_done(sk, true);
}

SEC("cgroup/sock_release")
int terrace_sock_release(struct bpf_sock *sk)
{
	forget_record(bpf_get_socket_cookie(sk));
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
