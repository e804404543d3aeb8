/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The contract between the BPF programs and userspace: every structure, number
 * and reason that crosses the boundary is declared here, once. Rust gets the
 * types through BTF and the reasons from the REASONS table below.
 *
 * Addresses are 16 bytes in network order; IPv4 is v4-mapped (::ffff:a.b.c.d).
 * Ports are network order where the name ends in `port` and the type is
 * __be16. Times are jiffies (low 32 bits) unless the name says otherwise.
 * Every table is a BPF array, so userspace updates are index -> value.
 */
#ifndef TERRACE_ABI_H
#define TERRACE_ABI_H

/* Raised whenever a pinned map would be read differently. */
#define ABI_VERSION 1

/* ---- reasons: the one table. X(number, NAME, CLASS, "text") ---- */
/* CLASS: PASS (left to the next tier or the stack), FORWARD, ANSWER, DROP. */
/* clang-format off */
#define REASONS(X) \
	X(1,  NOT_IP,              PASS,    "not IPv4 or IPv6 (ARP, LLDP, ...): left to the stack") \
	X(2,  NOT_OURS,            PASS,    "neither a service, a workload nor a tracked flow: left to the stack") \
	X(3,  MULTICAST,           PASS,    "multicast or broadcast destination: left to the stack") \
	X(4,  NEIGHBOUR_DISCOVERY, PASS,    "IPv6 neighbour discovery: left to the stack") \
	X(5,  TO_TC,               PASS,    "for a local workload or a slower path: passed from XDP to tc") \
	X(6,  ALREADY_HANDLED,     PASS,    "handled by an earlier program of Terrace on this host") \
	X(7,  TTL_EXPIRED,         PASS,    "TTL or hop limit used up: the stack answers with time exceeded") \
	X(8,  NO_ROUTE,            PASS,    "no route to the destination: left to the stack, which answers") \
	X(9,  NO_NEIGHBOUR,        PASS,    "next hop not resolved yet: left to the stack, which resolves it") \
	X(10, TO_FRAGMENT,         PASS,    "larger than the next link's MTU and may be fragmented: left to the stack") \
	X(11, FAIL_OPEN,           PASS,    "daemon silent and the service's fail mode is open: left to the stack") \
	X(12, IFACE_UNKNOWN,       PASS,    "interface is not in the configuration: left to the stack") \
	X(13, HOST_ALLOWED,        PASS,    "to or from the host itself: left to the stack") \
	X(14, L7_FAIL_OPEN,        PASS,    "no live worker and the service's fail mode is open: left to the stack, its requests unseen") \
	X(20, TO_WORKLOAD,         FORWARD, "delivered to a local workload") \
	X(21, TX,                  FORWARD, "sent back out of the interface it came from") \
	X(22, REDIRECT,            FORWARD, "sent out of another interface") \
	X(23, TO_NEIGHBOUR,        FORWARD, "handed to the kernel's neighbour layer, which resolves the next hop") \
	X(24, TO_HOST,             FORWARD, "translated and given to the host's own stack") \
	X(25, ENCAPSULATED,        FORWARD, "encapsulated for direct server return") \
	X(26, ICMP_RELATED,        FORWARD, "ICMP error of a tracked flow, translated and forwarded") \
	X(27, TO_WORKER,           FORWARD, "given to the worker of its flow") \
	X(28, SPLICED,             FORWARD, "translated by its flow's splice and sent on") \
	X(29, SPLICED_COPIED,      FORWARD, "translated by its flow's splice and sent on, a copy given to the worker") \
	X(30, ECHO_REPLY,          ANSWER,  "ICMP echo to a service address, answered") \
	X(31, NO_BACKEND_RESET,    ANSWER,  "service has no ready backend: answered with TCP RST") \
	X(32, NO_BACKEND_REJECT,   ANSWER,  "service has no ready backend: answered with port unreachable") \
	X(33, NO_FLOW_RESET,       ANSWER,  "TCP segment of no known flow to a service: answered with RST") \
	X(34, NO_SERVICE_RESET,    ANSWER,  "service address, no service on this port: answered with TCP RST") \
	X(35, NO_SERVICE_REJECT,   ANSWER,  "service address, no service on this port: answered with port unreachable") \
	X(36, TOO_BIG,             ANSWER,  "larger than the next link's MTU: answered with packet too big") \
	X(37, L7_RESET,            ANSWER,  "flow from before its requests were under rules: answered with RST, so that it opens anew") \
	X(38, REQUEST,             FORWARD, "a request's whole head: allowed and routed by the program, translated and sent on") \
	X(40, DENY_LIST,           DROP,    "source address is on the deny list") \
	X(41, INGRESS_DENIED,      DROP,    "a policy rule denies it towards the workload") \
	X(42, INGRESS_DEFAULT,     DROP,    "no policy rule allows it towards the workload (default deny)") \
	X(43, EGRESS_DENIED,       DROP,    "a policy rule denies it from the workload") \
	X(44, EGRESS_DEFAULT,      DROP,    "no policy rule allows it from the workload (default deny)") \
	X(45, NO_BACKEND,          DROP,    "service has no ready backend (configured to drop)") \
	X(46, NO_SERVICE,          DROP,    "service address, no service on this port (configured to drop)") \
	X(47, FLOWS_FULL,          DROP,    "connection table full: new flow refused, none evicted") \
	X(48, SNAT_PORTS_FULL,     DROP,    "no free source port towards this backend") \
	X(49, NO_FLOW,             DROP,    "TCP segment of no known flow to a service (RST is never answered)") \
	X(50, TRUNCATED,           DROP,    "packet ends inside a header") \
	X(51, BAD_IP_HEADER,       DROP,    "IP version, header length or total length is wrong") \
	X(52, BAD_L4_HEADER,       DROP,    "TCP, UDP or ICMP header is wrong") \
	X(53, FRAGMENT_UNKNOWN,    DROP,    "later fragment whose first fragment was not seen") \
	X(54, FRAGMENT_TINY,       DROP,    "first fragment too small for the transport header") \
	X(55, EXTENSION_HEADERS,   DROP,    "too many IPv6 extension headers") \
	X(56, ROUTING_HEADER,      DROP,    "IPv6 routing header type 0 (RFC 5095)") \
	X(57, SPOOFED_SOURCE,      DROP,    "workload sends from an address that is not its own") \
	X(58, BAD_SOURCE,          DROP,    "source address is multicast, loopback, unspecified, the destination itself or, from the network, one of this host") \
	X(59, FAIL_CLOSED,         DROP,    "daemon silent and the service's fail mode is closed") \
	X(60, HELPER_FAILED,       DROP,    "the kernel refused to change the packet (no head or tail room)") \
	X(61, LOOP,                DROP,    "a backend address leads back to a service address, or the host's own packet back to the host ([socket] services = true translates that at connect)") \
	X(62, L7_NO_WORKER,        DROP,    "for a worker, and none is alive") \
	X(63, L7_UNFIT,            DROP,    "fragment, extension header or foreign frame where a worker takes whole TCP segments only") \
	X(64, CONNECT_DIRECT,      PASS,    "socket: neither to a service nor for a proxy: left as it is") \
	X(65, CONNECT_SERVICE,     FORWARD, "socket: connection to a service, made to a backend") \
	X(66, SEND_SERVICE,        FORWARD, "socket: datagram to a service, sent to a backend") \
	X(67, SEND_MOVED,          FORWARD, "socket: datagram socket moved to another backend, its own is gone") \
	X(68, CONNECT_REFUSED,     DROP,    "socket: service has no ready backend: ECONNREFUSED") \
	X(69, CONNECT_DENIED,      DROP,    "socket: service has no ready backend: EPERM (configured to drop)") \
	X(70, CONNECT_FAIL_OPEN,   PASS,    "socket: daemon silent and the service's fail mode is open: left as it is") \
	X(71, CONNECT_FAIL_CLOSED, DROP,    "socket: daemon silent and the service's fail mode is closed: ECONNREFUSED") \
	X(72, SOCKET_NO_MEMORY,    PASS,    "socket: no memory for the socket's state: left to tc") \
	X(73, BIND_NODE_PORT,      DROP,    "socket: port is a node port of a service: EADDRINUSE") \
	X(74, SOCKET_CLOSED,       DROP,    "socket: closed, its backend is gone: ECONNABORTED") \
	X(75, PROXY_OUTBOUND,      FORWARD, "socket: connection of a workload, made to its proxy") \
	X(76, PROXY_INBOUND,       FORWARD, "socket: connection to a workload, given to its proxy") \
	X(77, PROXY_DNS,           FORWARD, "socket: DNS query of a workload, sent to its proxy") \
	X(78, PROXY_OWN,           PASS,    "socket: the proxy's own: not redirected") \
	X(79, PROXY_EXCLUDED,      PASS,    "socket: port or address is not to be redirected for this workload") \
	X(80, PROXY_DOWN_DIRECT,   PASS,    "socket: the proxy does not listen: not redirected") \
	X(81, PROXY_DOWN_REFUSED,  DROP,    "socket: the proxy does not listen: ECONNREFUSED") \
	X(82, HANDSHAKES_FULL,     PASS,    "socket: table of handshakes is full: the proxy can't learn the original destination") \
	X(83, ORIGINAL_DST,        ANSWER,  "socket: original destination told to the proxy") \
	X(84, SOCKETS_FULL,        PASS,    "socket: no room in the table of sockets: kept in the socket's own storage, which takes longer")
