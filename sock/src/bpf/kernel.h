/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is read of the kernel's own structures; the loader finds the fields by
 * their names in the running kernel's BTF.
 */
#ifndef TERRACE_KERNEL_H
#define TERRACE_KERNEL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define __kernel_struct __attribute__((preserve_access_index))
#define __ksym __attribute__((section(".ksyms")))

struct seq_file;
struct bpf_map;
struct socket;

struct bpf_iter_meta {
	struct seq_file *seq;
} __kernel_struct;

struct ns_common {
	unsigned int inum;
} __kernel_struct;

struct net {
	struct ns_common ns;
	__u64 net_cookie;
} __kernel_struct;

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	__s64 counter;
} atomic64_t;

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	atomic64_t skc_cookie;
	refcount_t skc_refcnt;
} __kernel_struct;

struct kernfs_node {
	__u64 id;
} __kernel_struct;

struct cgroup {
	struct kernfs_node *kn;
} __kernel_struct;

struct sock_cgroup_data {
	struct cgroup *cgroup;
} __kernel_struct;

typedef struct {
	unsigned int val;
} kuid_t;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	kuid_t sk_uid;
	struct sock_cgroup_data sk_cgrp_data;
	struct socket *sk_socket; /* NULL = closed by its process */
} __kernel_struct;

struct udp_sock;

struct tcp_sock {
	__u64 bytes_sent;
	__u64 bytes_received;
} __kernel_struct;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} __kernel_struct;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __kernel_struct;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} __kernel_struct;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} __kernel_struct;

#endif
