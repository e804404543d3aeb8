/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way to a worker: which one, whether it lives, and the frame that it gets.
 * tc has the l7 port and can copy packets; XDP has sockets on queues of uplinks,
 * and leaves to tc whatever it can't give to one of them.
 */
#ifndef TERRACE_L7_H
#define TERRACE_L7_H

#include "judge.h"
#include "splice.h"
#if IS_XDP
#include "uplink.h"
#endif

#define NS_PER_MS 1000000ULL

/* The hash of a connection, the same in both directions. */
static __always_inline __u32 both_ways_hash(const struct flow_key *key,
					    __u32 seed)
{
	const __u32 *s = key->saddr, *d = key->daddr;
	__u64 from = ((__u64)(s[0] ^ s[2]) << 32 | (s[1] ^ s[3])) + key->sport;
	__u64 to = ((__u64)(d[0] ^ d[2]) << 32 | (d[1] ^ d[3])) + key->dport;

	from = (from ^ seed) * FLOW_MULTIPLIER;
	to = (to ^ seed) * FLOW_MULTIPLIER;
	return ((from ^ (from >> 29)) + (to ^ (to >> 29))) * FLOW_MULTIPLIER >>
	       32;
}

/* Numbers belong to a worker; what has none goes by its two ends. */
static __always_inline __u32 queue_of(const struct packet *pkt,
				      const struct config *cfg, __u32 number)
{
	__u32 n = cfg->l7_queues;

	if (!n || n > L7_QUEUES_MAX)
		n = 1;
	if (number != L7_NO_NUMBER)
		return cfg->l7_flows ? number / cfg->l7_flows % n : 0;
	return both_ways_hash(&pkt->key, cfg->hash_seed) % n;
}

static __always_inline bool worker_lives(const struct config *cfg, __u32 queue)
{
	struct l7_worker *worker = bpf_map_lookup_elem(&l7_workers, &queue);
	__s64 age;

	if (!worker || !cfg->l7_ifindex)
		return false;
	age = bpf_ktime_get_coarse_ns() - *(volatile __u64 *)&worker->beat_ns;
	return age <= (__s64)(cfg->l7_timeout_ms * NS_PER_MS);
}

/* A worker takes whole segments behind a plain IP header. */
static __always_inline bool is_unfit(const struct packet *pkt)
{
	return pkt->fragment ||
	       (!pkt->is_v4 && pkt->l4 != pkt->l3 + sizeof(struct ipv6hdr));
}

/* In place of the Ethernet header. */
__noinline int write_frame(context_t *ctx, const struct packet *pkt,
			   __u32 queue, __u32 number, __u32 kind)
{
	struct l7_frame *frame;
	__u32 identity, index;
	struct endpoint *src;

	if (!pkt)
		return -1;
	index = address_lookup((const struct address *)pkt->key.saddr);
	src = bpf_map_lookup_elem(&endpoints, &index);
	identity = src ? src->identity : IDENTITY_UNKNOWN;
	frame = ctx_at(ctx, 0, sizeof(*frame));
	if (!frame)
		return -1;
	frame->magic = L7_MAGIC;
	frame->kind = kind;
	frame->queue = queue;
	frame->number[0] = number;
	frame->number[1] = number >> 16;
	frame->identity[0] = identity;
	frame->identity[1] = identity >> 16;
#if !IS_XDP
	/* The port's to send by: skb_tx_hash() counts recorded ones from 1. */
	ctx->queue_mapping = queue + 1;
#endif
	return 0;
}

/* A copy of the packet as it is, if there is anybody to look at it. */
__noinline int copy_to_worker(context_t *ctx, const struct packet *pkt,
			      __u32 number)
{
#if !IS_XDP
	__u32 zero = 0, queue;
	const struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct ethhdr *eth = ctx_at(ctx, 0, sizeof(*eth)), was;

	if (dry_run || !pkt || !cfg || !eth)
		return 0;
	queue = queue_of(pkt, cfg, number);
	if (!worker_lives(cfg, queue))
		return 0;
	was = *eth;
	if (!write_frame(ctx, pkt, queue, number, L7_COPY))
		bpf_clone_redirect(ctx, cfg->l7_ifindex, 0);
	eth = ctx_at(ctx, 0, sizeof(*eth));
	if (eth)
		*eth = was;
	ctx->queue_mapping = 0;
#endif
	return 0;
}

#if IS_XDP
/*
 * To the socket on the queue that the packet came by. Its worker hands over what
 * is another one's, so both must live; fail modes are for tc to decide.
 */
static __always_inline int to_socket(context_t *ctx, struct packet *pkt,
				     const struct config *cfg, __u32 number)
{
	__u32 slot, socket, owner = queue_of(pkt, cfg, number);
	const struct iface *iface = iface_of(ctx_ifindex(ctx), &slot);
	__u32 n = cfg->l7_queues, queue = ctx->rx_queue_index;
	struct ethhdr *eth, was;

	if (!iface || queue >= iface->l7_sockets || !n || pkt->tags ||
	    is_unfit(pkt))
		return REASON_TO_TC;
	socket = iface->l7_first + queue;
	if (!worker_lives(cfg, owner) || !worker_lives(cfg, socket % n))
		return REASON_TO_TC;
	if (dry_run)
		return REASON_TO_WORKER;
	eth = ctx_at(ctx, 0, sizeof(*eth));
	if (!eth)
		return REASON_TO_TC;
	was = *eth;
	if (!write_frame(ctx, pkt, owner, number, L7_UP)) {
		pkt->action =
			bpf_redirect_map(&uplink_sockets, socket, XDP_PASS);
		if (pkt->action == XDP_REDIRECT)
			return REASON_TO_WORKER;
	}
	eth = ctx_at(ctx, 0, sizeof(*eth));
	if (eth)
		*eth = was;
	return REASON_TO_TC;
}
#endif

/*
 * Gives the packet to the worker of `number`, as it came. A global function,
 * verified once: it is called wherever a flow may turn out to be a worker's.
 */
__noinline int to_worker(context_t *ctx, struct packet *pkt, __u32 number,
			 __u32 fail_mode)
{
#if IS_XDP
	__u32 zero = 0;
	const struct config *cfg = bpf_map_lookup_elem(&config, &zero);

	/* Unused, clang passes what is in the register: "R4 is not a scalar". */
	asm volatile("" : : "r"(fail_mode));
	if (!pkt || !cfg)
		return REASON_TO_TC;
	return to_socket(ctx, pkt, cfg, number);
#else
	__u32 zero = 0, queue;
	const struct config *cfg = bpf_map_lookup_elem(&config, &zero);

	if (!pkt || !cfg)
		return REASON_HELPER_FAILED;
	if (is_unfit(pkt))
		return REASON_L7_UNFIT;
	queue = queue_of(pkt, cfg, number);
	if (!worker_lives(cfg, queue))
		return fail_mode == FAIL_OPEN ? REASON_L7_FAIL_OPEN :
						REASON_L7_NO_WORKER;
	pop_tags(ctx, pkt);
	if (write_frame(ctx, pkt, queue, number, L7_UP))
		return REASON_HELPER_FAILED;
	pkt->out_ifindex = cfg->l7_ifindex;
	pkt->action = bpf_redirect(cfg->l7_ifindex, 0);
	return REASON_TO_WORKER;
#endif
}

#endif
