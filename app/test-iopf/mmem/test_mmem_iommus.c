/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* One space and one page table for devices behind two IOMMUs. */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "iopf_iommu.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "mmem_rig.h"
#include "pieces.h"
#include "test.h"

#define SID		8
#define NB_PAGES	16

struct side {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *dma;
};

static struct {
	struct side sides[2];
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
} two;

static const char *drivers[2] = { "smmuv3", "smmuv3" };

static void
side_open(struct side *side, const char *driver, const struct smmuv3_model_conf *model_conf)
{
	static unsigned int serial;
	struct smmuv3_model_conf conf = *model_conf;
	uint32_t sid = SID;
	char devstr[64];

	snprintf(devstr, sizeof(devstr), "%s,model=two%u", driver, serial++);
	conf.name = strchr(devstr, '=') + 1;
	conf.choices = SMMUV3_MODEL_STICKY_TLB;
	side->model = smmuv3_model_create(&conf);
	assert_non_null(side->model);
	side->smmu = iopf_iommu_open(devstr);
	assert_non_null(side->smmu);
	side->dev = iopf_dev_add(side->smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(side->dev);
	assert_int_equal(iopf_poller_add(two.poller, side->smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(side->smmu), 0);
	side->dma = smmuv3_model_dma_create(side->model,
			&(struct smmuv3_model_dma_conf){ .sid = SID });
	assert_non_null(side->dma);
}

static void
side_close(struct side *side)
{
	unsigned int i;

	smmuv3_model_dma_destroy(side->dma);
	assert_int_equal(iopf_dev_remove(side->dev), 0);
	assert_int_equal(iopf_poller_remove(two.poller, side->smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_stop(side->smmu), 0);
	assert_int_equal(iopf_iommu_close(side->smmu), 0);
	for (i = 0; smmuv3_model_oracle_error(side->model, i) != NULL; i++)
		print_error("oracle: %s\n", smmuv3_model_oracle_error(side->model, i));
	assert_int_equal(smmuv3_model_driver_errors(side->model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(side->model), 0);
	smmuv3_model_destroy(side->model);
}

static struct mmem_pool *
make_pool(uint64_t budget)
{
	return mmem_pool_create(&(struct mmem_pool_conf){ .name = "two",
			.iommu = two.sides[0].smmu, .others = &two.sides[1].smmu, .nb_others = 1,
			.size = NB_CHUNKS * CHUNK, .no_hugepages = true, .budget = budget });
}

static void
make_space(uint64_t budget)
{
	two.pool = make_pool(budget);
	assert_non_null(two.pool);
	two.space = mmem_space_create(&(struct mmem_space_conf){ .name = "two", .pool = two.pool,
			.window = 1 });
	assert_non_null(two.space);
	assert_int_equal(mmem_attach(two.space, two.sides[0].dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(two.space, two.sides[1].dev, IOPF_NO_PASID), 0);
}

static void
destroy_space(void)
{
	assert_int_equal(mmem_detach(two.space, two.sides[0].dev, IOPF_NO_PASID), 0);
	SAYS("is attached", assert_int_equal(mmem_space_destroy(two.space), -EBUSY));
	assert_int_equal(mmem_detach(two.space, two.sides[1].dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(two.space), 0);
	assert_int_equal(mmem_pool_destroy(two.pool), 0);
	two.space = NULL;
	two.pool = NULL;
}

static int
setup(void **state)
{
	(void)state;
	memset(&two, 0, sizeof(two));
	pieces_register();
	two.poller = iopf_poller_create(NULL);
	assert_non_null(two.poller);
	side_open(&two.sides[0], drivers[0], &(struct smmuv3_model_conf){ 0 });
	side_open(&two.sides[1], drivers[1], &(struct smmuv3_model_conf){ 0 });
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (two.space != NULL)
		destroy_space();
	side_close(&two.sides[0]);
	side_close(&two.sides[1]);
	assert_int_equal(iopf_poller_destroy(two.poller), 0);
	return 0;
}

static int
setup_pieces(void **state)
{
	int rc;

	drivers[0] = drivers[1] = "pieces";
	rc = setup(state);
	drivers[0] = drivers[1] = "smmuv3";
	return rc;
}

static int
setup_one_in_pieces(void **state)
{
	int rc;

	drivers[1] = "pieces";
	rc = setup(state);
	drivers[1] = "smmuv3";
	return rc;
}

static enum smmuv3_model_status
run(unsigned int i, enum smmuv3_model_op_type type, const void *addr, void *buf, size_t len)
{
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
	struct smmuv3_model_done done;

	mm_submit(two.sides[i].dma, type, addr, buf, len);
	while (smmuv3_model_dma_poll(two.sides[i].dma, &done, 1) == 0) {
		assert_true(rte_rdtsc() < end);
		smmuv3_model_wait(two.sides[0].model);
		smmuv3_model_wait(two.sides[1].model);
		if (iopf_poll(two.poller) == 0)
			sched_yield();
	}
	return done.status;
}

static void
dev_set(unsigned int i, const void *addr, uint8_t byte)
{
	memset(mm_scratch, byte, PAGE);
	assert_int_equal(run(i, SMMUV3_MODEL_WRITE, addr, mm_scratch, PAGE), SMMUV3_MODEL_OK);
}

static void
dev_expect(unsigned int i, const void *addr, uint8_t byte)
{
	memset(mm_scratch, ~byte, PAGE);
	assert_int_equal(run(i, SMMUV3_MODEL_READ, addr, mm_scratch, PAGE), SMMUV3_MODEL_OK);
	mm_cpu_expect(mm_scratch, byte, PAGE);
}

static void
check_both_share(uint8_t *p)
{
	dev_set(0, p, 0x11);
	dev_expect(1, p, 0x11);
	dev_set(1, p + PAGE, 0x22);
	dev_expect(0, p + PAGE, 0x22);
	mm_cpu_expect(p, 0x11, PAGE);
	mm_cpu_expect(p + PAGE, 0x22, PAGE);
	memset(p, 0x33, PAGE);
	dev_expect(0, p, 0x33);
	dev_expect(1, p, 0x33);
}

static void
test_devices_behind_two_iommus_share_a_space(void **state)
{
	uint8_t *p;

	(void)state;
	make_space(0);
	p = mmem_alloc(two.space, CHUNK, RW);
	assert_non_null(p);
	check_both_share(p);
	/* One table: a page that one device has mapped does not fault for the other. */
	assert_int_equal(mmem_stat(two.space, MMEM_STAT_MAPPED), 2);
}

/* Neither device reaches the page from a TLB entry: the oracle looks, and the page faults again. */
static void
test_an_unmap_and_a_free_are_complete_behind_both(void **state)
{
	unsigned int i;
	uint8_t *p, *q;

	(void)state;
	make_space(0);
	p = mmem_alloc(two.space, CHUNK, RW);
	assert_non_null(p);
	for (i = 0; i < 2; i++) {
		dev_set(0, p, 0x10 + i);
		dev_expect(1, p, 0x10 + i);
		assert_int_equal(mmem_unmap(two.space, p, PAGE), 0);
		dev_expect(i, p, 0x10 + i);
		assert_int_equal(mmem_stat(two.space, MMEM_STAT_MAPPED), 2 * i + 2);
		assert_int_equal(mmem_protect(two.space, p, PAGE, MMEM_READ), 0);
		memset(mm_scratch, 0, PAGE);
		assert_int_equal(run(0, SMMUV3_MODEL_WRITE, p, mm_scratch, PAGE),
				SMMUV3_MODEL_ABORTED);
		assert_int_equal(run(1, SMMUV3_MODEL_WRITE, p, mm_scratch, PAGE),
				SMMUV3_MODEL_ABORTED);
		assert_int_equal(mmem_protect(two.space, p, PAGE, RW), 0);
		assert_int_equal(mmem_unmap(two.space, p, PAGE), 0);
	}
	dev_expect(0, p, 0x11);
	dev_expect(1, p, 0x11);
	assert_int_equal(mmem_free(two.space, p), 0);
	q = mmem_alloc(two.space, CHUNK, RW);
	assert_ptr_equal(q, p);
	dev_expect(1, p, 0);
	dev_expect(0, p, 0);
}

static int
fill_page(void *ctx, uint64_t offset, void *dst, size_t len)
{
	memcpy(dst, (uint8_t *)ctx + offset, len);
	return 0;
}

static int
write_page(void *ctx, uint64_t offset, const void *src, size_t len)
{
	memcpy((uint8_t *)ctx + offset, src, len);
	return 0;
}

static void
test_blocks_are_evicted_from_both(void **state)
{
	uint8_t *store = calloc(NB_PAGES, PAGE);
	struct mmem_pager pager = { .fill = fill_page, .write = write_page, .ctx = store,
		.fetch_size = PAGE };
	unsigned int i, round;
	uint8_t *p;

	(void)state;
	assert_non_null(store);
	make_space(NB_PAGES / 4 * PAGE);
	p = mmem_alloc_paged(two.space, NB_PAGES * PAGE, RW, &pager);
	assert_non_null(p);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < NB_PAGES; i++)
			dev_set((i + round) & 1, p + i * PAGE, round * NB_PAGES + i);
		for (i = 0; i < NB_PAGES; i++)
			dev_expect((i + round + 1) & 1, p + i * PAGE, round * NB_PAGES + i);
	}
	assert_true(mmem_stat(two.space, MMEM_STAT_EVICTED) >= 2 * NB_PAGES);
	assert_int_equal(mmem_free(two.space, p), 0);
	for (i = 0; i < NB_PAGES; i++)
		mm_cpu_expect(store + i * PAGE, 2 * NB_PAGES + i, PAGE);
	free(store);
}

static void
test_an_import_is_reached_behind_both(void **state)
{
	uint8_t *p = mm_map_shared(CHUNK);

	(void)state;
	make_space(0);
	assert_int_equal(mmem_import(two.space, p, 4 * PAGE, RW), 0);
	check_both_share(p);
	assert_int_equal(mmem_release(two.space, p), 0);
	assert_int_equal(run(0, SMMUV3_MODEL_READ, p, mm_scratch, PAGE), SMMUV3_MODEL_ABORTED);
	assert_int_equal(run(1, SMMUV3_MODEL_READ, p, mm_scratch, PAGE), SMMUV3_MODEL_ABORTED);
	munmap(p, CHUNK);
}

static void
test_a_device_behind_an_unnamed_iommu_is_refused(void **state)
{
	(void)state;
	make_space(0);
	destroy_space();
	two.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = two.sides[0].smmu,
			.size = NB_CHUNKS * CHUNK, .no_hugepages = true });
	assert_non_null(two.pool);
	two.space = mmem_space_create(&(struct mmem_space_conf){ .pool = two.pool });
	assert_non_null(two.space);
	SAYS("mmem_pool_conf.others", assert_int_equal(mmem_attach(two.space, two.sides[1].dev,
			IOPF_NO_PASID), -EXDEV));
	assert_int_equal(mmem_space_destroy(two.space), 0);
	assert_int_equal(mmem_pool_destroy(two.pool), 0);
	two.space = NULL;
}

static void
check_pool_refused(struct iopf_iommu * const *others, unsigned int nb_others)
{
	assert_null(mmem_pool_create(&(struct mmem_pool_conf){ .iommu = two.sides[0].smmu,
			.others = others, .nb_others = nb_others, .size = NB_CHUNKS * CHUNK }));
	assert_int_equal(rte_errno, EINVAL);
}

static void
test_a_wrong_list_of_iommus_is_refused(void **state)
{
	struct iopf_iommu *hole[] = { two.sides[1].smmu, NULL };
	struct iopf_iommu *twice[] = { two.sides[1].smmu, two.sides[0].smmu };

	(void)state;
	SAYS("set others", check_pool_refused(NULL, 1));
	SAYS("entry 1", check_pool_refused(hole, 2));
	SAYS("twice", check_pool_refused(twice, 2));
}

/* Each can map the pool alone; a refused pool leaves nothing mapped behind either. */
static void
test_different_device_addresses_are_refused(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		SAYS("another device address", assert_null(make_pool(0)));
		assert_int_equal(rte_errno, ENOTSUP);
	}
	for (i = 0; i < 2; i++) {
		two.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = two.sides[i].smmu,
				.size = NB_CHUNKS * CHUNK, .no_hugepages = true });
		assert_non_null(two.pool);
		assert_int_equal(mmem_pool_destroy(two.pool), 0);
	}
}

