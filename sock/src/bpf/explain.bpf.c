// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What would become of a connect(): the same decisions on the live tables,
 * changing nothing. Loaded with `dry_run`. Programs of cgroups can't be run by
 * userspace, and syscall programs may not use tries, so the question comes as
 * the packet of an XDP program, which no interface ever has.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "redirect.h"

/* Who asks is known from the question: by namespace, else by cgroup. */
static __always_inline struct workload *
asked_workload(const struct connect_question *question)
{
	struct workload *workload;

	workload = workload_of(question->netns, WORKLOAD_BY_NETNS);
	if (workload || !question->cgroup)
		return workload;
	return workload_of(question->cgroup, WORKLOAD_BY_CGROUP);
}

SEC("xdp")
int explain_connect(struct xdp_md *ctx)
{
	struct connect_explain *args = (void *)(long)ctx->data;
	struct connect_question question;
	struct connect_answer answer = {};
	struct workload *workload = NULL;

	if ((void *)(args + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	question = args->question;
	if (with_proxy)
		workload = asked_workload(&question);
	if (workload)
		answer.redirect = redirect_wanted(workload, &question, &answer);
	answer.reason = answer.redirect;
	if (!answer.peer.flags)
		answer.reason = translate(&question, &answer);
	args->answer = answer;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