/* clang-format on */

#define REASON_ENUM(number, name, class, text) REASON_##name = number,
enum reason {
	REASON_NONE = 0,
	REASONS(REASON_ENUM) REASON_MAX = 64,
};

/*
 * Reasons from here on are of sockets, not of packets: they are counted in
 * `socket_reasons`, at their number - SOCKET_REASONS_FIRST.
 */
#define SOCKET_REASONS_FIRST 64
#define SOCKET_REASONS 64

enum hook {
	HOOK_XDP = 0,
	HOOK_TC_INGRESS = 1,
	HOOK_TC_EGRESS = 2,
	HOOK_MAX = 3,
	HOOK_SOCKET = 3, /* has `socket_reasons`, not `reasons` */
};

enum role {
	ROLE_NONE = 0,
	ROLE_UPLINK = 1,
	ROLE_WORKLOAD = 2,
	ROLE_L7_PORT = 3, /* the end of the l7 port that tc serves */
};

/* ---- cells: the one shape of every exact-match table ---- */
/*
 * Open addressing over 64-byte buckets of two cells. A key's home bucket is
 * cell_hash(key) & mask; a key that finds its bucket full goes on to the next
 * one, up to CELL_PROBES buckets, and adds one to `overflow` of every bucket
 * that it passed over, so that a lookup stops at a bucket with overflow 0.
 * A cell with value 0 is empty. Cells never move, so a reader needs no lock;
 * userspace lets a grace period pass before it gives a freed cell a new key.
 */
