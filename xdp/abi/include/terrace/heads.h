/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Requests that pass without a worker: a segment that is exactly one head, at
 * the place where the next one is due, behind an answer that has ended and has
 * arrived. The rest goes up, where the worker goes on from the note.
 *
 * The note of a flow is written under its own lock, and only while the splice
 * is still the one that was judged: a worker that replaces it looks at the note
 * afterwards, so one of the two sees the other.
 */
#ifndef TERRACE_HEADS_H
#define TERRACE_HEADS_H

#include "scan.h"
#include "splice.h"

/* The second half of the digest's key is the first one with this. */
#define DIGEST_SECOND_KEY 0x9fb21c651e98df25ULL

static __always_inline bool note_goes_on(const struct head_note *note,
					 const struct splice *splice)
{
	return note->binding == splice->binding &&
	       note->base == splice->open_until;
}

/* The one scan of this CPU. */
static __always_inline struct scan *scan_here(void)
{
	__u32 zero = 0;
	struct scratch *room = bpf_map_lookup_elem(&scratch, &zero);

	if (!room)
		return NULL;
	/* Nothing is added to the pointer before it is known not to be NULL. */
	asm volatile("" : "+r"(room));
	return &room->scan;
}

/* `len` bytes from `off` on, for a scan. */
static __always_inline struct scan *scan_of(context_t *ctx, __u32 off,
					    __u32 len)
{
	struct scan *scan = scan_here();

	if (!scan || !len || len > HEAD_ROOM)
		return NULL;
	__builtin_memset(scan, 0, __builtin_offsetof(struct scan, key));
	/* Linux 6.1 does not learn from "not 0" that it is 1 at least. */
	asm volatile("" : "+r"(len));
	len = ((len - 1) & (HEAD_ROOM - 1)) + 1;
	if (ctx_load(ctx, off, scan->bytes, len))
		return NULL;
	scan->len = len;
	__builtin_memset(scan->bytes + len, 0, SCAN_MARGIN);
	return scan;
}

static __always_inline __u64 rotated(__u64 word, __u32 by)
{
	return word << by | word >> (64 - by);
}

static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotated(v[1], 13) ^ v[0];
	v[3] = rotated(v[3], 16) ^ v[2];
	v[0] = rotated(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = rotated(v[3], 21) ^ v[0];
	v[1] = rotated(v[1], 17) ^ v[2];
	v[2] = rotated(v[2], 32);
}

