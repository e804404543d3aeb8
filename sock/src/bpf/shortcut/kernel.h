/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The few fields of kernel structures that the shortcut reads, found by name
 * through BTF on the kernel that runs.
 */
#ifndef TERRACE_SHORTCUT_KERNEL_H
#define TERRACE_SHORTCUT_KERNEL_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct list_head {
	struct list_head *next;
};

struct atomic {
	int counter;
};

struct sock_backlog {
	struct atomic rmem_alloc;
};

struct atomic64 {
	__s64 counter;
};

struct sock_common {
	unsigned char skc_state;
	unsigned long skc_flags;
	struct atomic64 skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_backlog sk_backlog;
	void *sk_user_data;
};

struct tcp_sock {
	__u32 write_seq;
	__u32 copied_seq;
};

struct sk_psock {
	struct list_head ingress_msg;
};

/* The registers of the running system call, by machine. */
struct pt_regs___x86 {
	unsigned long r10;
	unsigned long dx;
	unsigned long orig_ax;
};

struct pt_regs___arm64 {
	__u64 regs[31];
	__u64 syscallno;
};

#pragma clang attribute pop

enum sock_flags {
	SOCK_ZEROCOPY = 18, /* relocated */
};

#define SK_USER_DATA_FLAGS 7UL

#endif