#define CELL_KEY_WORDS 5
#define CELLS_PER_BUCKET 2
#define CELL_PROBES 8

struct cell {
	__u32 key[CELL_KEY_WORDS];
	__u32 value;
};

struct cell_bucket {
	struct cell cells[CELLS_PER_BUCKET];
	__u32 overflow;
	__u32 pad[3];
};

/*
 * ---- prefix tables (addresses, deny list): longest match in two steps ----
 * roots[prefix_root_index(addr)] covers one /16 (IPv4 in 0..65535, IPv6 in
 * 65536..131071, by the first 16 bits of the address). `value` is the longest
 * prefix of at most 16 bits; bit (128 - length) of `lengths` says that a
 * longer prefix of that length starts under this root. Lengths count in the
 * 128-bit form, so IPv4 /32 is 128 and /24 is 120. Longer prefixes are cells:
 * key = the four address words masked, and the length; value as the root's.
 */
#define PREFIX_ROOTS 131072
#define PREFIX_V6_ROOT 65536

struct prefix_root {
	__u64 lengths[2]; /* [0]: bit 0 = /128 ... bit 63 = /65; [1]: /64 ... /1 */
	__u32 value;
	__u32 pad[3];
};

/* ---- addresses -> endpoints ---- */
enum endpoint_flags {
	ENDPOINT_WORKLOAD = 1,	   /* a local workload behind `ifindex` */
	ENDPOINT_HOST = 2,	   /* an address of this host */
	ENDPOINT_SERVICE = 4,	   /* service_cells has entries for it */
	ENDPOINT_VIRTUAL = 8,	   /* service address that no host owns */
	ENDPOINT_INGRESS = 16,	   /* policy enforced towards it */
	ENDPOINT_EGRESS = 32,	   /* policy enforced from it */
	ENDPOINT_REMOTE_NODE = 64, /* an address of another host */
	ENDPOINT_NO_PEER = 128,	   /* not a veth: no bpf_redirect_peer */
};

/*
 * An address table value is an index here; entry 0 is "everything else"
 * (identity world). A prefix of a CIDR rule has an entry with an identity only.
 */
struct endpoint {
	__u32 identity;
	__u32 flags;
	__u32 ifindex;	   /* host side of a workload, else 0 */
	__u8 mac[6];	   /* of the workload's side; all zero = not known */
	__u8 iface_mac[6]; /* of the host's side */
	__u32 pad[2];
};

/* Reserved identities; the numbers are Cilium's. */
enum identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_UNMANAGED = 3,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_FIRST_LABELS = 256,
	IDENTITY_FIRST_CIDR = 0x1000000,
};

/*
 * ---- services ----
 * service_cells: key = address words, be16 port << 16 | protocol; value =
 * index into `services` (never 0). The 5th key word is
 * service_key_word(port, proto).
 */
enum service_flags {
	SERVICE_DSR = 1,    /* IPIP / IP6IP6 to remote backends */
	SERVICE_REJECT = 2, /* answer when no backend is ready, else drop */
	SERVICE_AFFINITY = 4,
	SERVICE_NODE_PORT = 8,	/* a node port: on loopback addresses too */
	SERVICE_TERMINATE = 16, /* TCP sockets end with their backend */
	SERVICE_L7 = 32,	/* TCP: a worker answers, reads and routes */
};

enum fail_mode {
	FAIL_LAST = 0, /* keep the L4 state */
	FAIL_OPEN = 1,
	FAIL_CLOSED = 2,
};

struct service {
	__u32 n_backends;  /* that take new flows */
	__u32 maglev;	   /* index into `maglevs` */
	__u32 maglev_size; /* entries of that ring */
	__u32 affinity_secs;
	__u16 flags;
	__u8 fail_mode;
	__u8 proto;
	__be16 port;
	__u16 pad;
	__u32 group; /* same Service and port: affinity is shared */
	__u32 pad2;
};

enum backend_flags {
	BACKEND_READY = 1,    /* takes new flows */
	BACKEND_DRAINING = 2, /* keeps its flows, takes no new one */
	BACKEND_LOCAL = 4,    /* a workload of this host */
};

struct backend {
	__be32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u32 group; /* of struct service */
	__u32 pad[2];
};

struct backend_stats {	  /* per CPU */
	__u64 packets[2]; /* [0] towards the backend, [1] from it */
	__u64 bytes[2];
	__u64 connections;
};

struct affinity_key {
	__be32 client[4];
	__u32 group;
};

struct affinity {
	__u32 backend;
	__u32 last_seen;
};

/*
 * ---- policy ----
 * The (protocol, port) pairs that the rules tell apart fall into classes:
 * port_classes[policy_class_index(gen, proto_row, port)] holds four __u16 in
 * one __u64, lowest port in the lowest bits. Class 0 = no rule names it.
 * For ICMP the "port" is the type.
 *
 * policy_cells: key[0] subject identity, key[1] remote identity (0 = any),
 * key[2] class or POLICY_ROW, key[3] = direction | gen << 8, key[4] = 0.
 * value = policy_value bits | rule number << 8 (rule 0 = default; with L7 the
 * number is that of a set of rules on requests).
 * Lookup, first hit wins: row(remote) [its cell(class) when it has cells, else
 * its own verdict], then row(any) likewise, else default deny. A row without
 * ALLOW and DENY is default deny. The compiler resolves deny over allow and
 * the wildcard row into every more specific row, so that first hit is right.
 * gen = policy_rev & 1: a change writes the other generation, then flips.
 */
