/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGT_ENTRY_H
#define PGT_ENTRY_H

/*
 * The format of an entry. Section numbers "D8" refer to the Arm ARM (VMSAv8-64 descriptor formats).
 *
 * An entry is one word. Every change of an entry is one compare-and-swap:
 *
 *	0		invalid
 *	bit 0 set	valid leaf, or (levels 0-2, bits 1:0 = 11) a table
 *	bits 1:0 = 10	closed. Bits 63:2 are 0, except in the first entry of an
 *			unlinked table, where they link the list of such tables
 *	other		resolving: the tag; at level 3 only
 *
 * An SMMU with HTTU changes entries too: AF of a valid leaf, and AP[2] (S2AP[1]) of one with DBM,
 * by the same compare-and-swap [SMMUv3 3.13].
 *
 * Memory order. Every successful swap is acq_rel and every load is acquire:
 *   - the swap that publishes a table releases its contents (zeros, or closed
 *     entries); ent_load() in pgt_find_entry() and entry_swap_by() acquires them;
 *   - the swap that makes a leaf valid releases the contents of the frame, for a
 *     CPU that reads it through pgt_walk() (for the device see pgtable.h);
 *   - pgt_open() releases the closing thread's writes to the frame; the swap of
 *     the resolver that then finds *invalid* acquires them.
 */

#include <assert.h>
#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pgtable.h"

#define PGT_LAST_LEVEL	3u

#define ENT_VALID	(UINT64_C(1) << 0)
#define ENT_TABLE	(UINT64_C(1) << 1)	/* at the last level: a page */
#define ENT_S2_WB	(UINT64_C(15) << 2)	/* stage 2, MemAttr: Normal write-back */
#define ENT_AP_UNPRIV	(UINT64_C(1) << 6)	/* AP[1]; stage 2: S2AP[0], read */
#define ENT_AP_RO	(UINT64_C(1) << 7)	/* AP[2]; stage 2, inverted: S2AP[1], write */
#define ENT_SH_INNER	(UINT64_C(3) << 8)
#define ENT_AF		(UINT64_C(1) << 10)
#define ENT_NG		(UINT64_C(1) << 11)
#define ENT_DBM		(UINT64_C(1) << 51)	/* writable-clean; dirty: no meaning */
#define ENT_PXN		(UINT64_C(1) << 53)	/* stage 2: 0, with and without IDR3.XNX */
#define ENT_UXN		(UINT64_C(1) << 54)	/* stage 2: XN */
#define ENT_PROT	(ENT_AP_UNPRIV | ENT_AP_RO | ENT_PXN | ENT_UXN | ENT_DBM)

#define ENT_CLOSED	UINT64_C(2)
#define ENT_KIND	UINT64_C(3)

#define PGT_RWX		(PGT_READ | PGT_WRITE | PGT_EXEC)
/* Combinations of the permission bits. */
#define PGT_NB_PROTS	64u
static_assert((PGT_RWX | PGT_PRIV | PGT_OLD | PGT_CLEAN) == PGT_NB_PROTS - 1,
		"an index of ent_format.page[]");

static inline uint64_t
ent_load(_Atomic uint64_t *entry)
{
	return le64toh(atomic_load_explicit(entry, memory_order_acquire));
}

/* On failure *expected is the current value. */
static inline bool
ent_cas(_Atomic uint64_t *entry, uint64_t *expected, uint64_t desired)
{
	uint64_t raw = htole64(*expected);
	bool done = atomic_compare_exchange_strong_explicit(entry, &raw, htole64(desired),
			memory_order_acq_rel, memory_order_acquire);

	*expected = le64toh(raw);
	return done;
}

static inline bool
ent_is_valid(uint64_t e)
{
	return e & ENT_VALID;
}

static inline bool
ent_is_table(uint64_t e, unsigned int level)
{
	return level < PGT_LAST_LEVEL && (e & ENT_KIND) == (ENT_VALID | ENT_TABLE);
}

static inline bool
ent_is_closed(uint64_t e)
{
	return (e & ENT_KIND) == ENT_CLOSED;
}

/*
 * What a stage adds to the format, as masks: the fault path does not branch on the stage. The
 * permission bits of a stage-2 leaf are those of stage 1 without PGT_PRIV, less PXN, and with bit 7
 * inverted.
 */
