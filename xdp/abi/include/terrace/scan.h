/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * HTTP/1.1 heads, read strictly: eight bytes at a time, one line after the
 * other. Whatever is not plainly what it looks like is "unsure", and the worker
 * reads it. daemon/l7/src/splice/heads.rs is the model.
 */
#ifndef TERRACE_SCAN_H
#define TERRACE_SCAN_H

#include <bpf/bpf_endian.h>
#include "facts.h"

#define EACH(byte) (0x0101010101010101ULL * (byte))
/* Each step goes on by a byte at least. */
#define SCAN_STEPS HEAD_MAX

enum scan_mode {
	SCAN_PATH,
	SCAN_QUERY,
	SCAN_NAME,
	SCAN_VALUE,
	SCAN_HOST,
	SCAN_PORT,
	SCAN_LENGTH,
};

enum scan_result {
	SCAN_UNSURE = -1,
	SCAN_MORE = 0,
	SCAN_DONE = 1,
};

static __always_inline __u64 word_at(const struct scan *scan, __u32 at)
{
	/* Heads lie as they come; x86 and arm64 load from any address. */
	return *(const __u64 *)(scan->bytes + (at & (HEAD_ROOM - 1)));
}

/* The byte at `at`, without the margin's: 0 there, which nothing takes. */
static __always_inline __u8 byte_at(const struct scan *scan, __u32 at)
{
	return scan->bytes[at & (HEAD_ROOM - 1)];
}

/* The high bit of each byte that is `byte`; all of them are below 0x80. */
static __always_inline __u64 bytes_that_are(__u64 word, __u8 byte)
{
	return ~((word ^ EACH(byte)) + EACH(0x7f));
}

/* The high bit of each byte of `from` to `to`; all of them are below 0x80. */
static __always_inline __u64 bytes_between(__u64 word, __u8 from, __u8 to)
{
	return (word + EACH(0x80 - from)) & ~(word + EACH(0x7f - to));
}

static __always_inline __u64 name_bytes(__u64 low)
{
	return bytes_between(low | EACH(0x20), 'a', 'z') |
	       bytes_between(low, '0', '9') | bytes_that_are(low, '-');
}

static __always_inline __u64 path_bytes(__u64 low)
{
	return name_bytes(low) | bytes_that_are(low, '/') |
	       bytes_that_are(low, '_');
}

/* The high bit of each byte that the mode does not simply step over. */
static __always_inline __u64 odd_bytes(__u64 word, __u32 mode)
{
	__u64 low = word & EACH(0x7f), plain;

	if (mode == SCAN_VALUE)
		plain = bytes_between(low, ' ', '~');
	else if (mode == SCAN_NAME || mode == SCAN_HOST)
		plain = name_bytes(low);
	else if (mode == SCAN_PATH)
		plain = path_bytes(low);
	else if (mode == SCAN_QUERY)
		plain = path_bytes(low) | bytes_that_are(low, '=') |
			bytes_that_are(low, '&') | bytes_that_are(low, '.');
	else
		plain = 0;
	return (~plain | word) & EACH(0x80);
}

/* Which byte the lowest bit is of. */
static __always_inline __u32 first_of(__u64 odd)
{
	__u64 below = (odd & -odd) - 1;

	return (((below & EACH(1)) * EACH(1)) >> 56) - 1;
}

static __always_inline int begin_line(struct scan *scan, __u32 at)
{
	scan->at = at;
	scan->line = at;
	scan->mode = SCAN_NAME;
	return SCAN_MORE;
}

/* CR LF at `at`; with another one behind it the head is whole. */
static __always_inline int end_line(struct scan *scan, __u32 at)
{
	__u32 ends = word_at(scan, at);

	if ((ends & 0xffff) != 0x0a0d)
		return SCAN_UNSURE;
	if (ends != 0x0a0d0a0d)
		return begin_line(scan, at + 2);
	scan->end = at + 4;
	return SCAN_DONE;
}

/* " HTTP/1.1" CR LF behind the target. */
static __always_inline int end_target(struct scan *scan, __u32 at)
{
	if (word_at(scan, at + 1) != 0x312e312f50545448ULL)
		return SCAN_UNSURE;
	scan->target_end = at;
	if (scan->mode == SCAN_PATH)
		scan->path_end = at;
	return end_line(scan, at + 9);
}

