/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Removes access from the device: unmap, protect; open and free after the SYNC. */

#include <errno.h>

#include "pgt_entry.h"
#include "pgt_out.h"
#include "pgt_walk.h"

/*
 * Close every entry of an unlinked table, and put it and the tables below on the list. A thread
 * that walked into the table before the unlinking may still swap an entry: either its swap came
 * first and is found here, or it finds *closed* and fails. So no mapping of this table outlives the
 * call. The list links through the first entries, which a device and a late walker read as closed.
 */
static void
unlink_tree(struct pgt *pgt, _Atomic uint64_t *table, unsigned int level, uint64_t va,
		struct pgt_unmapped *out)
{
	uint64_t e, i;

	for (i = 0; i < pgt_nb_entries(pgt); i++, va += pgt_span(pgt, level)) {
		e = le64toh(atomic_exchange_explicit(&table[i], htole64(ENT_CLOSED),
				memory_order_acq_rel));
		if (ent_is_table(e, level))
			unlink_tree(pgt, pgt_next_table(pgt, e), level + 1, va, out);
		else if (ent_is_valid(e))
			pgt_out_add_leaf(pgt, out, va, level, e);
	}
	pgt_out_add_table(out, table);
}

/*
 * Do all steps that can fail before the first change: only the entries of the first and the last
 * address of the range can be covered in part.
 */
static int
edge_make_tables(struct pgt *pgt, uint64_t edge, uint64_t va, uint64_t end, bool close)
{
	struct pgt_pos pos;
	uint64_t first;
	int rc;

	for (;;) {
		pgt_find_entry(pgt, edge, 0, &pos);
		first = edge & ~(pgt_span(pgt, pos.level) - 1);
		if (first >= va && pgt_entry_end(pgt, pos.level, edge) <= end)
			return 0;
		if (ent_is_valid(pos.e))
			return -EINVAL;
		if (!close || ent_is_closed(pos.e))
			return 0;
		rc = pgt_table_make(pgt, &pos);
		if (rc)
			return rc;
	}
}

int
pgt_unmap(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t flags, struct pgt_unmapped *out)
{
	bool close = flags & PGT_CLOSE;
	uint64_t gone = close ? ENT_CLOSED : 0;
	uint64_t end = va + size;
	uint64_t whole_end = flags & PGT_TABLES ? end : 0;
	struct pgt_pos pos;
	uint64_t e;
	int rc;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size) || !pgt_out_is_valid(out) ||
			(flags & ~(PGT_CLOSE | PGT_TABLES)))
		return -EINVAL;
	rc = edge_make_tables(pgt, va, va, end, close);
	if (rc == 0)
		rc = edge_make_tables(pgt, end - 1, va, end, close);
	if (rc)
		return rc;

	/* The loop repeats an address only after another writer's swap came first. */
	pgt_find_entry(pgt, va, whole_end, &pos);
	while (va < end) {
		e = pos.e;
		if (!pgt_is_whole(pgt, pos.level, va, end)) {
			if (ent_is_valid(e))
				return -EINVAL;
			if (close && !ent_is_closed(e)) {
				rc = pgt_table_make(pgt, &pos);
				if (rc)
					return rc;
				pgt_find_entry(pgt, va, whole_end, &pos);
				continue;
			}
		} else if (!ent_is_closed(e) && e != gone) {
			if (!ent_cas(pos.entry, &pos.e, gone)) {
				pgt_find_entry(pgt, va, whole_end, &pos);
				continue;
			}
			if (ent_is_table(e, pos.level)) {
				pgt_out_add_inv(pgt, out, va, pgt_span(pgt, pos.level), 0);
				unlink_tree(pgt, pgt_next_table(pgt, e), pos.level + 1, va, out);
			} else if (ent_is_valid(e)) {
				pgt_out_add_inv(pgt, out, va, pgt_span(pgt, pos.level), pos.level);
				pgt_out_add_leaf(pgt, out, va, pos.level, e);
			}
		}
		va = pgt_entry_end(pgt, pos.level, va);
		pgt_find_next_entry(pgt, va, whole_end, &pos);
	}
	return 0;
}

int
pgt_open(struct pgt *pgt, uint64_t va, uint64_t size)
{
	uint64_t end = va + size;
	struct pgt_pos pos;
	int rc;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size))
		return -EINVAL;
	pgt_find_entry(pgt, va, 0, &pos);
	while (va < end) {
		if (ent_is_closed(pos.e)) {
			if (!pgt_is_whole(pgt, pos.level, va, end)) {
				rc = pgt_table_make(pgt, &pos);
				if (rc)
					return rc;
				pgt_find_entry(pgt, va, 0, &pos);
				continue;
			}
			/*
			 * Only the thread that closed an entry opens it, so no other thread can
			 * change it.
			 */
			ent_cas(pos.entry, &pos.e, 0);
		}
		va = pgt_entry_end(pgt, pos.level, va);
		pgt_find_next_entry(pgt, va, 0, &pos);
	}
	return 0;
}

int
pgt_protect(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t prot,
		struct pgt_unmapped *out)
{
	const struct ent_format *format;
	uint64_t end = va + size;
	unsigned int tries;
	struct pgt_pos pos;
	uint64_t e, span;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size) || !pgt_out_is_valid(out) ||
			!ent_prot_is_valid(&pgt->format, prot) || (prot & PGT_OLD))
		return -EINVAL;
	format = &pgt->format;
	pgt_find_entry(pgt, va, 0, &pos);
	while (va < end) {
		span = pgt_span(pgt, pos.level);
		for (tries = 0; ent_is_valid(pos.e) &&
				ent_change_prot(format, pos.e, prot) != pos.e; tries++) {
			if (ent_is_table(pos.e, pos.level))
				break;
			if (!pgt_is_whole(pgt, pos.level, va, end))
				return -EINVAL;
			if (tries == PGT_TRIES)
				return -EAGAIN;
			e = pos.e;
			/* Break-before-make does not apply to permissions: one swap is enough. */
			if (ent_cas(pos.entry, &pos.e, ent_change_prot(format, e, prot))) {
				pgt_out_add_inv(pgt, out, va, span, pos.level);
				out->bytes += span;
				if (!(prot & PGT_WRITE))
					pgt_out_add_used(pgt, out, va, span, false,
							ent_is_dirty(format, e));
				break;
			}
		}
		if (ent_is_table(pos.e, pos.level)) {
			/* Another thread put a table here: descend. */
			pgt_find_entry(pgt, va, 0, &pos);
			continue;
		}
		va = pgt_entry_end(pgt, pos.level, va);
		pgt_find_next_entry(pgt, va, 0, &pos);
	}
	return 0;
}

void
pgt_free_tables(struct pgt *pgt, struct pgt_tables *tables)
{
	_Atomic uint64_t *table;
	uint64_t next;

	if (pgt == NULL || tables == NULL)
		return;
	table = tables->head;
	while (table != NULL) {
		next = ent_load(&table[0]) & ~ENT_KIND;
		pgt_table_free(pgt, table);
		table = (_Atomic uint64_t *)(uintptr_t)next;
	}
	tables->head = NULL;
	tables->nb = 0;
}
