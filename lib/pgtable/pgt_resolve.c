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

	if ((want & PGT_RWX & ~have) || ((have & PGT_PRIV) && !(want & PGT_PRIV)))
		return true;
	/* A page writable without privilege is never executable with privilege [D8.4]. */
	return (want & PGT_PRIV) && (want & PGT_EXEC) &&
		(have & (PGT_WRITE | PGT_PRIV)) == PGT_WRITE;
}

/* Swap an invalid entry for value. Returns 0 or the reason for not swapping. */
static int
entry_swap_invalid(struct pgt *pgt, uint64_t va, uint64_t value, uint32_t prot)
{
	struct pgt_pos pos;

	pgt_find_entry_hint(pgt, va, 0, &pos, true);
	if (pos.level == PGT_LAST_LEVEL && pos.e == 0 && ent_cas(pos.entry, &pos.e, value))
		return 0;
	if (ent_is_valid(pos.e))
		return ent_lacks_prot(&pgt->format, pos.e, prot) ? -EACCES : -EALREADY;
	if (ent_is_closed(pos.e))
		return -ECANCELED;
	return pos.e ? -EBUSY : -ENOENT;
}

int
pgt_resolve(struct pgt *pgt, uint64_t va, uint64_t pa, uint32_t prot)
{
	if (!pgt_va_is_valid(pgt, va) || !pgt_pa_is_valid(pgt, pa) ||
			!ent_prot_is_valid(&pgt->format, prot))
		return -EINVAL;
	return entry_swap_invalid(pgt, va, ent_make_leaf(&pgt->format, pa, PGT_LAST_LEVEL, prot),
			prot);
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
