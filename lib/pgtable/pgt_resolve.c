/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The fault path: one walk, one compare-and-swap; see devtools/spin/pgtable_resolve.pml. */

#include <errno.h>

#include "pgt_entry.h"
#include "pgt_walk.h"

static bool
ent_lacks_prot(const struct ent_format *format, uint64_t e, uint32_t want)
{
	uint32_t have = ent_get_prot(format, e);

	/* A write to a writable-clean leaf: an SMMU with HD makes it dirty, but may not walk it. */
	if ((want & (PGT_WRITE | PGT_CLEAN)) == PGT_WRITE && !ent_is_dirty(format, e))
		return true;
	if ((want & PGT_RWX & ~have) || ((have & PGT_PRIV) && !(want & PGT_PRIV)))
		return true;
	/* A page writable without privilege is never executable with privilege [D8.4]. */
	return (want & PGT_PRIV) && (want & PGT_EXEC) &&
		(have & (PGT_WRITE | PGT_PRIV)) == PGT_WRITE;
}

/* Descriptors in a cache line of 64 bytes. */
#define PGT_LINE_ENTRIES	8

/* Fetch a line for writing: one transfer, where a load and a swap take two. */
static inline void
pgt_prefetch_write(const void *p)
{
#if defined(__x86_64__)
	/* __builtin_prefetch() emits a read prefetch unless -march has prefetchw. */
	__asm__ volatile("prefetchw %0" : : "m" (*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * The reason why an entry was not swapped. It is not a table. A leaf with AF = 0 gets AF [Arm ARM
 * D8.5: no TLB holds it, so nothing is to be invalidated]. If the attempts end, the device faults
 * again.
 */
static __attribute__((noinline, cold)) int
entry_refuse(const struct pgt *pgt, _Atomic uint64_t *entry, uint64_t e, uint32_t prot)
{
	const uint64_t kind = e & ENT_KIND;
	unsigned int tries;

	for (tries = 0; tries < PGT_TRIES && !(prot & PGT_OLD) && ent_is_valid(e) &&
			(e & ENT_KIND) == kind && !(e & ENT_AF); tries++)
		if (ent_cas(entry, &e, e | ENT_AF))
			break;
	if (ent_is_valid(e) && (e & ENT_KIND) == kind)
		return ent_lacks_prot(&pgt->format, e, prot) ? -EACCES : -EALREADY;
	if (ent_is_closed(e))
		return -ECANCELED;
	/* A table came in place of a block: walk again. */
	if (e == 0 || ent_is_valid(e))
		return -ENOENT;
	return -EBUSY;
}

/*
 * Swap an invalid entry of the last level for value. Returns 0 or the reason for not swapping. The
 * swap expects 0 without a load before it: the device's walker holds the line, which would be
 * transferred twice. The next line is prefetched for writing: faults mostly come in order.
 */
static inline __attribute__((always_inline)) int
entry_swap_by(const struct pgt *pgt, pgt_pa_to_va_t pa_to_va, uint64_t va, uint64_t value,
		uint32_t prot)
{
	unsigned int shift = pgt->start_shift, bits = pgt->index_bits;
	const uint64_t mask = pgt_nb_entries(pgt) - 1;
	_Atomic uint64_t *entry = &pgt->root[va >> shift];
	uint64_t e;

	while (shift != pgt->granule_log2) {
		e = ent_load(entry);
		if ((e & ENT_KIND) != (ENT_VALID | ENT_TABLE))
			return entry_refuse(pgt, entry, e, prot);
		shift -= bits;
		entry = &pgt_next_table_by(pgt, pa_to_va, e)[(va >> shift) & mask];
	}
	pgt_prefetch_write(entry + PGT_LINE_ENTRIES);
	e = 0;
	return ent_cas(entry, &e, value) ? 0 : entry_refuse(pgt, entry, e, prot);
}

static __attribute__((noinline)) int
entry_swap_translated(const struct pgt *pgt, uint64_t va, uint64_t value, uint32_t prot)
{
	return entry_swap_by(pgt, pgt->mem.pa_to_va, va, value, prot);
}

/* Without calls in the common walk no registers are saved. */
static inline int
entry_swap_invalid(const struct pgt *pgt, uint64_t va, uint64_t value, uint32_t prot)
{
	if (pgt->mem.pa_to_va)
		return entry_swap_translated(pgt, va, value, prot);
	return entry_swap_by(pgt, NULL, va, value, prot);
}

int
pgt_resolve(struct pgt *pgt, uint64_t va, uint64_t pa, uint32_t prot)
{
	uint64_t page = prot < PGT_NB_PROTS ? pgt->format.page[prot] : 0;

	if (!pgt_va_is_valid(pgt, va) || !pgt_pa_is_valid(pgt, pa) || page == 0)
		return -EINVAL;
	return entry_swap_invalid(pgt, va, page | pa, prot);
}

int
pgt_resolve_block(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t size, uint32_t prot)
{
	unsigned int level = pgt_find_block_level(pgt, size);
	struct pgt_pos pos;
	uint64_t e = 0;

	if (level == PGT_LAST_LEVEL || ((va | pa) & (size - 1)) || !pgt_va_is_valid(pgt, va) ||
			!pgt_pa_is_valid(pgt, pa) || !ent_prot_is_valid(&pgt->format, prot))
		return -EINVAL;
	pgt_find_entry(pgt, va, va + size, &pos);
	if (pos.level == level && ent_cas(pos.entry, &e, ent_make_leaf(&pgt->format, pa, level,
			prot)))
		return 0;
	if (pos.level != level)
		e = pos.e;
	return ent_is_table(e, pos.level) ? -ENOENT : entry_refuse(pgt, pos.entry, e, prot);
}

int
pgt_resolve_begin(struct pgt *pgt, uint64_t va, uint32_t prot, uint64_t tag,
		struct pgt_ticket *ticket)
{
	int rc;

	if (!pgt_va_is_valid(pgt, va) || !ent_prot_is_valid(&pgt->format, prot) || tag == 0 ||
			(tag & ENT_KIND))
		return -EINVAL;
	rc = entry_swap_invalid(pgt, va, tag, prot);
	if (rc == 0)
		*ticket = (struct pgt_ticket){ .pgt = pgt, .va = va, .tag = tag };
	return rc;
}

/*
 * Swap the marker for value. Walks again: the table that held the marker may have been unlinked and
 * freed since. A table in its place never holds this tag.
 */
static int
entry_swap_marker(const struct pgt_ticket *ticket, uint64_t value)
{
	uint64_t expected = ticket->tag;
	struct pgt_pos pos;

	pgt_find_entry(ticket->pgt, ticket->va, 0, &pos);
	if (pos.level == PGT_LAST_LEVEL && ent_cas(pos.entry, &expected, value))
		return 0;
	return -ECANCELED;
}

int
pgt_resolve_commit(const struct pgt_ticket *ticket, uint64_t pa, uint32_t prot)
{
	const struct ent_format *format = &ticket->pgt->format;

	if (!pgt_pa_is_valid(ticket->pgt, pa) || !ent_prot_is_valid(format, prot))
		return -EINVAL;
	return entry_swap_marker(ticket, ent_make_leaf(format, pa, PGT_LAST_LEVEL, prot));
}

int
pgt_resolve_cancel(const struct pgt_ticket *ticket)
{
	return entry_swap_marker(ticket, 0);
}
