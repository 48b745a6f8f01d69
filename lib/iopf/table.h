/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_TABLE_H
#define IOPF_TABLE_H

/*
 * A hash table from 64-bit keys to pointers. Readers are in an RCU read section and take no lock;
 * writers hold a mutex of the caller's.
 *
 * Open addressing: a search reads the entries from the key's place on until it finds the key or an
 * entry that was never used, which is one cache line most of the time. An entry keeps its key for
 * good, with the value NULL after a deletion: so a reader that has found its key reads the value of
 * no other. Entries are left behind only when the table is built anew, at the latest when half of
 * them are used: the loops end.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_common.h>

/* No key: PASIDs have 20 bits, or are IOPF_NO_PASID or IOPF_ANY_PASID. */
#define IOPF_TABLE_NO_KEY	(UINT64_C(0xfffffffe) << 32)

struct iopf_table_entry {
	_Atomic uint64_t key;		/* IOPF_TABLE_NO_KEY: never used */
	_Atomic(void *) value;		/* NULL: deleted */
};

struct iopf_table_entries {
	struct iopf_table_entries *trash;	/* next in the trash */
	uint32_t mask;
	uint32_t nb_used;		/* deleted ones too; writers */
	_Alignas(RTE_CACHE_LINE_SIZE) struct iopf_table_entry entry[];
};

struct iopf_table {
	_Atomic(struct iopf_table_entries *) entries;
	uint32_t nb_values;
};

static inline uint32_t
iopf_table_hash(uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static inline void *
iopf_table_find(const struct iopf_table *table, uint64_t key)
{
	/* Acquire: with the release in table_rebuild(). */
	const struct iopf_table_entries *e =
		atomic_load_explicit(&table->entries, memory_order_acquire);

	for (uint32_t i = iopf_table_hash(key);; i++) {
		const struct iopf_table_entry *entry = &e->entry[i & e->mask];
		/* Acquire: with the release in entry_set(), which has stored the value before. */
		uint64_t k = atomic_load_explicit(&entry->key, memory_order_acquire);

		if (k == key)
			/* Acquire: with the release in entry_set() and iopf_table_set(). */
			return atomic_load_explicit(&entry->value, memory_order_acquire);
		if (k == IOPF_TABLE_NO_KEY)
			return NULL;
	}
}

int iopf_table_init(struct iopf_table *table);

/* No thread reads the table any more. */
void iopf_table_fini(struct iopf_table *table);

/*
 * What readers may still use: collected under the caller's mutex, freed after one grace period
 * without the mutex.
 */
struct iopf_table_trash {
	struct iopf_table_entries *entries;
	bool values;			/* some were deleted */
};

/* 0, -EEXIST or -ENOMEM. */
int iopf_table_add(struct iopf_table *table, uint64_t key, void *value,
		struct iopf_table_trash *trash);

/*
 * Replace the value of a key that the table has: each reader finds the old one or the new one.
 * Readers may still hold the old one for a grace period.
 */
void iopf_table_set(struct iopf_table *table, uint64_t key, void *value);

/* Readers may still hold the value until iopf_table_empty(). */
void iopf_table_del(struct iopf_table *table, uint64_t key, struct iopf_table_trash *trash);

/* Free the trash. Waits for a grace period if it is not empty. */
void iopf_table_empty(struct iopf_table_trash *trash);

#endif /* IOPF_TABLE_H */