struct ent_format {
	uint64_t leaf;		/* bits of every leaf; AF unless PGT_OLD */
	uint64_t prot_mask;	/* bits of ENT_PROT that the stage has */
	uint64_t prot_flip;	/* bits that are inverted */
	uint64_t no_exec;	/* set unless PGT_EXEC */
	uint32_t refused;	/* bits that are no permissions of the stage */
	/* By PGT_* permissions: the page without its address, or 0 if they are refused. */
	uint64_t page[PGT_NB_PROTS];
};

static inline uint64_t
ent_make_prot_bits(const struct ent_format *format, uint32_t prot)
{
	uint64_t e = 0;

	if (!(prot & PGT_PRIV))
		e |= ENT_AP_UNPRIV;
	if (!(prot & PGT_WRITE))
		e |= ENT_AP_RO;
	else if (prot & PGT_CLEAN)
		e |= ENT_AP_RO | ENT_DBM;
	if (!(prot & PGT_EXEC))
		e |= ENT_PXN;
	/* Without UXN a privileged page would be executable without privilege [D8.4]. */
	if (!(prot & PGT_EXEC) || (prot & PGT_PRIV))
		e |= ENT_UXN;
	return (e & format->prot_mask) ^ format->prot_flip;
}

static inline uint64_t
ent_make_leaf(const struct ent_format *format, uint64_t pa, unsigned int level, uint32_t prot)
{
	return pa | (prot & PGT_OLD ? format->leaf & ~ENT_AF : format->leaf) |
		(level == PGT_LAST_LEVEL ? ENT_TABLE : 0) | ent_make_prot_bits(format, prot);
}

/* A valid leaf through which a device can write. */
static inline bool
ent_is_dirty(const struct ent_format *format, uint64_t e)
{
	return !((e ^ format->prot_flip) & ENT_AP_RO);
}

/* A dirty leaf made writable-clean. */
static inline uint64_t
ent_clean(uint64_t e)
{
	return (e ^ ENT_AP_RO) | ENT_DBM;
}

/* A valid leaf with other permissions. With PGT_WRITE a dirty one stays dirty. */
static inline uint64_t
ent_change_prot(const struct ent_format *format, uint64_t e, uint32_t prot)
{
	uint64_t keep = ~ENT_PROT;

	if (ent_is_dirty(format, e))
		prot &= ~PGT_CLEAN;
	if ((prot & PGT_WRITE) && !(prot & PGT_CLEAN))
		keep |= ENT_DBM;
	return (e & keep) | ent_make_prot_bits(format, prot);
}

static inline uint32_t
ent_get_prot(const struct ent_format *format, uint64_t e)
{
	uint32_t prot = PGT_READ;

	if (ent_is_dirty(format, e) || (e & ENT_DBM))
		prot |= PGT_WRITE;
	e ^= format->prot_flip;
	if (!(e & format->no_exec))
		prot |= PGT_EXEC;
	if (!(e & ENT_AP_UNPRIV))
		prot |= PGT_PRIV;
	return prot;
}

static inline bool
ent_prot_is_valid(const struct ent_format *format, uint32_t prot)
{
	return (prot & PGT_RWX) && !(prot & format->refused);
}

static inline void
ent_init_format(struct ent_format *format, bool stage2)
{
	const uint64_t leaf = ENT_VALID | ENT_SH_INNER | ENT_AF;

	if (stage2)
		*format = (struct ent_format){
			.leaf = leaf | ENT_S2_WB,
			.prot_mask = ENT_PROT & ~ENT_PXN,
			.prot_flip = ENT_AP_RO,
			.no_exec = ENT_UXN,
			.refused = ~(PGT_RWX | PGT_OLD | PGT_CLEAN),
		};
	else
		*format = (struct ent_format){
			.leaf = leaf | ENT_NG,
			.prot_mask = ENT_PROT,
			.no_exec = ENT_PXN,
			.refused = ~(PGT_RWX | PGT_PRIV | PGT_OLD | PGT_CLEAN),
		};
	for (uint32_t prot = 0; prot < PGT_NB_PROTS; prot++)
		if (ent_prot_is_valid(format, prot))
			format->page[prot] = ent_make_leaf(format, 0, PGT_LAST_LEVEL, prot);
}

#endif /* PGT_ENTRY_H */
