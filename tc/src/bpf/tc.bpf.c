// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The tc programs: the whole pipeline, always armed. One entry for each role
 * and direction, so that the verifier prunes what can't happen there.
 */
#include "terrace/context_tc.h"
#include "terrace/fast_tc.h"
#include "terrace/port.h"

SEC("tc")
int terrace_tc_uplink_ingress(struct __sk_buff *skb)
{
	int action = serve_fast_uplink(skb);

	return action >= 0 ? action : run(skb, HOOK_TC_INGRESS, ROLE_UPLINK);
}

SEC("tc")
int terrace_tc_uplink_egress(struct __sk_buff *skb)
{
	return run(skb, HOOK_TC_EGRESS, ROLE_UPLINK);
}

/* From the workload. */
SEC("tc")
int terrace_tc_workload_ingress(struct __sk_buff *skb)
{
	int action = serve_fast_workload(skb);

	return action >= 0 ? action : run(skb, HOOK_TC_INGRESS, ROLE_WORKLOAD);
}

/* To the workload, from the host's own stack. */
SEC("tc")
int terrace_tc_workload_egress(struct __sk_buff *skb)
{
	return run(skb, HOOK_TC_EGRESS, ROLE_WORKLOAD);
}

/* From the workers. */
SEC("tc")
int terrace_tc_l7_ingress(struct __sk_buff *skb)
{
	return run_port(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
