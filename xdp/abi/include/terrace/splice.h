/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The splice: what becomes of a segment of a worker's flow, and its
 * translation. daemon/l7/src/splice.rs is the model, byte for byte; ci/model
 * holds both to it.
 */
#ifndef TERRACE_SPLICE_H
#define TERRACE_SPLICE_H

#include "flow.h"
#include "packet.h"
#include "rewrite.h"

#define TCP_URG 0x20
#define TCP_ODD (TCP_SYN | TCP_FIN | TCP_RST | TCP_URG)
#define TCP_OPTIONS_MAX 40
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_SACK 5
#define OPTION_TIMESTAMPS 8
/* What a sender writes in front of every timestamp: NOP, NOP, kind, length. */
#define TIMESTAMPS_FIRST 0x0a080101
#define SACKS_MAX 4

enum splice_verdict {
	SPLICE_UP = 0,
	SPLICE_PASS = 1,
	SPLICE_PASS_AND_COPY = 2,
	SPLICE_REQUEST = 3, /* a request passes */
	SPLICE_HEAD = 4,    /* judge_head() says */
	SPLICE_ANSWER = 5,  /* judge_answer() says */
};

/* a < b in sequence space. */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool seq_up_to(__u32 a, __u32 b)
{
	return !seq_before(b, a);
}

static __always_inline __u32 seq_later(__u32 a, __u32 b)
{
	return seq_before(a, b) ? b : a;
}

/*
 * One option at `at`; where the next one is, 0 = no more, -1 = it is cut. A
 * global function, verified once: what it returns is any number to its caller,
 * so that the rounds of the loop are one state to the verifier (6.18: inlined
 * they are more than a million instructions).
 */
__noinline int next_option(context_t *ctx, struct packet *pkt, __u32 at)
{
	struct segment *segment;
	__u32 size;
	__u8 *kind;

	if (!pkt)
		return -1;
	segment = &pkt->segment;
	kind = ctx_at(ctx, at, 1);
	if (!kind)
		return -1;
	if (*kind == OPTION_END)
		return 0;
	if (*kind == OPTION_NOP)
		return at + 1;
	kind = ctx_at(ctx, at, 2);
	if (!kind || at + 2 > segment->payload)
		return -1;
	size = kind[1];
	if (size < 2 || at + size > segment->payload)
		return -1;
	if (*kind == OPTION_TIMESTAMPS && size == 10)
		segment->timestamps = at + 2;
	if (*kind == OPTION_SACK && size % 8 == 2 && size > 2 && size <= 34) {
		segment->sacks = at + 2;
		segment->n_sacks = size / 8;
	}
	return at + size;
}

/* Where timestamps and SACK blocks stand, the last of each; -1 = malformed. */
static __always_inline int find_options(context_t *ctx, struct packet *pkt)
{
	int at = pkt->l4 + sizeof(struct tcphdr);

	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		if (at >= (int)pkt->segment.payload)
			break;
		at = next_option(ctx, pkt, at);
		if (at <= 0)
			return at;
	}
	return 0;
}

/*
 * Where the options are. Nearly all segments have timestamps as their first
 * option and no other.
 */
static __always_inline int read_options(context_t *ctx, struct packet *pkt)
{
	struct segment *segment = &pkt->segment;
	__u32 first = pkt->l4 + sizeof(struct tcphdr), *word;

	if (segment->payload == first)
		return 0;
	if (!ctx_pull(ctx, segment->payload - 4, 4))
		return -1;
	word = ctx_at(ctx, first, sizeof(*word));
	if (word && *word == TIMESTAMPS_FIRST && segment->payload == first + 12)
		segment->timestamps = first + 4;
	else if (find_options(ctx, pkt))
		return -1;
	if (!segment->timestamps)
		return 0;
	word = ctx_at(ctx, segment->timestamps, sizeof(*word));
	if (!word)
		return -1;
	segment->ts_value = bpf_ntohl(*word);
	return 0;
}

