/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reading cell tables and prefix tables (abi.h says how they are laid out).
 * All of it is array loads: 3-8 ns hot against 33 ns for a BPF hash map and
 * 104 ns for an LPM trie of 8 k entries.
 */
#ifndef TERRACE_CELLS_H
#define TERRACE_CELLS_H

#include <bpf/bpf_endian.h>
#include "maps.h"

/* Five products side by side: as a chain they would cost three times as much. */
static __always_inline __u32 cell_hash(const __u32 key[CELL_KEY_WORDS])
{
	__u64 h;

	h = (key[0] ^ 0x9747b28cULL) * 0x9e3779b97f4a7c15ULL;
	h += (key[1] ^ 0x3c6ef372ULL) * 0xbf58476d1ce4e5b9ULL;
	h += (key[2] ^ 0xdaa66d2bULL) * 0x94d049bb133111ebULL;
	h += (key[3] ^ 0x78dde6e4ULL) * 0xd6e8feb86659fd93ULL;
	h += (key[4] ^ 0x1715609dULL) * 0xa0761d6478bd642fULL;
	h ^= h >> 32;
	h *= 0xe7037ed1a0b428dbULL;
	return h >> 32;
}

/*
 * The cell's value if it is the key's, else 0. Without branches: in a loop the
 * verifier would have to follow each of them.
 */
static __always_inline __u32 cell_value(const struct cell *cell,
					const __u32 key[CELL_KEY_WORDS])
{
	__u64 differs = (cell->key[0] ^ key[0]) | (cell->key[1] ^ key[1]) |
			(cell->key[2] ^ key[2]) | (cell->key[3] ^ key[3]) |
			(cell->key[4] ^ key[4]);

	/* differs - 1 is negative only for 0; its high half is the mask. */
	return cell->value & (__u32)((differs - 1) >> 32);
}

/* The value of `key`, 0 when there is none. `mask` = buckets - 1. */
static __always_inline __u32 cell_lookup(void *table, __u32 mask,
					 const __u32 key[CELL_KEY_WORDS])
{
	__u32 home = cell_hash(key);

	for (__u32 i = 0; i < CELL_PROBES; i++) {
		__u32 index = (home + i) & mask;
		struct cell_bucket *bucket;
		__u32 value;

		bucket = bpf_map_lookup_elem(table, &index);
		if (!bucket)
			return 0;
		value = cell_value(&bucket->cells[0], key) |
			cell_value(&bucket->cells[1], key);
		if (value || !bucket->overflow)
			return value;
	}
	return 0;
}

static __always_inline bool addr_is_v4(const __be32 addr[4])
{
	return addr[0] == 0 && addr[1] == 0 && addr[2] == bpf_htonl(0xffff);
}

static __always_inline __u32 prefix_root_index(const __be32 addr[4])
{
	if (addr_is_v4(addr))
		return bpf_ntohl(addr[3]) >> 16;
	return PREFIX_V6_ROOT + (bpf_ntohl(addr[0]) >> 16);
}

/* Position of the lowest set bit, by de Bruijn: BPF has no such instruction. */
static __always_inline __u32 lowest_bit(__u64 bits)
{
	static const __u8 positions[64] = {
		0,  1,	2,  53, 3,  7,	54, 27, 4,  38, 41, 8,	34, 55, 48, 28,
		62, 5,	39, 46, 44, 42, 22, 9,	24, 35, 59, 56, 49, 18, 29, 11,
		63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21, 23, 58, 17, 10,
		51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12,
	};

	return positions[((bits & -bits) * 0x022fdd63cc95386dULL) >> 58];
}

/* The bits of one address word that a prefix of `length` covers. */
static __always_inline __be32 mask_word(__u32 length, __u32 word)
{
	__s32 bits = length - word * 32, over;

	bits &= ~(bits >> 31); /* at least 0 */
	over = bits - 32;
	bits = 32 + (over & (over >> 31)); /* at most 32 */
	return bpf_htonl((__u32)(0xffffffff00000000ULL >> bits));
}

struct address {
	__be32 words[4];
};

/* The value of the prefix of `addr` that is `length` bits long. */
static __always_inline __u32 prefix_value(void *cells, __u32 mask,
					  const struct address *addr,
					  __u32 length)
{
	__u32 key[CELL_KEY_WORDS];

	for (int word = 0; word < 4; word++)
		key[word] = addr->words[word] & mask_word(length, word);
	key[4] = length;
	return cell_lookup(cells, mask, key);
}

/* Global functions: verified once, not once for every length. */
__noinline __u32 address_prefix(const struct address *addr, __u32 length)
{
	return addr ? prefix_value(&address_cells, address_mask, addr, length) :
		      0;
}

__noinline __u32 deny_prefix(const struct address *addr, __u32 length)
{
	return addr ? prefix_value(&deny_cells, deny_mask, addr, length) : 0;
}

/*
 * Longest match of `addr`, 0 when none. Lengths that no prefix under this
 * root has are never probed, so a lone /32 list costs one root and one cell.
 */
static __always_inline __u32 longest_match(void *roots,
					   const struct address *addr,
					   const bool denies)
{
	__u32 index = prefix_root_index(addr->words);
	struct prefix_root *root = bpf_map_lookup_elem(roots, &index);
	__u64 bits, later;

	if (!root)
		return 0;
	bits = root->lengths[0];
	later = root->lengths[1];
	for (int i = 0; i < 112; i++) {
		__u32 length, value;

		if (bits) {
			length = 128 - lowest_bit(bits);
			bits &= bits - 1;
		} else if (later) {
			length = 64 - lowest_bit(later);
			later &= later - 1;
		} else {
			break;
		}
		value = denies ? deny_prefix(addr, length) :
				 address_prefix(addr, length);
		if (value)
			return value;
	}
	return root->value;
}

__noinline __u32 address_lookup(const struct address *addr)
{
	if (!addr)
		return 0;
	return longest_match(&address_roots, addr, false);
}

__noinline __u32 deny_lookup(const struct address *addr)
{
	if (!addr)
		return 0;
	return longest_match(&deny_roots, addr, true);
}

#endif