#define POLICY_ROW 0xffffffff
#define POLICY_CLASS_ROWS 5 /* TCP, UDP, SCTP, ICMP, ICMPv6 */
#define POLICY_CLASS_ENTRIES (2 * POLICY_CLASS_ROWS * 16384)

enum direction {
	DIRECTION_INGRESS = 0, /* subject is the destination */
	DIRECTION_EGRESS = 1,  /* subject is the source */
};

enum policy_value {
	POLICY_ALLOW = 1,
	POLICY_DENY = 2,
	POLICY_HAS_CELLS = 4,
	POLICY_L7 = 8, /* with ALLOW: what rule set `rule number` allows */
};

/* ---- flows ---- */
enum flow_kind {
	FLOW_FREE = 0,
	FLOW_ORIG = 1,	/* key = the packet as the opener sends it */
	FLOW_REPLY = 2, /* key = the packet as the answerer sends it */
};

enum flow_state {
	FLOW_NEW = 0,	      /* TCP: SYN seen; half open */
	FLOW_ESTABLISHED = 1, /* TCP: answered */
	FLOW_CLOSING = 2,     /* TCP: one FIN */
	FLOW_CLOSED = 3,      /* TCP: both FIN, or RST */
	FLOW_UDP = 4,	      /* not answered */
	FLOW_UDP_STREAM = 5,  /* answered */
	FLOW_ICMP = 6,
	FLOW_OTHER = 7,
	FLOW_STATES = 8,
};

enum flow_flags {
	FLOW_NAT = 1,  /* new_* differs from the key */
	FLOW_SNAT = 2, /* source port taken from the pool */
	FLOW_DSR = 4,
	FLOW_FIN_ORIG = 8,
	FLOW_FIN_REPLY = 16,
	FLOW_SPILLED = 32, /* sits in its second bucket */
	FLOW_LOCAL = 64,   /* either end is a local workload: tc serves it */
	FLOW_POLICY = 128, /* either end is under policy: recheck on change */
	FLOW_FAIL_OPEN = 256,
	FLOW_FAIL_CLOSED = 512,
	FLOW_BY_XDP = 1024,    /* last packet was served by XDP, else tc */
	FLOW_ANSWERED = 2048,  /* the other end has sent something */
	FLOW_L7 = 4096,	       /* a worker's; `service` is its number */
	FLOW_FROM_HERE = 8192, /* this direction's source is of this host */
};

struct flow_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

/*
 * 128 bytes. The first cache line is all that a lookup reads: key, sequence,
 * state. `seq` is odd while a slot is written; a reader that sees it change
 * has read nothing. A slot number is bucket * FLOW_SLOTS + slot.
 */
struct flow {
	__u32 seq;
	__u32 last_seen;
	struct flow_key key;
	__u16 flags;
	__u8 kind;
	__u8 state;
	__u32 peer; /* slot number of the other direction */
	__u32 policy_rev;
	/* Of slot 0: keys that have this bucket first and sit in their second. */
	__u32 spilled;
	__be32 new_saddr[4];
	__be32 new_daddr[4];
	__be16 new_sport;
	__be16 new_dport;
	__u32 service; /* index, 0 = none; FLOW_L7: index into `splices` */
	__u32 backend; /* index, 0 = none */
	__u32 created;
	__u64 packets; /* of this direction */
	__u64 bytes;
};

#define FLOW_SLOTS 4

struct flow_bucket {
	struct flow slots[FLOW_SLOTS];
};

struct fragment_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be32 id;
	__u32 proto;
};

struct fragment {
	__be16 sport;
	__be16 dport;
	__u32 last_seen;
};

/* ---- sockets ---- */
enum peer_flags {
	PEER_SERVICE = 1,  /* `asked` is a service, `got` one of its backends */
	PEER_OUTBOUND = 2, /* `got` is the workload's proxy */
	PEER_DNS = 4,	   /* `got` is the proxy's DNS port */
	PEER_ACCEPTED = 8, /* the proxy's end: `asked` = original destination */
	PEER_CONNECTED = 16,
	PEER_TERMINATE = 32, /* ends with its backend, also if TCP */
};

/* What a socket asked the kernel for, and what it got instead. */
struct peer {
	__be32 asked[4];
	__be32 got[4];
	__be16 asked_port;
	__be16 got_port;
	__u16 flags;
	__u8 proto;
	__u8 pad;
	__u32 service; /* index, 0 = none */
	__u32 backend; /* index, 0 = none */
};

/*
 * What connected sockets asked for: a set-associative table by socket cookie,
 * which the kernel never gives twice. Cookies come in sequence, so sockets that
 * are opened one after the other share a bucket and its first cache line. A way
 * is claimed by its cookie and given back when the socket is closed.
 */
#define SOCKET_WAYS 8

struct socket_record {
	struct peer peer;
	/*
	 * Address of the kernel's struct sock, for iterators: whether the
	 * socket still lives, and where it is. 0 = not written yet.
	 */
	__u64 sk;
};

struct socket_bucket {
	__u64 cookies[SOCKET_WAYS]; /* 0 = free */
	struct socket_record records[SOCKET_WAYS];
};

/* What a sweep found in one bucket. */
struct socket_sweep {
	__u32 used;
	__u32 swept; /* their sockets were gone */
};

/* A datagram socket that is not connected talks to several at once. */
#define DATAGRAM_PEERS 8

struct datagram_peers {
	struct peer peers[DATAGRAM_PEERS];
	__u32 next; /* overwritten next */
	__u32 pad;
};

