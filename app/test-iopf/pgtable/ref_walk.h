/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef REF_WALK_H
#define REF_WALK_H

/*
 * A walker of VMSAv8-64 tables for tests, as strict as an SMMU may be. It shares no code and no
 * constant with lib/pgtable, and takes what the driver would write to a CD or an STE.
 */

#include <stdbool.h>
#include <stdint.h>

#include <pgtable.h>

struct ref_table {
	bool stage2;
	unsigned int granule_log2;
	unsigned int txsz;		/* T0SZ or S2T0SZ */
	unsigned int sl0;		/* S2SL0 */
	uint64_t ttb;			/* TTB0 or S2TTB */
	uint64_t (*read)(void *ctx, uint64_t pa);
	void *ctx;
};

enum ref_result {
	REF_LEAF,
	REF_TRANSLATION,	/* F_TRANSLATION */
	REF_BAD_CONFIG,		/* C_BAD_STE, C_BAD_CD */
	REF_STRAY,		/* a descriptor with bits that lib/pgtable does not use */
};

struct ref_rights {
	bool read, write, exec;
};

struct ref_leaf {
	unsigned int level;
	uint64_t size;
	uint64_t pa;		/* of the address */
	uint64_t desc;		/* address of its descriptor */
	bool accessed;		/* AF */
	bool dbm;
	struct ref_rights priv, unpriv;
};

enum ref_result ref_walk(const struct ref_table *table, uint64_t addr, struct ref_leaf *leaf);
/* The fields as pgtable.h says that a driver makes them. */
struct ref_table ref_table_of(const struct pgt *pgt, uint64_t (*read)(void *ctx, uint64_t pa),
		void *ctx);
/*
 * Fail the test unless the walk ends at a leaf that maps addr to pa with prot, and is accessed,
 * unless PGT_OLD, and dirty, unless PGT_CLEAN.
 */
void ref_expect_leaf(const struct ref_table *table, uint64_t addr, uint64_t pa, uint32_t prot,
		uint64_t size);
void ref_expect_fault(const struct ref_table *table, uint64_t addr);
/* For tables whose device addresses are pointers. */
uint64_t ref_read_pointer(void *ctx, uint64_t pa);

#endif /* REF_WALK_H */
