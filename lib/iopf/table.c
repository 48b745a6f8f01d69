/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include "rcu.h"
#include "table.h"

#define FIRST_BUCKETS 64

static struct iopf_table_buckets *
buckets_new(uint32_t n)
{
	struct iopf_table_buckets *b = calloc(1, sizeof(*b) + n * sizeof(b->head[0]));

	if (b != NULL)
		b->mask = n - 1;
	return b;
}

static void
buckets_free(struct iopf_table_buckets *b)
{
	if (b == NULL)
		return;
	for (uint32_t i = 0; i <= b->mask; i++) {
		struct iopf_table_node *node = atomic_load(&b->head[i]), *next;

		for (; node != NULL; node = next) {
			next = atomic_load(&node->next);
			free(node);
		}
	}
	free(b);
}

static int
bucket_push(struct iopf_table_buckets *b, uint64_t key, void *value)
{
	_Atomic(struct iopf_table_node *) *head = &b->head[iopf_table_hash(key) & b->mask];
	struct iopf_table_node *node = malloc(sizeof(*node));

	if (node == NULL)
		return -ENOMEM;
	node->key = key;
	atomic_init(&node->value, value);
	atomic_init(&node->next, atomic_load_explicit(head, memory_order_relaxed));
	/* Release: with the acquire in iopf_table_find(), which sees a complete node. */
	atomic_store_explicit(head, node, memory_order_release);
	return 0;
}

/* All nodes are new: readers may still walk the old chains. */
static int
table_grow(struct iopf_table *table, struct iopf_table_buckets *old,
		struct iopf_table_trash *trash)
{
	struct iopf_table_buckets *b = buckets_new((old->mask + 1) * 2);

	if (b == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++) {
		struct iopf_table_node *node;

		for (node = atomic_load(&old->head[i]); node != NULL;
				node = atomic_load(&node->next)) {
			if (bucket_push(b, node->key, atomic_load_explicit(&node->value,
					memory_order_relaxed)) < 0) {
				buckets_free(b);
				return -ENOMEM;
			}
		}
	}
	/* Release: with the acquire in iopf_table_find(). */
	atomic_store_explicit(&table->buckets, b, memory_order_release);
	old->trash = trash->buckets;
	trash->buckets = old;
	return 0;
}

int
iopf_table_init(struct iopf_table *table)
{
	struct iopf_table_buckets *b = buckets_new(FIRST_BUCKETS);

	if (b == NULL)
		return -ENOMEM;
	atomic_init(&table->buckets, b);
	table->nb_entries = 0;
	return 0;
}

void
iopf_table_fini(struct iopf_table *table)
{
	buckets_free(atomic_load(&table->buckets));
	atomic_store(&table->buckets, NULL);
}

int
iopf_table_add(struct iopf_table *table, uint64_t key, void *value,
		struct iopf_table_trash *trash)
{
	struct iopf_table_buckets *b = atomic_load(&table->buckets);
	int ret;

	if (iopf_table_find(table, key) != NULL)
		return -EEXIST;
	if (table->nb_entries > b->mask) {
		ret = table_grow(table, b, trash);
		if (ret < 0)
			return ret;
		b = atomic_load(&table->buckets);
	}
	ret = bucket_push(b, key, value);
	if (ret == 0)
		table->nb_entries++;
	return ret;
}

void
iopf_table_set(struct iopf_table *table, uint64_t key, void *value)
{
	struct iopf_table_buckets *b = atomic_load(&table->buckets);
	struct iopf_table_node *node = atomic_load(&b->head[iopf_table_hash(key) & b->mask]);

	while (node != NULL && node->key != key)
		node = atomic_load(&node->next);
	/* Release: with the acquire in iopf_table_find(), which finds a complete value. */
	if (node != NULL)
		atomic_store_explicit(&node->value, value, memory_order_release);
}

void
iopf_table_del(struct iopf_table *table, uint64_t key, struct iopf_table_trash *trash)
{
	struct iopf_table_buckets *b = atomic_load(&table->buckets);
	_Atomic(struct iopf_table_node *) *link = &b->head[iopf_table_hash(key) & b->mask];
	struct iopf_table_node *node;

	while ((node = atomic_load(link)) != NULL && node->key != key)
		link = &node->next;
	if (node == NULL)
		return;
	atomic_store_explicit(link, atomic_load(&node->next), memory_order_release);
	table->nb_entries--;
	/* node->next stays: a reader may be at this node. */
	node->trash = trash->nodes;
	trash->nodes = node;
}

void
iopf_table_empty(struct iopf_table_trash *trash)
{
	if (trash->nodes == NULL && trash->buckets == NULL)
		return;
	iopf_rcu_synchronize();
	while (trash->nodes != NULL) {
		struct iopf_table_node *node = trash->nodes;

		trash->nodes = node->trash;
		free(node);
	}
	while (trash->buckets != NULL) {
		struct iopf_table_buckets *b = trash->buckets;

		trash->buckets = b->trash;
		buckets_free(b);
	}
}