static __always_inline void sip_word(__u64 v[4], __u64 word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/*
 * SipHash-1-3 of the bytes: without the secret nobody finds other bytes of the
 * same digest. A scan is shorter than its room, and zeros follow it.
 */
__noinline int digest_of(struct scan *scan, __u64 secret)
{
	__u64 v[4], key = secret ^ DIGEST_SECOND_KEY;
	__u32 whole;

	if (!scan)
		return -1;
	v[0] = secret ^ 0x736f6d6570736575ULL;
	v[1] = key ^ 0x646f72616e646f6dULL;
	v[2] = secret ^ 0x6c7967656e657261ULL;
	v[3] = key ^ 0x7465646279746573ULL;
	whole = scan->len & ~7;
	/* Unrolled, its words would fill the stack. */
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < HEAD_ROOM; at += 8) {
		if (at >= whole)
			break;
		sip_word(v, word_at(scan, at));
	}
	sip_word(v, word_at(scan, whole) | (__u64)scan->len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	scan->digest = v[0] ^ v[1] ^ v[2] ^ v[3];
	return 0;
}

/*
 * What a set says of the request in hand; 0 = nothing. The scan is not an
 * argument: Linux 6.1 takes a map's value as a key, but not an argument's
 * memory.
 */
__noinline int ask_set(__u32 set)
{
	struct scan *scan = scan_here();
	__u32 len, end, *found;
	__u8 was = ' ';

	if (!scan)
		return 0;
	end = set & HEAD_ROUTES ? scan->path_end : scan->target_end;
	len = end - scan->target;
	scan->key.set = set;
	scan->key.method = scan->method;
	scan->key.bits = 8 * (sizeof(set) + 1 + HEAD_PATH_MAX);
	if (len < HEAD_PATH_MAX) {
		was = scan->key.path[len];
		scan->key.path[len] = ' ';
		scan->key.bits = 8 * (sizeof(set) + 2 + len);
	}
	found = bpf_map_lookup_elem(&head_rules, &scan->key);
	/* The query's mark stands there for the sets of policies. */
	if (len < HEAD_PATH_MAX)
		scan->key.path[len] = was;
	return found ? *found : 0;
}

static __always_inline bool sets_agree(const struct splice *splice)
{
	for (int i = 0; i < HEAD_SETS; i++) {
		const struct head_set *wanted = &splice->heads[i];

		if (wanted->set && ask_set(wanted->set) != wanted->want)
			return false;
	}
	return splice->heads[0].set;
}

/* The note's lock, if it still says what was read with `seq`. */
static __always_inline bool note_lock(struct head_note *note, __u32 seq,
				      const struct splice *splice, __u32 number)
{
	struct splice *there = bpf_map_lookup_elem(&splices, &number);

	if ((seq & 1) ||
	    __sync_val_compare_and_swap(&note->seq, seq, seq + 1) != seq)
		return false;
	if (there && *(volatile __u32 *)&there->seq == splice->seq)
		return true;
	*(volatile __u32 *)&note->seq = seq;
	return false;
}

static __always_inline void note_unlock(struct head_note *note, __u32 seq,
					const struct splice *splice)
{
	note->binding = splice->binding;
	note->base = splice->open_until;
	memory_fence(&note->seq);
	*(volatile __u32 *)&note->seq = seq + 2;
}

/* Where the answers so far end, the server's numbers; false = not known. */
static __always_inline bool answered(const struct head_note *note,
				     const struct splice *splice, bool goes_on,
				     __u32 *end)
{
	*end = goes_on ? note->answer_end : splice->quiet_until;
	return goes_on ? note->state == HEAD_ANSWER_KNOWN :
			 !(splice->mode & SPLICE_ASKED);
}

/* All before has been answered, acknowledged and taken; the window is open. */
static __always_inline bool is_due(const struct packet *pkt,
				   const struct splice_note *passed,
				   __u32 answers_end)
{
	const struct segment *segment = &pkt->segment;
	const struct splice *splice = &pkt->splice;
	__u32 at = segment->seq + splice->up_delta;

	return passed->server_nxt == answers_end && passed->server_ack == at &&
	       segment->ack == answers_end + splice->down_delta &&
	       seq_up_to(at + segment->len, passed->server_edge);
}

/* The last head again: the same bytes at the same place. */
static __always_inline bool is_again(const struct segment *segment,
				     const struct head_note *note,
				     const struct scan *scan)
{
	return segment->seq == note->head_at &&
	       segment->seq + segment->len == note->head_next &&
	       scan->digest == note->digest;
}

static __always_inline void note_head(struct head_note *note,
				      const struct packet *pkt,
				      const struct scan *scan, bool counts_on,
				      __u32 answers_end)
{
	note->heads = counts_on ? note->heads + 1 : 1;
	note->head_at = pkt->segment.seq;
	note->head_next = pkt->segment.seq + pkt->segment.len;
	note->digest = scan->digest;
	note->answer_at = answers_end;
	note->answer_end = answers_end;
	note->state = HEAD_ANSWER_DUE;
	note->method = scan->method;
}

#if !IS_XDP
/* A client's payload that its splice does not let through: is it a request? */
__noinline int judge_head(context_t *ctx, struct packet *pkt, __u32 number)
{
	struct head_note *note = bpf_map_lookup_elem(&head_notes, &number);
	__u32 zero = 0, seq, answers_end;
	const struct config *cfg = bpf_map_lookup_elem(&config, &zero);
	struct splice_progress *progress =
		bpf_map_lookup_elem(&splice_progress, &number);
	const struct splice *splice;
	bool goes_on, is_next;
	struct scan *scan;

	if (!pkt || !note || !cfg || !progress)
		return SPLICE_UP;
	splice = &pkt->splice;
	seq = *(volatile __u32 *)&note->seq;
	goes_on = note_goes_on(note, splice);
	is_next = answered(note, splice, goes_on, &answers_end) &&
		  pkt->segment.seq ==
			  (goes_on ? note->head_next : splice->open_until);
	if (splice->generation != cfg->l7_generation ||
	    (!is_next && !goes_on) || pkt->segment.len > HEAD_MAX)
		return SPLICE_UP;
	scan = scan_of(ctx, pkt->segment.payload, pkt->segment.len);
	if (!scan || digest_of(scan, cfg->l7_secret))
		return SPLICE_UP;
	if (goes_on && is_again(&pkt->segment, note, scan))
		return SPLICE_PASS;
	if (!is_next ||
	    !is_due(pkt, &progress->notes[splice->binding & 1], answers_end) ||
	    scan_request(scan) || !sets_agree(splice))
		return SPLICE_UP;
	if (dry_run)
		return SPLICE_REQUEST;
	if (!note_lock(note, seq, splice, number))
		return SPLICE_UP;
	note_head(note, pkt, scan, note->binding == splice->binding,
		  answers_end);
	note_unlock(note, seq, splice);
	return SPLICE_REQUEST;
}

/*
 * The head of a server's answer: where the answer ends. That to a request of
 * the worker's is copied to it as well.
 */
__noinline int read_answer(context_t *ctx, struct packet *pkt, __u32 number)
{
	struct head_note *note = bpf_map_lookup_elem(&head_notes, &number);
	const struct splice *splice;
	__u32 seq, at, len;
	struct scan *scan;
	bool goes_on;

	if (!pkt || !note || dry_run)
		return SPLICE_PASS_AND_COPY;
	splice = &pkt->splice;
	seq = *(volatile __u32 *)&note->seq;
	goes_on = note_goes_on(note, splice);
	at = goes_on ? note->answer_at : splice->quiet_until;
	len = pkt->segment.len;
	if (pkt->segment.seq != at ||
	    (goes_on ? note->method == HEAD_HEAD :
		       !(splice->mode & SPLICE_ASKED)))
		return SPLICE_PASS_AND_COPY;
	scan = scan_of(ctx, pkt->segment.payload,
		       len < HEAD_ROOM ? len : HEAD_ROOM);
	if (!scan || scan_answer(scan) || !note_lock(note, seq, splice, number))
		return SPLICE_PASS_AND_COPY;
	if (!goes_on) {
		note->heads =
			note->binding == splice->binding ? note->heads : 0;
		note->head_at = splice->open_until;
		note->head_next = splice->open_until;
	}
	note->answer_at = at;
	note->answer_end = at + scan->end + scan->length;
	note->state = HEAD_ANSWER_KNOWN;
	note_unlock(note, seq, splice);
	return goes_on ? SPLICE_PASS : SPLICE_PASS_AND_COPY;
}
#endif

/*
 * A server's payload that the worker would have to see, but for what belongs to
 * an answer whose end is known: enum splice_verdict.
 */
__noinline int judge_known(const struct packet *pkt, __u32 number)
{
	struct head_note *note = bpf_map_lookup_elem(&head_notes, &number);
	__u32 end;

	if (!pkt || !note)
		return SPLICE_PASS_AND_COPY;
	if (!note_goes_on(note, &pkt->splice) ||
	    note->state != HEAD_ANSWER_KNOWN)
		return SPLICE_ANSWER;
	end = pkt->segment.seq + pkt->segment.len;
	return seq_up_to(end, note->answer_end) ? SPLICE_PASS :
						  SPLICE_PASS_AND_COPY;
}

/* Reading heads is tc's: what XDP does not know already stays as it is. */
static __always_inline int judge_noting(context_t *ctx, struct packet *pkt,
					__u32 number, int verdict)
{
	if (verdict == SPLICE_ANSWER)
		verdict = judge_known(pkt, number);
#if IS_XDP
	return verdict;
#else
	if (verdict == SPLICE_HEAD)
		return judge_head(ctx, pkt, number);
	return verdict == SPLICE_ANSWER ? read_answer(ctx, pkt, number) :
					  verdict;
#endif
}

#endif
