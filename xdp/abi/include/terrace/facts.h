/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs know of a packet, and the room that they work in.
 */
#ifndef TERRACE_FACTS_H
#define TERRACE_FACTS_H

#include "maps.h"

/* What a packet's addresses and ports become. */
struct tuple {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};

/* A flow about to be made. */
struct opening {
	struct tuple to;
	__u32 service;
	__u32 backend;
	__u32 flags; /* enum flow_flags */
};

/* A TCP segment of a worker's flow: numbers in host byte order. */
struct segment {
	__u32 seq;
	__u32 ack;
	__u32 ts_value;
	__u32 payload; /* offsets from the frame's start; 0 = not there */
	__u32 timestamps;
	__u32 sacks;
	__u32 len; /* of the payload */
	__u16 window;
	__u16 n_sacks;
};

struct packet {
	struct flow_key key; /* ICMP echo: the identifier is a port */
	__u32 l3;	     /* offsets from the frame's start */
	__u32 l4;
	__u32 len; /* of the IP packet */
	__be32 fragment_id;
	__u8 is_v4;
	__u8 tcp_flags;
	__u8 fragment;
	__u8 icmp_kind;
	__u8 icmp_type;
	__u8 ttl;
	__u8 dont_fragment;
	__u8 tags;  /* VLAN tags that lie in the frame */
	__u32 hook; /* enum hook: where the program runs */
	__u32 iface_flags;
	/* What the pipeline decided; finish() acts on it. */
	int action;
	__u32 out_ifindex;
	/* What the transport checksum has to follow besides address and port. */
	__u64 l4_change;
	/* Room to build a new flow and its other direction; not zeroed. */
	struct flow_key reply;
	struct opening open;
	struct tuple back;
	/* Of a worker's flow; filled in by its steps, not zeroed. */
	struct segment segment;
	struct splice splice;
};

/* What is read behind the last byte of a head: zeroes, which end any scan. */
#define SCAN_MARGIN 16

/* A head in hand (scan.h); zeroed up to `key` for each. */
struct scan {
	__u32 len; /* of what is in `bytes` */
	__u32 at;
	__u32 line; /* where the field's line, or its value, begins */
	__u32 mode; /* enum scan_mode */
	__u32 is_answer;
	__u32 n_fields;
	__u32 n_hosts;
	__u32 number; /* that is being read, and its digits */
	__u32 n_digits;
	__u32 has_length;
	__u32 length; /* Content-Length */
	__u32 target; /* where the target begins, ends, and its path ends */
	__u32 target_end;
	__u32 path_end;
	__u32 end; /* behind the empty line */
	__u32 method;
	__u64 digest; /* of the bytes */
	struct head_key key;
	__u32 pad;
	__u8 bytes[HEAD_ROOM + SCAN_MARGIN];
};

/* What is zeroed for every packet. */
#define PACKET_FACTS __builtin_offsetof(struct packet, reply)

/*
 * The packet's facts: too big for the 512 bytes of stack that a chain of calls
 * shares. Not pinned: every loaded object has its own, so a test run of a
 * dry-run copy never meets live traffic. Programs of one object do not nest on
 * a CPU: ingress runs in a softirq, egress with softirqs off, and redirects
 * happen after a program has returned.
 */
struct scratch {
	struct packet pkt;
	__u32 last_report[4]; /* jiffies, by event kind */
	struct scan scan;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

#endif
