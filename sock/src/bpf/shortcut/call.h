/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The system call that runs now, and the flags that a send or receive was
 * given: no hook of sockets is told them. Machines that are not known here,
 * and io_uring, give no flags.
 */
#ifndef TERRACE_SHORTCUT_CALL_H
#define TERRACE_SHORTCUT_CALL_H

#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "maps.h"

#define MSG_OOB 0x1
#define MSG_WAITALL 0x100

/* Numbers of system calls on this machine, set by the loader; 0 = not known. */
const volatile __u32 call_splice = 0;
const volatile __u32 call_sendto = 0;
const volatile __u32 call_sendmsg = 0;
const volatile __u32 call_sendmmsg = 0;
const volatile __u32 call_recvfrom = 0;
const volatile __u32 call_recvmsg = 0;
const volatile __u32 call_recvmmsg = 0;

static __always_inline struct pt_regs___x86 *call_regs(void)
{
	return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

static __always_inline __u32 running_call(void)
{
	struct pt_regs___x86 *x86 = call_regs();
	struct pt_regs___arm64 *arm64 = (void *)x86;

	if (bpf_core_field_exists(x86->orig_ax))
		return BPF_CORE_READ(x86, orig_ax);
	if (bpf_core_field_exists(arm64->syscallno))
		return BPF_CORE_READ(arm64, syscallno);
	return ~0U;
}

/* Argument 3 or 4 of the call, from 1. */
static __always_inline __u32 call_argument(bool fourth)
{
	struct pt_regs___x86 *x86 = call_regs();
	struct pt_regs___arm64 *arm64 = (void *)x86;

	if (bpf_core_field_exists(x86->orig_ax))
		return fourth ? BPF_CORE_READ(x86, r10) :
				BPF_CORE_READ(x86, dx);
	if (bpf_core_field_exists(arm64->syscallno))
		return fourth ? BPF_CORE_READ(arm64, regs[3]) :
				BPF_CORE_READ(arm64, regs[2]);
	return 0;
}

static __always_inline __u32 send_flags(void)
{
	__u32 call;

	if (!call_sendto)
		return 0;
	call = running_call();
	if (call == call_sendto || call == call_sendmmsg)
		return call_argument(true);
	return call == call_sendmsg ? call_argument(false) : 0;
}

static __always_inline __u32 receive_flags(__u32 call)
{
	if (!call_recvfrom)
		return 0;
	if (call == call_recvfrom || call == call_recvmmsg)
		return call_argument(true);
	return call == call_recvmsg ? call_argument(false) : 0;
}

#endif
