/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Pools with memory of a NUMA node. One node is enough: the kernel tells a mapping's policy. */

#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_memory.h>

#include "log_lines.h"
#include "mmem_rig.h"
#include "test.h"

#define MAX_NODES	1024
#define LONG_BITS	(8 * sizeof(unsigned long))

static struct mmem_pool *
make_pool(unsigned int node)
{
	return mmem_pool_create(&(struct mmem_pool_conf){ .name = "node", .iommu = mm.smmu,
			.size = 4 * CHUNK, .no_hugepages = true, .node = node });
}

/* A node whose memory this process may use. */
static int
find_node(void)
{
	unsigned long mask[MAX_NODES / LONG_BITS] = { 0 };
	int node;

	assert_int_equal(syscall(SYS_get_mempolicy, NULL, mask, MAX_NODES, NULL,
			MPOL_F_MEMS_ALLOWED), 0);
	for (node = 0; node < MAX_NODES - 1; node++)
		if (mask[node / LONG_BITS] & 1ul << node % LONG_BITS)
			break;
	return node;
}

/* The node that the memory at an address is taken of; -1: any. */
static int
node_of(const void *p)
{
	unsigned long mask[MAX_NODES / LONG_BITS] = { 0 };
	int mode, node;

	assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, MAX_NODES, p, MPOL_F_ADDR), 0);
	if (mode != MPOL_PREFERRED)
		return -1;
	for (node = 0; node < MAX_NODES - 1; node++)
		if (mask[node / LONG_BITS] & 1ul << node % LONG_BITS)
			break;
	return node;
}

static bool
kernel_has_nodes(void)
{
	return syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) == 0 || errno != ENOSYS;
}

static void
test_memory_is_of_the_node(void **state)
{
	struct mmem_pool *pool;
	int node, found;

	(void)state;
	if (!kernel_has_nodes())
		skip();
	node = find_node();
	pool = make_pool(MMEM_NODE(node));
	if (pool == NULL && rte_errno == EPERM)
		skip();		/* a container without mbind() */
	assert_non_null(pool);
	assert_int_equal(node_of(pool->mem), node);
	assert_int_equal(node_of(pool->mem + 4 * CHUNK - 1), node);
	assert_int_equal(node_of(pool->dev), node);
	assert_int_equal(node_of(pool->dev + 4 * CHUNK - 1), node);
	pool->dev[CHUNK] = 1;
	assert_int_equal(syscall(SYS_get_mempolicy, &found, NULL, 0, pool->dev + CHUNK,
			MPOL_F_NODE | MPOL_F_ADDR), 0);
	assert_int_equal(found, node);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

static void
test_without_a_node_the_kernel_chooses(void **state)
{
	struct mmem_pool *pool = make_pool(MMEM_NODE(SOCKET_ID_ANY));

	(void)state;
	assert_non_null(pool);
	if (kernel_has_nodes()) {
		assert_int_equal(node_of(pool->mem), -1);
		assert_int_equal(node_of(pool->dev), -1);
	}
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

static void
test_a_node_that_does_not_exist_is_refused(void **state)
{
	/* The kernel's largest, and numbers beyond it. */
	static const unsigned int nodes[] = { MMEM_NODE(1023), MMEM_NODE(1024), 0x80000000, -1 };
	struct mmem_pool *pool;
	unsigned int i;

	(void)state;
	if (!kernel_has_nodes())
		skip();
	pool = make_pool(MMEM_NODE(find_node()));
	if (pool == NULL && rte_errno == EPERM)
		skip();
	assert_int_equal(mmem_pool_destroy(pool), 0);
	for (i = 0; i < RTE_DIM(nodes); i++) {
		SAYS("no such node", assert_null(make_pool(nodes[i])));
		assert_int_equal(rte_errno, EINVAL);
	}
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_memory_is_of_the_node),
	MM_TEST(test_without_a_node_the_kernel_chooses),
	MM_TEST(test_a_node_that_does_not_exist_is_refused),
};
TEST_SUITE(mmem_node, tests, NULL, NULL);