/* The first letters of a field's name, in lower case, and nothing behind. */
static __always_inline __u64 name_of(const struct scan *scan, __u32 len)
{
	__u64 word = word_at(scan, scan->line) | EACH(0x20);

	return len < 8 ? word & ((1ULL << (8 * (len & 7))) - 1) : word;
}

/* "Connection: keep-alive": the only value that changes nothing. */
static __always_inline int read_connection(struct scan *scan, __u32 at)
{
	__u64 keep = word_at(scan, at + 1) | 0x2020002020202000ULL;
	__u32 alive = (__u32)word_at(scan, at + 9) | 0x00202020;

	if (keep != 0x6c612d7065656b20ULL || alive != 0x0d657669)
		return SCAN_UNSURE;
	return end_line(scan, at + 12);
}

static __always_inline int begin_value(struct scan *scan, __u32 at, __u32 mode)
{
	scan->mode = mode;
	scan->at = at;
	scan->line = at;
	scan->number = 0;
	scan->n_digits = 0;
	return SCAN_MORE;
}

/* Behind the colon, and the one blank that nearly everybody puts there. */
static __always_inline int value_of(struct scan *scan, __u32 at, __u32 mode)
{
	return begin_value(scan, at + (byte_at(scan, at) == ' '), mode);
}

/* The colon at `at`: fields that frame the message are told apart. */
static __always_inline int end_name(struct scan *scan, __u32 at)
{
	__u32 len = at - scan->line;
	__u64 name;

	if (byte_at(scan, at) != ':' || !len ||
	    ++scan->n_fields > HEAD_FIELDS_MAX)
		return SCAN_UNSURE;
	name = name_of(scan, len);
	if (len == 4 && name == 0x74736f68) { /* host */
		if (scan->is_answer || scan->n_hosts++)
			return SCAN_UNSURE;
		return value_of(scan, at + 1, SCAN_HOST);
	}
	if (len == 6 && name == 0x746365707865ULL) /* expect */
		return SCAN_UNSURE;
	if (len == 7 && name == 0x65646172677075ULL) /* upgrade */
		return SCAN_UNSURE;
	if (len == 17 && name == 0x726566736e617274ULL) /* transfer-encoding */
		return SCAN_UNSURE;
	if (len == 10 && name == 0x697463656e6e6f63ULL) /* connection */
		return read_connection(scan, at);
	if (len == 14 && name == 0x2d746e65746e6f63ULL) { /* content-length */
		if (!scan->is_answer || scan->has_length++ ||
		    (word_at(scan, scan->line + 6) | EACH(0x20)) !=
			    0x6874676e656c2d74ULL) /* t-length */
			return SCAN_UNSURE;
		return value_of(scan, at + 1, SCAN_LENGTH);
	}
	scan->mode = SCAN_VALUE;
	scan->at = at + 1;
	return SCAN_MORE;
}

/* The first byte of a name is a letter or a digit. */
static __always_inline int end_host(struct scan *scan, __u32 at)
{
	__u8 byte = byte_at(scan, at), first = byte_at(scan, scan->line);

	if (at == scan->line || first == '-')
		return SCAN_UNSURE;
	scan->at = at + 1;
	if (byte == '.')
		return SCAN_MORE;
	if (byte == ':')
		return begin_value(scan, at + 1, SCAN_PORT);
	return end_line(scan, at);
}

/* A digit of a port or of a length, or what follows them. */
static __always_inline int read_digit(struct scan *scan, __u32 at)
{
	__u32 most = scan->mode == SCAN_PORT ? 5 : 9;
	__u8 byte = byte_at(scan, at);

	if (byte >= '0' && byte <= '9') {
		scan->number = scan->number * 10 + byte - '0';
		scan->at = at + 1;
		return ++scan->n_digits > most ? SCAN_UNSURE : SCAN_MORE;
	}
	if (!scan->n_digits)
		return SCAN_UNSURE;
	if (scan->mode == SCAN_LENGTH)
		scan->length = scan->number;
	else if (scan->number > 65535)
		return SCAN_UNSURE;
	return end_line(scan, at);
}

/* What ends a run of path bytes; a dot segment is the worker's. */
static __always_inline int end_path(struct scan *scan, __u32 at)
{
	__u8 byte = byte_at(scan, at);

	if (byte == ' ')
		return end_target(scan, at);
	if (byte == '?' && scan->mode == SCAN_PATH) {
		scan->path_end = at;
		scan->mode = SCAN_QUERY;
	} else if (byte != '.' || byte_at(scan, at - 1) == '/') {
		return SCAN_UNSURE;
	}
	scan->at = at + 1;
	return SCAN_MORE;
}