/* The segment's numbers, and where its options are; -1 = malformed. */
__noinline int read_segment(context_t *ctx, struct packet *pkt)
{
	struct segment *segment;
	struct tcphdr *tcp;
	__u32 len;

	if (!pkt)
		return -1;
	segment = &pkt->segment;
	tcp = ctx_at(ctx, pkt->l4, sizeof(*tcp));
	if (!tcp)
		return -1;
	len = tcp->doff * 4;
	segment->seq = bpf_ntohl(tcp->seq);
	segment->ack = bpf_ntohl(tcp->ack_seq);
	segment->window = bpf_ntohs(tcp->window);
	segment->payload = pkt->l4 + len;
	segment->len = pkt->len - (pkt->l4 - pkt->l3) - len;
	segment->timestamps = 0;
	segment->sacks = 0;
	segment->n_sacks = 0;
	return read_options(ctx, pkt);
}

static __always_inline bool ends_are(const struct splice *splice,
				     const struct flow_key *key,
				     const struct tuple *to)
{
	__u32 differ = splice->client_port ^ key->sport;

	differ |= splice->service_port ^ key->dport;
	differ |= splice->source_port ^ to->sport;
	differ |= splice->server_port ^ to->dport;
	for (int w = 0; w < 4; w++) {
		differ |= splice->client[w] ^ key->saddr[w];
		differ |= splice->service[w] ^ key->daddr[w];
		differ |= splice->source[w] ^ to->saddr[w];
		differ |= splice->server[w] ^ to->daddr[w];
	}
	return !differ;
}

/* A copy of a splice that no worker was writing meanwhile. */
__noinline int copy_splice(struct packet *pkt, __u32 number)
{
	struct splice *splice = bpf_map_lookup_elem(&splices, &number);
	__u32 seq;

	if (!pkt || !splice)
		return -1;
	seq = *(volatile __u32 *)&splice->seq;
	memory_fence(&pkt->splice.seq);
	pkt->splice = *splice;
	memory_fence(&pkt->splice.seq);
	if ((seq & 1) || *(volatile __u32 *)&splice->seq != seq)
		return -1;
	return 0;
}

/*
 * Whether bytes lie in what is open, by how far they are behind its beginning:
 * two comparisons would each be right half a round away.
 */
static __always_inline bool is_open(const struct splice *splice, __u32 seq,
				    __u32 end)
{
	__u32 from = seq - splice->open_from, until = end - splice->open_from;

	return from <= until && until <= splice->open_until - splice->open_from;
}

static __always_inline enum splice_verdict
judge_up(const struct packet *pkt, const struct splice *splice,
	 const struct splice_note *note)
{
	const struct segment *segment = &pkt->segment;
	__u32 end = segment->seq + segment->len;
	bool open;

	if ((pkt->tcp_flags & TCP_ODD) || (splice->mode & SPLICE_ALL_UP))
		return SPLICE_UP;
	if (!segment->len)
		return SPLICE_PASS;
	open = (splice->mode & SPLICE_TUNNEL) ||
	       is_open(splice, segment->seq, end);
	if (open && seq_up_to(end, note->server_edge - splice->up_delta))
		return SPLICE_PASS;
	return splice->mode & SPLICE_HEADS ? SPLICE_HEAD : SPLICE_UP;
}

static __always_inline enum splice_verdict
judge_down(const struct packet *pkt, const struct splice *splice)
{
	const struct segment *segment = &pkt->segment;

	if (pkt->tcp_flags & TCP_SYN)
		return SPLICE_UP;
	if (pkt->tcp_flags & TCP_RST)
		return SPLICE_PASS_AND_COPY;
	if (segment->len && !(splice->mode & SPLICE_TUNNEL) &&
	    !seq_up_to(segment->seq + segment->len, splice->quiet_until)) {
		if (splice->mode & SPLICE_HOLD)
			return SPLICE_UP;
		return (splice->mode & SPLICE_HEADS) &&
				       !(pkt->tcp_flags & TCP_FIN) ?
			       SPLICE_ANSWER :
			       SPLICE_PASS_AND_COPY;
	}
	return pkt->tcp_flags & TCP_FIN ? SPLICE_PASS_AND_COPY : SPLICE_PASS;
}

/* What is noted of a segment that passes. */
static __always_inline void note_segment(const struct packet *pkt,
					 const struct splice *splice,
					 struct splice_note *note, bool reply)
{
	const struct segment *segment = &pkt->segment;
	__u32 end, told;

