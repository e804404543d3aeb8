/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The context layer at XDP. The pipeline headers see a packet only through
 * these functions; context_tc.h has the same ones for struct __sk_buff.
 * One packet pointer at a time: a later ctx_ call may invalidate the earlier.
 */
#ifndef TERRACE_CONTEXT_XDP_H
#define TERRACE_CONTEXT_XDP_H

#include "csum.h"
#include "maps.h"

#define IS_XDP 1
typedef struct xdp_md context_t;

#define ACTION_PASS XDP_PASS
#define ACTION_DROP XDP_DROP
#define OFFSET_MAX 0x3ff

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

/* `len` bytes at `off`, or NULL when the packet is shorter. */
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

/* The same, and makes the bytes linear where that is needed (tc). */
static __always_inline void *ctx_pull(context_t *ctx, __u32 off, __u32 len)
{
	return ctx_at(ctx, off, len);
}

/* Copies `len` bytes at `off`, wherever they lie; 0 = done. */
static __always_inline int ctx_load(context_t *ctx, __u32 off, void *to,
				    __u32 len)
{
	return bpf_xdp_load_bytes(ctx, off, to, len);
}

static __always_inline __u32 ctx_len(context_t *ctx)
{
	return (__u64)CTX_POINTER(ctx, data_end) -
	       (__u64)CTX_POINTER(ctx, data);
}

static __always_inline __u32 ctx_gso_size(context_t *ctx)
{
	return 0;
}

static __always_inline __u32 ctx_ifindex(context_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline bool ctx_is_marked(context_t *ctx)
{
	return false;
}

static __always_inline void ctx_mark(context_t *ctx)
{
}

/* `tags` = those that lie in the frame. */
static __always_inline bool ctx_is_tagged(context_t *ctx, __u32 tags)
{
	return tags;
}

/*
 * Adds to the transport checksum at `off`: `pseudo` for words of the pseudo
 * header (addresses), `plain` for words of the segment itself. A UDP checksum
 * of zero (none) stays zero. Packets at XDP carry whole checksums.
 */
static __always_inline int ctx_l4_csum(context_t *ctx, __u32 off, __u64 pseudo,
				       __u64 plain, bool is_udp, bool is_v6)
{
	__u16 *check = ctx_at(ctx, off, sizeof(*check));
	__u16 sum;

	if (!check)
		return -1;
	if (is_udp && *check == 0)
		return 0;
	sum = csum_apply(*check, (__u64)csum_fold(pseudo) + csum_fold(plain));
	*check = is_udp && sum == 0 ? 0xffff : sum;
	return 0;
}

/* What nobody adds up here. */
static __always_inline void ctx_hop_taken(context_t *ctx, __u8 hops)
{
}

static __always_inline int ctx_tail(context_t *ctx, __u32 new_len)
{
	return bpf_xdp_adjust_tail(ctx, (int)new_len - (int)ctx_len(ctx));
}

/* `room` more bytes in front; the caller rewrites the Ethernet header. */
static __always_inline int ctx_head(context_t *ctx, __u32 room)
{
	return bpf_xdp_adjust_head(ctx, -(int)room);
}

/* Room for an outer IP header; true = the caller moves the Ethernet header. */
static __always_inline int ctx_encap_room(context_t *ctx, __u32 room,
					  bool is_v6)
{
	return ctx_head(ctx, room) ? -1 : true;
}

static __always_inline int ctx_send(context_t *ctx, __u32 ifindex,
				    __u32 iface_flags)
{
	if (ifindex == ctx->ingress_ifindex &&
	    !(iface_flags & IFACE_REDIRECT_BACK))
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

static __always_inline int ctx_send_back(context_t *ctx, __u32 hook,
					 __u32 iface_flags)
{
	return ctx_send(ctx, ctx->ingress_ifindex, iface_flags);
}

#endif
