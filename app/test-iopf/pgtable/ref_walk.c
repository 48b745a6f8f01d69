/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stddef.h>

#include "ref_walk.h"
#include "test.h"

/* Bits of an address that index each level: highest and lowest. Without 52-bit addresses. */
static const struct level {
	unsigned int hi, lo;
	bool block;
} levels[3][4] = {
	{ { 47, 39, false }, { 38, 30, true }, { 29, 21, true }, { 20, 12, false } },
	{ { 47, 47, false }, { 46, 36, false }, { 35, 25, true }, { 24, 14, false } },
	{ { 0, 0, false }, { 47, 42, false }, { 41, 29, true }, { 28, 16, false } },
};

struct start {
	unsigned int granule_log2;
	unsigned int first, last;	/* T0SZ */
	unsigned int level;
	unsigned int sl0;
};

static const struct start stage1_starts[] = {
	{ 12, 16, 24, 0, 0 }, { 12, 25, 33, 1, 0 }, { 12, 34, 39, 2, 0 },
	{ 14, 16, 16, 0, 0 }, { 14, 17, 27, 1, 0 }, { 14, 28, 38, 2, 0 }, { 14, 39, 39, 3, 0 },
	{ 16, 16, 21, 1, 0 }, { 16, 22, 34, 2, 0 }, { 16, 35, 39, 3, 0 },
};

/* S2T0SZ that each S2SL0 allows, without small translation tables. */
static const struct start stage2_starts[] = {
	{ 12, 16, 24, 0, 2 }, { 12, 21, 33, 1, 1 }, { 12, 30, 39, 2, 0 },
	{ 14, 16, 27, 1, 2 }, { 14, 24, 38, 2, 1 }, { 14, 35, 39, 3, 0 },
	{ 16, 16, 21, 1, 2 }, { 16, 18, 34, 2, 1 }, { 16, 31, 39, 3, 0 },
};

static const struct start *
find_start(const struct ref_table *table)
{
	const struct start *starts = table->stage2 ? stage2_starts : stage1_starts;
	size_t n = table->stage2 ? sizeof(stage2_starts) : sizeof(stage1_starts);
	size_t i;

	for (i = 0; i < n / sizeof(starts[0]); i++)
		if (starts[i].granule_log2 == table->granule_log2 &&
		    table->txsz >= starts[i].first && table->txsz <= starts[i].last &&
		    (!table->stage2 || starts[i].sl0 == table->sl0))
			return &starts[i];
	return NULL;
}

static uint64_t
bits(uint64_t v, unsigned int hi, unsigned int lo)
{
	return (v >> lo) & ((UINT64_C(2) << (hi - lo)) - 1);
}

static enum ref_result
read_leaf(const struct ref_table *table, uint64_t d, struct ref_leaf *leaf)
{
	unsigned int ap = (unsigned int)bits(d, 7, 6);

	/* SH inner; no contiguous hint, guarded page, PBHA, or bit for software. */
	if (bits(d, 9, 8) != 3 || bits(d, 52, 52) || bits(d, 50, 50) || bits(d, 63, 55))
		return REF_STRAY;
	leaf->accessed = bits(d, 10, 10);
	leaf->dbm = bits(d, 51, 51);
	if (table->stage2) {
		/* MemAttr Normal, inner and outer write-back; no bit 11; XN[0] clear. */
		if (bits(d, 5, 2) != 15 || bits(d, 11, 11) || bits(d, 53, 53))
			return REF_STRAY;
		leaf->priv.read = ap & 1;
		leaf->priv.write = ap & 2;
		leaf->priv.exec = (ap & 1) && !bits(d, 54, 54);
		leaf->unpriv = leaf->priv;
		return REF_LEAF;
	}
	/* AttrIndx 0; NS clear; nG. */
	if (bits(d, 5, 2) || !bits(d, 11, 11))
		return REF_STRAY;
	leaf->priv.read = true;
	leaf->priv.write = !(ap & 2);
	leaf->unpriv.read = ap & 1;
	leaf->unpriv.write = ap == 1;
	leaf->unpriv.exec = leaf->unpriv.read && !bits(d, 54, 54);
	leaf->priv.exec = !leaf->unpriv.write && !bits(d, 53, 53);
	return REF_LEAF;
}