	note->packets++;
	if (!(pkt->tcp_flags & TCP_ACK) || (pkt->tcp_flags & TCP_RST))
		return;
	if (!reply) {
		/* Of what was never sent it is nobody's: RFC 5961 section 5. */
		if (seq_up_to(segment->ack - splice->down_delta,
			      note->server_nxt))
			note->client_ack =
				seq_later(note->client_ack, segment->ack);
		return;
	}
	end = segment->seq + segment->len + !!(pkt->tcp_flags & TCP_FIN);
	note->server_nxt = seq_later(note->server_nxt, end);
	note->server_ack = seq_later(note->server_ack, segment->ack);
	end = segment->ack +
	      ((__u32)segment->window << (splice->server_scale & 31));
	note->server_edge = seq_later(note->server_edge, end);
	if (!segment->timestamps)
		return;
	told = segment->ts_value + splice->ts_delta;
	if (seq_before(note->ts_value, told))
		note->ts_value = told;
}

/* The client's packet that a server's is the answer to, and how it went on. */
static __always_inline void key_of_answer(struct flow_key *there,
					  struct tuple *back,
					  const struct flow_key *key,
					  const struct tuple *to)
{
	for (int w = 0; w < 4; w++) {
		there->saddr[w] = to->daddr[w];
		there->daddr[w] = to->saddr[w];
		back->saddr[w] = key->daddr[w];
		back->daddr[w] = key->saddr[w];
	}
	there->sport = to->dport;
	there->dport = to->sport;
	back->sport = key->dport;
	back->dport = key->sport;
}

/*
 * What its splice makes of a segment that becomes `to`: enum splice_verdict,
 * the splice in hand. What is no longer that flow's, or not yet bound, goes up.
 */
__noinline int judge_segment(struct packet *pkt, const struct tuple *to,
			     __u32 number, __u32 reply)
{
	struct splice_progress *progress;
	struct flow_key there = {};
	struct splice *splice;
	struct tuple back;

	if (!pkt || !to || copy_splice(pkt, number))
		return SPLICE_UP;
	splice = &pkt->splice;
	progress = bpf_map_lookup_elem(&splice_progress, &number);
	if (!progress || (splice->mode & SPLICE_OPENING))
		return SPLICE_UP;
	if (reply) {
		key_of_answer(&there, &back, &pkt->key, to);
		return ends_are(splice, &there, &back) ?
			       judge_down(pkt, splice) :
			       SPLICE_UP;
	}
	return ends_are(splice, &pkt->key, to) ?
		       judge_up(pkt, splice,
				&progress->notes[splice->binding & 1]) :
		       SPLICE_UP;
}

/* What was added to sequence numbers of the server, or of the client. */
__noinline __u32 quoted_delta(struct packet *pkt, __u32 number, __u32 of_server)
{
	if (!pkt || copy_splice(pkt, number))
		return 0;
	return of_server ? pkt->splice.down_delta : pkt->splice.up_delta;
}

/* Notes a segment that passes, by the splice in hand. */
__noinline int note_passed(const struct packet *pkt, __u32 number, __u32 reply)
{
	struct splice_progress *progress =
		bpf_map_lookup_elem(&splice_progress, &number);
	const struct splice *splice;

	if (!pkt || !progress)
		return 0;
	splice = &pkt->splice;
	note_segment(pkt, splice, &progress->notes[splice->binding & 1], reply);
	progress->bytes[reply & 1] += pkt->len;
	return 0;
}

/* `window` as the other end reads it. */
static __always_inline __u16 translate_window(const struct splice *splice,
					      __u16 window, bool reply)
{
	__u32 scale = reply ? splice->server_scale : splice->client_scale;
	__u32 told =
		reply ? splice->server_scale_told : splice->client_scale_told;
	__u32 cap = reply ? splice->window_cap : 0xffffffff;
	__u32 bytes = (__u32)window << (scale & 31);

	if (scale == told && bytes < cap)
		return window;
	bytes = (bytes < cap ? bytes : cap) >> (told & 31);
	return bytes < 0xffff ? bytes : 0xffff;
}