/*
 * One step: eight bytes that mean nothing, or one that does. A global function:
 * what it returns is any number to its caller, so that the rounds of the loop
 * are one state to the verifier.
 */
__noinline int scan_step(struct scan *scan)
{
	__u64 odd;
	__u32 at;

	if (!scan)
		return SCAN_UNSURE;
	at = scan->at;
	/* A step and what it looks at are less than the room behind that. */
	if (at >= HEAD_MAX)
		return SCAN_UNSURE;
	odd = odd_bytes(word_at(scan, at), scan->mode);
	if (!odd) {
		scan->at = at + 8;
		return SCAN_MORE;
	}
	at += first_of(odd);
	switch (scan->mode) {
	case SCAN_PATH:
	case SCAN_QUERY:
		return end_path(scan, at);
	case SCAN_NAME:
		return end_name(scan, at);
	case SCAN_VALUE:
		return end_line(scan, at);
	case SCAN_HOST:
		return end_host(scan, at);
	default:
		return read_digit(scan, at);
	}
}

static __always_inline int scan_all(struct scan *scan)
{
	int result;

	for (int i = 0; i < SCAN_STEPS; i++) {
		result = scan_step(scan);
		if (result != SCAN_MORE)
			return result;
	}
	return SCAN_UNSURE;
}

static __always_inline __u32 method_of(__u64 word)
{
	if ((__u32)word == 0x20544547) /* "GET " */
		return HEAD_GET;
	if ((word & 0xffffffffffULL) == 0x2044414548ULL) /* "HEAD " */
		return HEAD_HEAD;
	if (word == 0x20534e4f4954504fULL) /* "OPTIONS " */
		return HEAD_OPTIONS;
	if ((word & 0xffffffffffffffULL) == 0x204554454c4544ULL) /* "DELETE " */
		return HEAD_DELETE;
	return 0;
}

static __always_inline __u32 target_at(__u32 method)
{
	if (method == HEAD_GET)
		return 4;
	if (method == HEAD_HEAD)
		return 5;
	return method == HEAD_OPTIONS ? 8 : 7;
}

/* What rules look at of the target, eight bytes at a time. */
static __always_inline void copy_target(struct scan *scan)
{
	const __u8 *from = scan->bytes + (scan->target & 0xf);
	__u8 *to = scan->key.path;

	for (int i = 0; i + 8 <= HEAD_PATH_MAX; i += 8)
		*(__u64 *)(to + i) = *(const __u64 *)(from + i);
	*(__u64 *)(to + HEAD_PATH_MAX - 8) =
		*(const __u64 *)(from + HEAD_PATH_MAX - 8);
}

/* A request head and nothing behind it, without a body; 0 = so it is. */
static __always_inline int scan_request(struct scan *scan)
{
	scan->method = method_of(word_at(scan, 0));
	if (!scan->method)
		return -1;
	scan->target = target_at(scan->method);
	scan->at = scan->target;
	scan->mode = SCAN_PATH;
	if (byte_at(scan, scan->target) != '/')
		return -1;
	if (scan_all(scan) != SCAN_DONE || scan->n_hosts != 1)
		return -1;
	if (scan->end != scan->len)
		return -1;
	copy_target(scan);
	return 0;
}

/* The head of an answer that says how long it is; -1 = unsure. */
static __always_inline int scan_answer(struct scan *scan)
{
	__u32 status;

	if (word_at(scan, 0) != 0x312e312f50545448ULL || /* "HTTP/1.1" */
	    byte_at(scan, 8) != ' ')
		return -1;
	status = (__u32)word_at(scan, 9) & 0xffffff;
	/* Three digits, the first of them 2 to 5. */
	if ((status & 0xf0f0f0) != 0x303030 || (status & 0x0f) < 2 ||
	    (status & 0x0f) > 5 || ((status >> 8) & 0x0f) > 9 ||
	    (status >> 16 & 0x0f) > 9)
		return -1;
	if (byte_at(scan, 12) != ' ' && byte_at(scan, 12) != '\r')
		return -1;
	scan->is_answer = 1;
	scan->at = 12;
	scan->mode = SCAN_VALUE;
	if (scan_all(scan) != SCAN_DONE || scan->end > HEAD_MAX)
		return -1;
	/* 204 and 304 have no body, whatever else they say. */
	if (status == 0x343032 || status == 0x343033)
		scan->length = 0;
	else if (!scan->has_length)
		return -1;
	return 0;
}

#endif
