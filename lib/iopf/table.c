/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_common.h>

#include "rcu.h"
#include "table.h"

#define MIN_ENTRIES	64

static struct iopf_table_entries *
entries_new(uint32_t n)
{
	struct iopf_table_entries *e = aligned_alloc(RTE_CACHE_LINE_SIZE,
			sizeof(*e) + n * sizeof(e->entry[0]));

	if (e == NULL)
		return NULL;
	e->trash = NULL;
	e->mask = n - 1;
	e->nb_used = 0;
	for (uint32_t i = 0; i < n; i++) {
		atomic_init(&e->entry[i].key, IOPF_TABLE_NO_KEY);
		atomic_init(&e->entry[i].value, NULL);
	}
	return e;
}

/* The entry of the key, or the one that it would get. */
static struct iopf_table_entry *
entry_find(struct iopf_table_entries *e, uint64_t key)
{
	for (uint32_t i = iopf_table_hash(key);; i++) {
		struct iopf_table_entry *entry = &e->entry[i & e->mask];
		uint64_t k = atomic_load_explicit(&entry->key, memory_order_relaxed);

		if (k == key || k == IOPF_TABLE_NO_KEY)
			return entry;
	}
}

static bool
entry_is_used(const struct iopf_table_entry *entry)
{
	return atomic_load_explicit(&entry->key, memory_order_relaxed) != IOPF_TABLE_NO_KEY;
}

static void
entry_set(struct iopf_table_entries *e, struct iopf_table_entry *entry, uint64_t key, void *value)
{
	/* Release, both: with the acquires in iopf_table_find(). */
	atomic_store_explicit(&entry->value, value, memory_order_release);
	if (entry_is_used(entry))
		return;
	e->nb_used++;
	atomic_store_explicit(&entry->key, key, memory_order_release);
}

/* Without the deleted entries, and a third full at most. */
static int
table_rebuild(struct iopf_table *table, struct iopf_table_entries *old,
		struct iopf_table_trash *trash)
{
	uint32_t n = rte_align32pow2(RTE_MAX(table->nb_values * 3, MIN_ENTRIES));
	struct iopf_table_entries *e = entries_new(n);

	if (e == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++) {
		void *value = atomic_load_explicit(&old->entry[i].value, memory_order_relaxed);
		uint64_t key = atomic_load_explicit(&old->entry[i].key, memory_order_relaxed);

		if (value != NULL)
			entry_set(e, entry_find(e, key), key, value);
	}
	/* Release: with the acquire in iopf_table_find(). */
	atomic_store_explicit(&table->entries, e, memory_order_release);
	old->trash = trash->entries;
	trash->entries = old;
	return 0;
}

int
iopf_table_init(struct iopf_table *table)
{
	struct iopf_table_entries *e = entries_new(MIN_ENTRIES);

	if (e == NULL)
		return -ENOMEM;
	atomic_init(&table->entries, e);
	table->nb_values = 0;
	return 0;
}

void
iopf_table_fini(struct iopf_table *table)
{
	free(atomic_load(&table->entries));
	atomic_store(&table->entries, NULL);
}

int
iopf_table_add(struct iopf_table *table, uint64_t key, void *value,
		struct iopf_table_trash *trash)
{
	struct iopf_table_entries *e = atomic_load(&table->entries);
	struct iopf_table_entry *entry = entry_find(e, key);

	if (iopf_table_find(table, key) != NULL)
		return -EEXIST;
	if (!entry_is_used(entry) && e->nb_used > e->mask / 2) {
		int ret = table_rebuild(table, e, trash);

		if (ret < 0)
			return ret;
		e = atomic_load(&table->entries);
		entry = entry_find(e, key);
	}
	entry_set(e, entry, key, value);
	table->nb_values++;
	return 0;
}

void
iopf_table_set(struct iopf_table *table, uint64_t key, void *value)
{
	struct iopf_table_entry *entry = entry_find(atomic_load(&table->entries), key);

	/* Release: with the acquire in iopf_table_find(), which finds a complete value. */
	if (atomic_load(&entry->value) != NULL)
		atomic_store_explicit(&entry->value, value, memory_order_release);
}

void
iopf_table_del(struct iopf_table *table, uint64_t key, struct iopf_table_trash *trash)
{
	struct iopf_table_entry *entry = entry_find(atomic_load(&table->entries), key);

	if (atomic_load(&entry->value) == NULL)
		return;
	atomic_store_explicit(&entry->value, NULL, memory_order_relaxed);
	table->nb_values--;
	trash->values = true;
}

void
iopf_table_empty(struct iopf_table_trash *trash)
{
	if (trash->entries == NULL && !trash->values)
		return;
	iopf_rcu_synchronize();
	while (trash->entries != NULL) {
		struct iopf_table_entries *e = trash->entries;

		trash->entries = e->trash;
		free(e);
	}
}