/* A sum as it counts at an odd place: its bytes are swapped (RFC 1071 2 B). */
static __always_inline __u64 csum_at(__u64 change, __u32 off)
{
	__u16 sum = csum_fold(change);

	return off & 1 ? (__u16)(sum << 8 | sum >> 8) : sum;
}

/* Adds to the number at `off`; `change` is what the checksum has to follow. */
static __always_inline int add_to_word(context_t *ctx, const struct packet *pkt,
				       __u32 off, __u32 delta, __u64 *change)
{
	__be32 *word = ctx_at(ctx, off, sizeof(*word)), new;

	if (!word)
		return -1;
	new = bpf_htonl(bpf_ntohl(*word) + delta);
	*change += csum_at(csum_change(*word, new), off - pkt->l4);
	*word = new;
	return 0;
}

/* SACK blocks, or NOPs in their place where the receiver takes none. */
__noinline int translate_sacks(context_t *ctx, struct packet *pkt, __u32 reply)
{
	__u32 at, delta, keep;
	__u64 change = 0;
	__be32 *word;
	__u16 *head;

	if (!pkt || !pkt->segment.sacks)
		return 0;
	at = pkt->segment.sacks;
	delta = reply ? -pkt->splice.up_delta : -pkt->splice.down_delta;
	keep = reply | (pkt->splice.mode & SPLICE_SACK);
	for (__u32 i = 0; i < 2 * SACKS_MAX; i++) {
		if (i >= 2 * pkt->segment.n_sacks)
			break;
		if (keep) {
			if (add_to_word(ctx, pkt, at + i * 4, delta, &change))
				return -1;
			continue;
		}
		word = ctx_at(ctx, at + i * 4, sizeof(*word));
		if (!word)
			return -1;
		change += csum_at(csum_change(*word, 0x01010101), at - pkt->l4);
		*word = 0x01010101;
	}
	if (!keep) {
		head = ctx_at(ctx, at - 2, sizeof(*head));
		if (!head)
			return -1;
		change += csum_at(csum_change16(*head, 0x0101), at - pkt->l4);
		*head = 0x0101;
	}
	pkt->l4_change += change;
	return 0;
}

/*
 * All but SACK blocks that a translation changes behind the ports; pkt->l4_change is what the
 * transport checksum has to follow. Addresses, ports and the checksum itself
 * are rewrite()'s.
 */
__noinline int translate(context_t *ctx, struct packet *pkt, __u32 reply)
{
	__u32 seq_delta, ack_delta, ack;
	const struct segment *segment;
	const struct splice *splice;
	struct tcphdr *tcp;
	__u64 change;
	__be32 word;
	__u16 window;

	if (!pkt)
		return -1;
	splice = &pkt->splice;
	segment = &pkt->segment;
	seq_delta = reply ? splice->down_delta : splice->up_delta;
	ack_delta = reply ? -splice->up_delta : -splice->down_delta;
	ack = segment->ack + ack_delta;
	tcp = ctx_at(ctx, pkt->l4, sizeof(*tcp));
	if (!tcp)
		return -1;
	/* In a tunnel the numbers go round without the worker. */
	if (reply && !(splice->mode & SPLICE_TUNNEL) &&
	    splice->ack_floor - ack - 1 < SPLICE_MAX_RAISE - 1)
		ack = splice->ack_floor;
	word = bpf_htonl(segment->seq + seq_delta);
	change = csum_change(tcp->seq, word);
	tcp->seq = word;
	word = bpf_htonl(ack);
	change += csum_change(tcp->ack_seq, word);
	tcp->ack_seq = word;
	window = bpf_htons(translate_window(splice, segment->window, reply));
	change += csum_change16(tcp->window, window);
	tcp->window = window;
	if (segment->timestamps &&
	    (add_to_word(ctx, pkt, segment->timestamps,
			 reply ? splice->ts_delta : 0, &change) ||
	     add_to_word(ctx, pkt, segment->timestamps + 4,
			 reply ? 0 : -splice->ts_delta, &change)))
		return -1;
	pkt->l4_change = csum_fold(change);
	return 0;
}

#endif