/* One line of `terrace sockets`. */
struct socket_row {
	struct peer peer;
	__be32 local[4];
	__u64 cookie;
	__u64 netns; /* inode number */
	__u64 cgroup;
	__u64 sent; /* bytes; TCP only */
	__u64 received;
	__be16 local_port;
	__u8 state; /* of the kernel: 1 = established */
	__u8 pad;
	__u32 uid;
};

/* What a process asks for, as `terrace explain` puts it. */
struct connect_question {
	__be32 addr[4];
	__be32 client[4]; /* all zero = not bound */
	__u64 netns;	  /* cookie */
	__u64 cgroup;	  /* 0 = none of those that have a proxy */
	__u64 cookie;	  /* of the socket; 0 = choose at random */
	__u32 uid;
	__u32 gid;
	__u32 mark;
	__be16 port;
	__u8 proto;
	__u8 is_v4;
};

struct connect_answer {
	struct peer peer;
	__u32 reason;
	__u32 workload;
	__u32 redirect; /* reason of the workload's lists, 0 = has no proxy */
	__u32 pad;
};

/* Argument of the program `explain_connect`. */
struct connect_explain {
	struct connect_question question;
	struct connect_answer answer;
};

/*
 * A workload with a proxy is known by its network namespace's cookie or by its
 * cgroup. Its lists are under the number `rules`, a new one for each version.
 */
enum workload_key_kind {
	WORKLOAD_BY_NETNS = 1,
	WORKLOAD_BY_CGROUP = 2,
};

struct workload_key {
	__u64 id;
	__u32 kind;
	__u32 pad;
};

enum workload_flags {
	WORKLOAD_OUTBOUND = 1,	   /* redirect what it connects to */
	WORKLOAD_INBOUND = 2,	   /* redirect what connects to it */
	WORKLOAD_DNS = 4,	   /* redirect port 53 */
	WORKLOAD_ALL_NETS = 8,	   /* else only those of its list */
	WORKLOAD_ALL_INBOUND = 16, /* else only ports of its list */
	WORKLOAD_FAIL_DIRECT =
		32, /* the proxy does not listen: go on without */
	WORKLOAD_PROXY_CGROUP = 64,
	WORKLOAD_PROXY_UID = 128,
	WORKLOAD_PROXY_GID = 256,
	WORKLOAD_PROXY_MARK = 512,
};

struct workload {
	__u32 rules;
	__u32 flags;
	__be32 addr4[4]; /* its own; all zero = none */
	__be32 addr6[4];
	__u64 netns; /* cookie */
	__u64 proxy_cgroup;
	__u32 proxy_uid;
	__u32 proxy_gid;
	__u32 proxy_mark;
	__be16 outbound_port;
	__be16 inbound_port;
	__be16 dns_port;
	__u16 pad;
	__u32 number; /* of the daemon's list */
};

enum port_list {
	PORTS_OUTBOUND_INCLUDED = 1,
	PORTS_OUTBOUND_EXCLUDED = 2,
	PORTS_INBOUND_INCLUDED = 3,
	PORTS_INBOUND_EXCLUDED = 4,
};

struct proxy_port_key {
	__u32 rules;
	__be16 port;
	__u8 list;
	__u8 pad;
};

enum net_list {
	NETS_INCLUDED = 1,
	NETS_EXCLUDED = 2,
};

#define PROXY_NET_HEAD_BITS 64

struct proxy_net_key { /* of an LPM trie */
	__u32 bits;    /* PROXY_NET_HEAD_BITS + those of the 128-bit form */
	__u32 rules;
	__u32 list;
	__be32 addr[4];
};

/* From a client's SYN to its proxy until the proxy's kernel has the socket. */
struct handshake_key {
	__u64 netns;
	__be32 client[4];
	__be16 client_port;
	__be16 proxy_port;
	__u32 pad;
};

struct listener_key {
	__u64 netns;
	__be16 port;
	__u16 family; /* AF_INET, or AF_INET6, which may take IPv4 too */
	__u32 pad;
};

/*
 * ---- L7 ----
 * A flow is a worker's when its service has SERVICE_L7 or the policy that
 * allows it has POLICY_L7. Its segments go to the worker through the l7 port, a
 * veth pair: tc sends them out of one end (config.l7_ifindex), the worker has
 * XDP sockets on the other. What the worker sends comes back into tc there.
 *
 * On the port the Ethernet addresses are a struct l7_frame; the IP packet is
 * as it came, its checksums whole, TCP segmented.
 *
 * Workers may have sockets on the queues of an uplink, too: XDP gives them the
 * same frames there, without the port. Only what clients send comes that way,
 * and only while the owner of the flow and the socket's worker both live; all
 * else comes by the port. The worker's answers always leave by the port.
 */
#define L7_MAGIC 0x6e /* first byte of a locally administered unicast address */
#define L7_QUEUES_MAX 64
#define L7_SOCKETS_MAX 256 /* on queues of uplinks; worker = index % workers */
#define L7_NO_NUMBER 0xffffffff

enum l7_kind {
	L7_UP = 1,   /* to the worker: waits for it */
	L7_COPY = 2, /* to the worker: has been sent on already */
	L7_TO_CLIENT =
		3, /* from the worker, addresses as the client sees them */
	L7_TO_SERVER =
		4, /* from the worker, addresses as the server sees them */
};

struct l7_frame {
	__u8 magic;
	__u8 kind;	 /* enum l7_kind */
	__u16 queue;	 /* of the worker that has the flow */
	__u16 number[2]; /* of the flow, low half first; L7_NO_NUMBER = none */
	__u16 identity[2]; /* of the packet's source, low half first */
	__be16 proto;	   /* IPv4 or IPv6 */
};