/* Otherwise an access flag that only one of them sets would look like an unused page. */
static void
test_access_flags_are_used_only_if_both_set_them(void **state)
{
	const struct smmuv3_model_conf httu = { .features = SMMUV3_MODEL_HTTU_AF };

	(void)state;
	side_close(&two.sides[1]);
	side_open(&two.sides[1], "smmuv3", &httu);
	two.pool = make_pool(0);
	assert_non_null(two.pool);
	assert_false(two.pool->access_flag);
	assert_int_equal(mmem_pool_destroy(two.pool), 0);
	side_close(&two.sides[0]);
	side_open(&two.sides[0], "smmuv3", &httu);
	two.pool = make_pool(0);
	assert_non_null(two.pool);
	assert_true(two.pool->access_flag);
	assert_int_equal(mmem_pool_destroy(two.pool), 0);
}

#define IOMMUS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define PIECES_TEST(f) { #f "_in_pieces", f, setup_pieces, teardown, NULL }

static const struct CMUnitTest tests[] = {
	IOMMUS_TEST(test_devices_behind_two_iommus_share_a_space),
	PIECES_TEST(test_devices_behind_two_iommus_share_a_space),
	IOMMUS_TEST(test_an_unmap_and_a_free_are_complete_behind_both),
	PIECES_TEST(test_an_unmap_and_a_free_are_complete_behind_both),
	IOMMUS_TEST(test_blocks_are_evicted_from_both),
	IOMMUS_TEST(test_an_import_is_reached_behind_both),
	PIECES_TEST(test_an_import_is_reached_behind_both),
	IOMMUS_TEST(test_a_device_behind_an_unnamed_iommu_is_refused),
	IOMMUS_TEST(test_a_wrong_list_of_iommus_is_refused),
	cmocka_unit_test_setup_teardown(test_different_device_addresses_are_refused,
			setup_one_in_pieces, teardown),
	IOMMUS_TEST(test_access_flags_are_used_only_if_both_set_them),
};
TEST_SUITE(mmem_iommus, tests, NULL, NULL);
