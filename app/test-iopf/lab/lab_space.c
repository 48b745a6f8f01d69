/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_errno.h>

#include "lab_space.h"
#include "iopf_iommu.h"
#include "test.h"

#define POOL_SIZE	((size_t)32 << 20)

static struct mmem_pool *pool;
struct mmem_space *lab_space;
struct mmem_report lab_refusal;
unsigned int lab_nb_refusals;

static void
on_refusal(struct mmem_space *which, const struct mmem_report *r, void *ctx)
{
	(void)which;
	(void)ctx;
	lab_nb_refusals++;
	lab_refusal = *r;
}

void
lab_space_open(const struct iopf_iommu_conf *conf)
{
	lab_start(conf, false);
	lab_nb_refusals = 0;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = lab.smmu, .size = POOL_SIZE });
	if (pool == NULL)
		fail_msg("no pool of %zu MiB in hugepages: %s", POOL_SIZE >> 20,
				rte_strerror(rte_errno));
	assert_true(mmem_pool_hugepages(pool));
	lab_space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .window = 1,
		.report = on_refusal });
	assert_non_null(lab_space);
	assert_int_equal(mmem_attach(lab_space, lab.dev, IOPF_NO_PASID), 0);
}

int
lab_space_close(void **state)
{
	int ret = 0;

	if (lab_space != NULL) {
		ret |= mmem_detach(lab_space, lab.dev, IOPF_NO_PASID);
		ret |= mmem_space_destroy(lab_space);
	}
	if (pool != NULL)
		ret |= mmem_pool_destroy(pool);
	lab_space = NULL;
	pool = NULL;
	return ret | lab_finish(state);
}

static uint8_t
make_byte(unsigned int seed, size_t i)
{
	return (seed * 2654435761u + i * 40503u) >> 7;
}

void
lab_fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = make_byte(seed, i);
}

void
lab_check_bytes(const uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != make_byte(seed, i))
			fail_msg("byte %zu of %zu is 0x%02x, not 0x%02x", i, len, p[i],
					make_byte(seed, i));
}

void
lab_copy(uint8_t *src, uint8_t *dst, uint32_t len, unsigned int seed)
{
	lab_fill(src, len, seed);
	assert_int_equal(lab_move(false, (uintptr_t)src, len), 0);
	assert_int_equal(lab_move(true, (uintptr_t)dst, len), 0);
	lab_check_bytes(dst, len, seed);
}
