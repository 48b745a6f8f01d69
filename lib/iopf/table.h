/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_TABLE_H
#define IOPF_TABLE_H

/*
 * A hash table from 64-bit keys to pointers. Readers are in an RCU read section and take no lock;
 * writers hold a mutex of the caller's. The table doubles when it has more entries than buckets, so
 * that chains stay short.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct iopf_table_node {
	_Atomic(struct iopf_table_node *) next;
	struct iopf_table_node *trash;	/* next in the trash */
	uint64_t key;
	_Atomic(void *) value;
};

struct iopf_table_buckets {
	struct iopf_table_buckets *trash;
	uint32_t mask;
	_Atomic(struct iopf_table_node *) head[];
};

struct iopf_table {
	_Atomic(struct iopf_table_buckets *) buckets;
	uint32_t nb_entries;
};

static inline uint32_t
iopf_table_hash(uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static inline void *
iopf_table_find(const struct iopf_table *table, uint64_t key)
{
	/* Acquire: with the releases in bucket_push(), table_grow() and iopf_table_del(). */
	struct iopf_table_buckets *b =
		atomic_load_explicit(&table->buckets, memory_order_acquire);
	struct iopf_table_node *node;

	node = atomic_load_explicit(&b->head[iopf_table_hash(key) & b->mask],
			memory_order_acquire);
	while (node != NULL && node->key != key)
		node = atomic_load_explicit(&node->next, memory_order_acquire);
	/* Acquire: with the release in iopf_table_set(). */
	return node == NULL ? NULL : atomic_load_explicit(&node->value, memory_order_acquire);
}

int iopf_table_init(struct iopf_table *table);

/* No thread reads the table any more. */
void iopf_table_fini(struct iopf_table *table);

/*
 * Memory that readers may still use: collected under the caller's mutex, freed after one grace
 * period without the mutex.
 */
struct iopf_table_trash {
	struct iopf_table_node *nodes;
	struct iopf_table_buckets *buckets;
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