enum ref_result
ref_walk(const struct ref_table *table, uint64_t addr, struct ref_leaf *leaf)
{
	const struct start *start = find_start(table);
	unsigned int top = 63 - table->txsz;	/* the highest bit of an address */
	const struct level *l;
	unsigned int level;
	uint64_t ttb = table->ttb;
	uint64_t at, d;

	if (start == NULL)
		return REF_BAD_CONFIG;
	l = &levels[(table->granule_log2 - 12) / 2][start->level];
	/* The root has an entry for each value of the bits from its level up, in one array. */
	if (ttb & ((UINT64_C(16) << (top - l->lo)) - 1))
		return REF_BAD_CONFIG;
	if (addr >> top > 1)
		return REF_TRANSLATION;
	for (level = start->level;; level++, l++) {
		at = ttb + 8 * bits(addr, level == start->level ? top : l->hi, l->lo);
		d = table->read(table->ctx, at);
		if (!(d & 1))
			return REF_TRANSLATION;
		if (level < 3 && (d & 2)) {
			ttb = d & 0x0000ffffffffffff & ~((UINT64_C(1) << table->granule_log2) - 1);
			/* Attributes for all below, and what is ignored, stay 0. */
			if (d != (ttb | 3))
				return REF_STRAY;
			continue;
		}
		/* Reserved encodings are invalid. */
		if (level == 3 ? !(d & 2) : !l->block)
			return REF_TRANSLATION;
		break;
	}
	*leaf = (struct ref_leaf){ .level = level, .size = UINT64_C(1) << l->lo,
		.desc = at };
	leaf->pa = bits(d, 47, l->lo) << l->lo | bits(addr, l->lo - 1, 0);
	/* Address bits below a block, or nT. */
	if (l->lo > 12 && bits(d, l->lo - 1, 12))
		return REF_STRAY;
	return read_leaf(table, d, leaf);
}

struct ref_table
ref_table_of(const struct pgt *pgt, uint64_t (*read)(void *ctx, uint64_t pa), void *ctx)
{
	struct pgt_info info;

	pgt_info(pgt, &info);
	return (struct ref_table){
		.stage2 = info.stage2,
		.granule_log2 = info.granule_log2,
		.txsz = 64 - info.va_bits,
		.sl0 = (info.granule_log2 == 12 ? 2 : 3) - info.start_level,
		.ttb = info.root,
		.read = read,
		.ctx = ctx,
	};
}

static void
expect_rights(struct ref_rights have, bool any, bool write, bool exec)
{
	assert_int_equal(have.read, any);
	assert_int_equal(have.write, any && write);
	assert_int_equal(have.exec, any && exec);
}

void
ref_expect_leaf(const struct ref_table *table, uint64_t addr, uint64_t pa, uint32_t prot,
		uint64_t size)
{
	bool exec = prot & PGT_EXEC, priv = prot & PGT_PRIV;
	bool clean = (prot & (PGT_WRITE | PGT_CLEAN)) == (PGT_WRITE | PGT_CLEAN);
	bool write = (prot & PGT_WRITE) && !clean;
	struct ref_leaf leaf;

	assert_int_equal(ref_walk(table, addr, &leaf), REF_LEAF);
	assert_int_equal(leaf.pa, pa);
	assert_int_equal(leaf.size, size);
	assert_int_equal(leaf.accessed, !(prot & PGT_OLD));
	/* In a dirty leaf DBM has no meaning. */
	if (!write)
		assert_int_equal(leaf.dbm, clean);
	expect_rights(leaf.unpriv, !priv, write, exec);
	/* In stage 1 what is writable without privilege is not executable with it. */
	expect_rights(leaf.priv, true, write, exec && (table->stage2 || priv || !write));
}

void
ref_expect_fault(const struct ref_table *table, uint64_t addr)
{
	struct ref_leaf leaf;

	assert_int_equal(ref_walk(table, addr, &leaf), REF_TRANSLATION);
}

uint64_t
ref_read_pointer(void *ctx, uint64_t pa)
{
	const uint8_t *p = (const uint8_t *)(uintptr_t)pa;
	uint64_t v = 0;
	int i;

	(void)ctx;
	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}