/*
 * `l7_workers`: one a queue, mapped and written by the worker. Alive = beat_ns
 * is at most config.l7_timeout_ms old by CLOCK_MONOTONIC_COARSE.
 */
struct l7_worker {
	__u64 beat_ns;
	__u32 generation; /* another one at each start */
	__u32 pad;
	__u64 pad2[6];
};

/*
 * `splices`: by the number of a flow, mapped and written by its worker only.
 * The model is daemon/l7/src/splice.rs; numbers are host byte order. `seq` is
 * odd while the worker writes; a reader that sees it change has read nothing.
 * A packet whose flow is not that of the four ends goes to the worker: ends of
 * zeroes are no splice.
 *
 * The worker fills in the four ends before it sends a SYN to a server, with
 * SPLICE_OPENING: tc makes the two flows (client to service, server to source)
 * when that SYN comes, if policy allows them. Until the splice is bound all
 * that belongs to them goes up.
 */
enum splice_mode {
	SPLICE_TIMESTAMPS = 1,
	SPLICE_SACK = 2,      /* else the client's blocks are blanked */
	SPLICE_ALL_UP = 4,    /* everything from the client comes up */
	SPLICE_TUNNEL = 8,    /* everything passes both ways */
	SPLICE_HOLD = 16,     /* up instead of a copy */
	SPLICE_HEADS = 32,    /* heads that `heads` allows pass */
	SPLICE_ASKED = 64,    /* with HEADS: an answer begins at quiet_until */
	SPLICE_OPENING = 128, /* ends only: everything comes up */
};

#define SPLICE_MAX_RAISE 65536

/*
 * A set of `head_rules` in which a head has to find `want`; set 0 = none. All
 * of a flow's sets have to agree: its routes, and each direction's policy.
 */
#define HEAD_SETS 3

struct head_set {
	__u32 set;
	__u32 want;
};

struct splice {
	__u32 seq;
	__u32 binding; /* bit 0: which of the notes is this binding's */
	__be32 client[4];
	__be32 service[4];
	__be32 source[4];
	__be32 server[4];
	__be16 client_port;
	__be16 service_port;
	__be16 source_port;
	__be16 server_port;
	__u32 down_delta;
	__u32 up_delta;
	__u32 ts_delta;
	__u32 open_from;
	__u32 open_until;
	__u32 quiet_until;
	__u32 ack_floor;
	__u32 window_cap;
	__u8 client_scale;
	__u8 client_scale_told;
	__u8 server_scale;
	__u8 server_scale_told;
	__u8 mode; /* enum splice_mode */
	__u8 pad[3];
	__u32 service_index; /* 0 = none: a policy asked for the worker */
	__u32 backend;	     /* index, 0 = none */
	struct head_set heads[HEAD_SETS];
	__u32 generation; /* of the rules that `heads` is of */
	__u32 pad2;
};

/* What is noted of segments that pass; the fields are Progress' of the model. */
struct splice_note {
	__u32 server_nxt;
	__u32 server_ack;
	__u32 server_edge;
	__u32 client_ack;
	__u32 ts_value;
	__u32 packets; /* that passed, both ways */
};

/*
 * `splice_progress`: by number, written by the programs. The worker writes
 * notes[binding & 1] before the splice of a new binding: a program that still
 * has the old one in hand writes to the other.
 */
struct splice_progress {
	struct splice_note notes[2];
	__u64 bytes[2]; /* of packets that passed, [0] towards the server */
};

/*
 * ---- requests that pass without a worker ----
 * On a splice with SPLICE_HEADS a segment that is exactly one request head
 * (GET, HEAD, OPTIONS, DELETE without a body) at the place where the next one
 * is due passes, when all sets of the splice find what they want. The model is
 * daemon/l7/src/splice/heads.rs. What the program is not sure of goes up.
 *
 * `head_rules` is a longest-prefix trie of bytes: set, method, then the
 * target as it stands in the head (sets of policies) or its path alone (sets
 * of routes, HEAD_ROUTES), with one blank behind it. Numbers of sets are not
 * used again for another content.
 */
#define HEAD_MAX 992	  /* bytes of a head that is looked at */
#define HEAD_ROOM 1024	  /* that are copied to find one */
#define HEAD_PATH_MAX 123 /* bytes of a path that rules tell apart */
#define HEAD_FIELDS_MAX 64
#define HEAD_ROUTES 0x80000000 /* bit of a set's number */

enum head_method {
	HEAD_GET = 1,
	HEAD_HEAD = 2,
	HEAD_OPTIONS = 3,
	HEAD_DELETE = 4,
};

struct head_key { /* of an LPM trie */
	__u32 bits;
	__u32 set; /* host byte order */
	__u8 method;
	__u8 path[HEAD_PATH_MAX];
};

enum head_state {
	HEAD_ANSWER_DUE = 0,   /* at answer_at, its head was not read yet */
	HEAD_ANSWER_KNOWN = 1, /* it ends at answer_end */
};

/*
 * `head_notes`: by number, written by the programs. `seq` is odd while one
 * writes, and is its lock. It counts for a splice of the same binding whose
 * open_until is `base`; then the next head is due at head_next.
 */
struct head_note {
	__u32 seq;
	__u32 binding;
	__u32 base;
	__u32 heads;   /* that passed in this binding */
	__u32 head_at; /* the last one, the client's numbers */
	__u32 head_next;
	__u64 digest;	 /* of its bytes */
	__u32 answer_at; /* the server's numbers */
	__u32 answer_end;
	__u8 state;  /* enum head_state */
	__u8 method; /* of the last one */
	__u16 pad;
	__u32 pad2[5];
};

