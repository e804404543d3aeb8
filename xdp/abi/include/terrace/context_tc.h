/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The context layer at tc; see context_xdp.h. GSO and partial checksums are
 * the kernel's business here: transport checksums change only through
 * bpf_l4_csum_replace, which knows CHECKSUM_PARTIAL and CHECKSUM_COMPLETE.
 */
#ifndef TERRACE_CONTEXT_TC_H
#define TERRACE_CONTEXT_TC_H

#include <bpf/bpf_endian.h>

#include "csum.h"
#include "maps.h"

#define IS_XDP 0
typedef struct __sk_buff context_t;

/* TCX_NEXT / TC_ACT_UNSPEC: other programs of the hook run as well. */
#define ACTION_PASS -1
#define ACTION_DROP 2
#define OFFSET_MAX 0x3ff

/* Set on packets that a program of Terrace has already judged on this host. */
#define MARK_HANDLED 0x08000000

#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)
#endif
/*
 * Kernels from 6.16 on want BPF_F_IPV6 for pseudo-header changes of IPv6
 * packets, or CHECKSUM_COMPLETE goes wrong; older ones refuse the flag.
 */
const volatile __u64 csum_v6_flag = 0;

/*
 * Loads a packet pointer as one 64-bit register: from a plain __u32 member
 * clang may keep and spill only 32 bits, which the verifier refuses.
 */
#define CTX_POINTER(ctx, member)                                           \
	({                                                                 \
		void *pointer;                                             \
		asm volatile("%[p] = *(u32 *)(%[c] + %[o])"                \
			     : [p] "=r"(pointer)                           \
			     : [c] "r"(ctx), [o] "i"(__builtin_offsetof(   \
						     context_t, member))); \
		pointer;                                                   \
	})

static __always_inline void *ctx_at(context_t *ctx, __u32 off, __u32 len)
{
	void *data = CTX_POINTER(ctx, data), *end = CTX_POINTER(ctx, data_end);
	void *at = data + (off & OFFSET_MAX);

	/* Keeps clang from adding the offset a second time, unchecked. */
	asm volatile("" : "+r"(at));
	if (off > OFFSET_MAX || at + len > end)
		return NULL;
	return at;
}

static __always_inline void *ctx_pull(context_t *ctx, __u32 off, __u32 len)
{
	void *at = ctx_at(ctx, off, len);

	if (at || off + len > ctx->len)
		return at;
	if (bpf_skb_pull_data(ctx, off + len))
		return NULL;
	return ctx_at(ctx, off, len);
}

/* Copies `len` bytes at `off`, wherever they lie; 0 = done. */
static __always_inline int ctx_load(context_t *ctx, __u32 off, void *to,
				    __u32 len)
{
	return bpf_skb_load_bytes(ctx, off, to, len);
}

static __always_inline __u32 ctx_len(context_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 ctx_gso_size(context_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline __u32 ctx_ifindex(context_t *ctx)
{
	return ctx->ifindex;
}

static __always_inline bool ctx_is_marked(context_t *ctx)
{
	return ctx->mark & MARK_HANDLED;
}

static __always_inline void ctx_mark(context_t *ctx)
{
	ctx->mark |= MARK_HANDLED;
}

static __always_inline bool ctx_is_tagged(context_t *ctx, __u32 tags)
{
	return tags || ctx->vlan_present;
}

static __always_inline int ctx_l4_csum(context_t *ctx, __u32 off, __u64 pseudo,
				       __u64 plain, bool is_udp, bool is_v6)
{
	__u64 flags = is_udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u64 v6 = is_v6 ? csum_v6_flag : 0;

	if (pseudo && bpf_l4_csum_replace(ctx, off, 0, csum_fold(pseudo),
					  flags | v6 | BPF_F_PSEUDO_HDR))
		return -1;
	if (plain && bpf_l4_csum_replace(ctx, off, 0, csum_fold(plain), flags))
		return -1;
	return 0;
}

/*
 * The sum that a NIC made over the packet (CHECKSUM_COMPLETE) follows an IPv6
 * hop limit that becomes one less; of IPv4 the header's own checksum does that.
 */
static __always_inline void ctx_hop_taken(context_t *ctx, __u8 hops)
{
	bpf_csum_update(ctx, csum_fold(csum_change16(bpf_htons(hops),
						     bpf_htons(hops - 1))));
}

static __always_inline int ctx_tail(context_t *ctx, __u32 new_len)
{
	return bpf_skb_change_tail(ctx, new_len, 0);
}

static __always_inline int ctx_head(context_t *ctx, __u32 room)
{
	return bpf_skb_change_head(ctx, room, 0);
}

static __always_inline int ctx_encap_room(context_t *ctx, __u32 room,
					  bool is_v6)
{
	__u64 flags = is_v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 :
			      BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

	return bpf_skb_adjust_room(ctx, room, BPF_ADJ_ROOM_MAC, flags) ? -1 :
									 false;
}

static __always_inline int ctx_send(context_t *ctx, __u32 ifindex,
				    __u32 iface_flags)
{
	ctx_mark(ctx);
	return bpf_redirect(ifindex, 0);
}

/* To where the packet came from: at egress that is the host's own stack. */
static __always_inline int ctx_send_back(context_t *ctx, __u32 hook,
					 __u32 iface_flags)
{
	ctx_mark(ctx);
	return bpf_redirect(ctx->ifindex,
			    hook == HOOK_TC_EGRESS ? BPF_F_INGRESS : 0);
}

#endif
