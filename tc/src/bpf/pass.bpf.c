// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The smallest programs with the names and tables of tc.bpf.c. The loader's
 * tests load these many times; verifying the pipeline takes far longer.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <terrace/maps.h>

#define TC_ACT_UNSPEC -1

static __always_inline int pass(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct trace *trace = bpf_map_lookup_elem(&traces, &zero);

	if (dry_run && trace) {
		trace->reason = REASON_NOT_OURS;
		trace->out_ifindex = skb->ifindex;
	}
	return TC_ACT_UNSPEC;
}

SEC("tc")
int terrace_tc_uplink_ingress(struct __sk_buff *skb)
{
	return pass(skb);
}

SEC("tc")
int terrace_tc_uplink_egress(struct __sk_buff *skb)
{
	return pass(skb);
}

SEC("tc")
int terrace_tc_workload_ingress(struct __sk_buff *skb)
{
	return pass(skb);
}

SEC("tc")
int terrace_tc_workload_egress(struct __sk_buff *skb)
{
	return pass(skb);
}

SEC("tc")
int terrace_tc_l7_ingress(struct __sk_buff *skb)
{
	return pass(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