/* ---- interfaces, configuration ---- */
#define IFACES_MAX 1024 /* power of two; open addressing by ifindex */
#define IFACE_PROBES 8

enum iface_flags {
	/*
	 * XDP_TX does not wake the other end (veth whose peer has no XDP
	 * program: frames wait in its ring; Linux 6.18): redirect instead.
	 */
	IFACE_REDIRECT_BACK = 1,
};

struct iface {
	__u32 ifindex; /* 0 = free */
	__u8 role;
	__u8 prefilter_hook; /* enum hook where the deny list runs for it */
	__u8 mac[6];
	__u32 mtu;
	__be32 addr4[4]; /* source for hairpin NAT; all zero = none */
	__be32 addr6[4];
	__u32 flags;
	/* Workers' sockets on its queues 0..: entries of `uplink_sockets`. */
	__u16 l7_first;
	__u16 l7_sockets; /* 0 = what is for workers goes to the l7 port */
};

struct reason_stats { /* per CPU; index = reason_index(slot, hook, reason) */
	__u64 packets;
	__u64 bytes;
};

enum config_flags {
	CONFIG_DENY_LIST = 1, /* the deny list is not empty */
	CONFIG_CHECK_SOURCE =
		2, /* workloads may only send from their address */
	CONFIG_HOST_INGRESS = 4, /* the host always reaches its workloads */
	CONFIG_ANSWER_ECHO = 8,
};

struct config {
	__u32 abi_version;
	__u32 hash_seed;
	__u32 policy_rev; /* bit 0 = generation in use */
	__u32 nexthop_rev;
	__u32 hz;
	__u32 heartbeat_timeout; /* jiffies */
	__u32 flags;
	__u16 snat_port_min; /* host order */
	__u16 snat_port_max;
	__u32 timeouts[FLOW_STATES]; /* jiffies */
	__be32 host_addr4[4];	     /* source when a workload meets itself */
	__be32 host_addr6[4];
	/* The L7 tier; see "L7" below. */
	__u32 l7_ifindex;    /* tc's end of the l7 port; 0 = no workers */
	__u32 l7_queues;     /* workers; at most L7_QUEUES_MAX */
	__u32 l7_flows;	     /* numbers of a worker: worker = number / this */
	__u32 l7_timeout_ms; /* of a worker's heartbeat */
	__u16 l7_port_min;   /* host order: source ports of workers */
	__u16 l7_port_max;
	__u32 l7_generation; /* of the rules on requests; 0 = none are here */
	__u64 l7_secret;     /* of digests of heads */
};

struct heartbeat {
	__u32 last; /* jiffies, written by the `beat` program */
	__u32 pad;
};

struct nexthop { /* per CPU cache of bpf_fib_lookup */
	__be32 daddr[4];
	__u32 rev;
	__u32 ifindex;
	__u32 mtu;
	__u8 smac[6];
	__u8 dmac[6];
};

/* What `sweep` did in one call; see tables.bpf.c. */
struct sweep {
	__u32 cursor;	 /* in: first bucket; out: the next one */
	__u32 n_buckets; /* in: how many to look at */
	__u32 live;
	__u32 expired;
	__u32 by_state[FLOW_STATES];
};

/* What a NIC did for a flow; see `credit` in tables.bpf.c. */
struct credit {
	struct flow_key key;
	__u32 created; /* of the flow that is meant */
	__u32 found;   /* out: it is there still */
	__u64 packets;
	__u64 bytes;
};

/* What a dry run (terrace explain) found out. */
struct trace {
	__u32 reason;
	__u32 service;
	__u32 backend;
	__u32 src_identity;
	__u32 dst_identity;
	__u32 policy; /* policy value of the deciding lookup; 0 = none made */
	__u32 policy_direction;
	__u32 flow_kind; /* FLOW_FREE = no flow yet */
	__u32 flow_state;
	__u32 out_ifindex;
	struct flow_key key;
	__be32 new_saddr[4];
	__be32 new_daddr[4];
	__be16 new_sport;
	__be16 new_dport;
};

enum event_kind {
	EVENT_NO_NEIGHBOUR = 1,
	EVENT_FLOWS_FULL = 2,
	EVENT_SNAT_PORTS_FULL = 3,
};

struct event { /* ring buffer `events`, at most one per kind, CPU and jiffy */
	__u32 kind;
	__u32 ifindex;
	__be32 addr[4];
	__u32 service;
	__u32 pad;
};

/*
 * ---- same-host shortcut ----
 * A pair is the two sockets of one TCP connection on this host. Its key is
 * what no address translation touches: the first sequence number of either
 * end, as both ends see them (Linux draws both at random).
 */
/* clang-format off */
#define SHORTCUT_REASONS(S) \
	S(0, JOINED,     "from socket to socket, past the stack") \
	S(1, ALONE,      "the other end is not a socket of the chosen cgroups and ports of this host") \
	S(2, OFF,        "switched off") \
	S(3, POLICY,     "policy does not allow it") \
	S(4, WATCHED,    "the reader has not been seen to read yet") \
	S(5, IN_FLIGHT,  "bytes that went through the stack are not read yet and may not be overtaken") \
	S(6, BACKLOG,    "the reader is slow: the stack's flow control takes over") \
	S(7, BULK,       "much in one direction: the stack is as fast") \
	S(8, REFRESH,    "one message in a while keeps connection tracking alive") \
	S(9, CLOSING,    "one of the ends is closing") \
	S(10, SPLICE,    "the reader uses splice()") \
	S(11, WAITALL,   "the reader uses MSG_WAITALL") \
	S(12, URGENT,    "the sender uses out-of-band data") \
	S(13, MPTCP,     "the connection is Multipath TCP") \
	S(14, ZEROCOPY,  "the sender uses MSG_ZEROCOPY") \
	S(15, FULL,      "the table of pairs is full")
