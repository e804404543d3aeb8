// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Somebody else's program on a cgroup, for the tests.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4")
int foreign(struct bpf_sock_addr *ctx)
{
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