/* clang-format on */

#define SHORTCUT_ENUM(number, name, text) SHORTCUT_##name = number,
enum shortcut_reason {
	SHORTCUT_REASONS(SHORTCUT_ENUM) SHORTCUT_REASON_MAX = 16
};

enum shortcut_way {
	SHORTCUT_BY_STACK = 0,
	SHORTCUT_BY_SOCKET = 1,
};

enum shortcut_side {
	SHORTCUT_CLIENT = 0, /* called connect() */
	SHORTCUT_SERVER = 1, /* accepted */
	SHORTCUT_SIDES = 2,
};

/* May what one end sends go to the other's socket? Decided once, atomically. */
enum shortcut_claim {
	SHORTCUT_UNDECIDED = 0,
	SHORTCUT_USED = 1,   /* bytes went from socket to socket */
	SHORTCUT_BARRED = 2, /* the reader does what joined sockets can't */
};

struct shortcut_key {
	__u32 client_isn; /* first sequence number of payload */
	__u32 server_isn;
};

struct shortcut_socket_key { /* of the sockhash */
	struct shortcut_key pair;
	__u32 side;
};

struct shortcut_end { /* one socket, and what it has sent */
	__u64 sock;   /* the kernel's address of it; 0 = none or closed */
	__u64 cookie;
	__be32 local_addr[4];
	__be32 remote_addr[4];
	__be16 local_port;
	__be16 remote_port;
	__u32 claim;
	__u32 barred;	 /* enum shortcut_reason for good, 0 = none */
	__u32 way;	 /* of the last message: enum shortcut_way */
	__u32 reason;	 /* of the last message */
	__u32 refreshed; /* jiffies of the last message through the stack */
	__u64 run_bytes; /* since the other end sent something */
	__u64 socket_bytes;
	__u64 socket_messages;
	__u64 stack_bytes;
	__u64 stack_messages;
};

struct shortcut_pair {
	struct shortcut_end ends[SHORTCUT_SIDES];
	__u32 policy_rev; /* that `verdict` is of */
	__u32 verdict;	  /* 0 = allowed, else a reason of the table above */
	__u32 created;
	__u32 pad;
};

struct shortcut_config {
	__u32 enabled;
	__u32 n_ports;	     /* 0 = any port */
	__u32 backlog_bytes; /* not read, above which the stack takes over */
	__u32 bulk_bytes;    /* in one direction; 0 = no limit */
	__u32 refresh;	     /* jiffies; 0 = never */
	__u32 flags;
};

/* What a look at all pairs found out. */
struct shortcut_observed {
	__u32 pairs;
	__u32 unread; /* ends with bytes by socket that are not read yet */
	__u32 swept;  /* pairs removed whose sockets are gone */
	__u32 pad;
};

struct shortcut_stats { /* per CPU; index = enum shortcut_reason */
	__u64 messages;
	__u64 bytes;
};

/* Per CPU; index = enum shortcut_event. */
enum shortcut_event {
	SHORTCUT_EVENT_PAIRED = 0,  /* both ends found */
	SHORTCUT_EVENT_CLOSED = 1,  /* pairs removed */
	SHORTCUT_EVENT_SPLIT = 2,   /* by a policy change */
	SHORTCUT_EVENT_REFUSED = 3, /* socket options refused */
	SHORTCUT_EVENT_FULL = 4,    /* no room for a pair */
	SHORTCUT_EVENT_MAX = 8,
};

/*
 * ---- maps: names as in maps.h, pinned under <pin root>/maps ----
 * array:        config[1] heartbeat[1] ifaces[IFACES_MAX]
 *               services[] service_cells[] backends[] endpoints[]
 *               address_roots[PREFIX_ROOTS] address_cells[]
 *               deny_roots[PREFIX_ROOTS] deny_cells[]
 *               port_classes[POLICY_CLASS_ENTRIES] policy_cells[]
 *               flows[buckets] flow_locks[1024] traces[1]
 *               splices[] splice_progress[] head_notes[]
 *               l7_workers[L7_QUEUES_MAX]: these four may be mapped
 * LPM trie:     head_rules
 * array of maps: maglevs[]: inner array of __u64 = two __u32 backend indexes,
 *               the even slot in the low half; slot i of ring = entry i / 2
 * per-CPU array: reasons[IFACES_MAX * HOOK_MAX * REASON_MAX]
 *               backend_stats[] nexthops[1024] socket_reasons[SOCKET_REASONS]
 * LRU hash:     affinities fragments
 * sockets:      socket_records (array, a power of two: bucket = cookie /
 *               SOCKET_WAYS & (n - 1)), socket_peers datagram_peers (socket
 *               storage), workloads
 *               inbound proxy_ports handshakes (hash), proxy_nets (LPM trie),
 *               listeners (sockhash): made by the socket tier when it is used
 * other:        events (ring buffer), xdp_programs (program array, 1)
 *               uplink_sockets (XSKMAP, L7_SOCKETS_MAX): of the XDP programs
 * Table sizes are powers of two for cells and flows (index = hash & (n - 1)).
 */

#endif
