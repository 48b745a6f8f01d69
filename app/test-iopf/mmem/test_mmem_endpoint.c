/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An endpoint that requests pages of managed memory, beside a device that stalls, and groups too
 * large for the PRIQ.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "groups_rig.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "iopf_iommu.h"
#include "test.h"

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_enable(gr.pri_dma, stu);
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_disable(gr.pri_dma);
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_enable(gr.pri_dma, n);
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_disable(gr.pri_dma);
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_drained(gr.pri_dma);
}

static int
add_devices(void)
{
	uint32_t sids[2] = { SID, SID + 1 };

	assert_int_equal(mmem_detach(gr.space, gr.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(gr.dev), 0);
	gr.pri_dma = smmuv3_model_dma_create(gr.model, &(struct smmuv3_model_dma_conf){
			.sid = sids[0], .kind = SMMUV3_MODEL_DMA_ATS, .group_pages = 64 });
	gr.stall_dma = smmuv3_model_dma_create(gr.model, &(struct smmuv3_model_dma_conf){
			.sid = sids[1] });
	assert_non_null(gr.pri_dma);
	assert_non_null(gr.stall_dma);
	gr.dev = iopf_dev_add(gr.smmu, &(struct iopf_dev_conf){ .sids = &sids[0], .nb_sids = 1,
			.recover = IOPF_PRI, .pri_requests = 64, .pri_overcommit = true,
			.pci = &(struct iopf_pci_ops){
				.ats_enable = ats_enable, .ats_disable = ats_disable,
				.pri_enable = pri_enable, .pri_disable = pri_disable,
				.pri_drained = pri_drained } });
	gr.stalls = iopf_dev_add(gr.smmu, &(struct iopf_dev_conf){ .sids = &sids[1],
			.nb_sids = 1 });
	assert_int_equal(mmem_attach(gr.space, gr.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(gr.space, gr.stalls, IOPF_NO_PASID), 0);
	gr.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(gr.poller, gr.smmu, IOPF_QUEUE_ALL), 0);
	return 0;
}

static int
setup_devices(void **state)
{
	gr_setup(state);
	return add_devices();
}

/* No group of the endpoint fits into the queue. */
static int
setup_too_large(void **state)
{
	(void)state;
	gr_setup_queue(3);
	assert_int_equal(iopf_iommu_info(gr.smmu)->request_queue_size, 8);
	return add_devices();
}

static int
teardown_devices(void **state)
{
	assert_int_equal(iopf_poller_remove(gr.poller, gr.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_poller_destroy(gr.poller), 0);
	assert_int_equal(mmem_detach(gr.space, gr.stalls, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(gr.stalls), 0);
	assert_int_equal(mmem_detach(gr.space, gr.dev, IOPF_NO_PASID), 0);
	smmuv3_model_dma_destroy(gr.pri_dma);
	smmuv3_model_dma_destroy(gr.stall_dma);
	return gr_teardown(state);
}

static uint8_t bytes[64 * 4096];

static void
submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, uint8_t *addr, size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = bytes, .len = len }), 0);
}

/* Run the model until it needs the poller. */
static void
run_model(void)
{
	while (smmuv3_model_step(gr.model, 64) != 0)
		;
}

static struct smmuv3_model_done
await(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done = { 0 };
	unsigned int i;

	for (i = 0; smmuv3_model_dma_poll(dma, &done, 1) == 0; i++) {
		assert_true(i < 1000);
		run_model();
		iopf_poll(gr.poller);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	return done;
}

static void
test_an_endpoint_requests_once_and_is_answered_once(void **state)
{
	uint8_t *buf = gr_alloc(CHUNK, TRACKED);
	struct iopf_domain *domain = mmem_space_domain(gr.space);

	(void)state;
	submit(gr.pri_dma, SMMUV3_MODEL_READ, buf, 64 * PAGE);
	assert_int_equal(await(gr.pri_dma).nb_groups, 1);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 64);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_FAULTS), 1);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_REQUESTS), 64);
	assert_int_equal(gr.answers_after, 0);
	/* 64 pages become writable with one invalidation and one answer. */
	memset(bytes, 0xa5, sizeof(bytes));
	submit(gr.pri_dma, SMMUV3_MODEL_WRITE, buf, 64 * PAGE);
	assert_int_equal(await(gr.pri_dma).nb_groups, 1);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 64);
	assert_int_equal(gr.answers_after, 1);
	gr_expect_inv(&gr.after, buf, 64);
	assert_int_equal(gr.invs, 0);
	assert_memory_equal(buf, bytes, sizeof(bytes));
	/* The unmap invalidates the ATC, so the endpoint requests again. */
	assert_int_equal(mmem_unmap(gr.space, buf, CHUNK), 0);
	submit(gr.pri_dma, SMMUV3_MODEL_READ, buf, PAGE);
	assert_int_equal(await(gr.pri_dma).nb_groups, 1);
}

/* The deferred handler runs on the worker. */
static void
test_an_endpoint_waits_for_the_pager(void **state)
{
	uint8_t *buf = gr_alloc_paged(2 * CHUNK);
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	submit(gr.pri_dma, SMMUV3_MODEL_READ, buf + CHUNK - 4 * PAGE, 8 * PAGE);
	for (i = 0; smmuv3_model_dma_poll(gr.pri_dma, &done, 1) == 0; i++) {
		assert_true(i < 20000);
		run_model();
		if (iopf_poll(gr.poller) == 0)
			usleep(1000);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_groups, 1);
	assert_int_equal(bytes[0], 0x5a);
	assert_int_equal(atomic_load(&gr.fills), 2);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 8);
	assert_int_equal(gr_stat(MMEM_STAT_DEFERRED), 1);
}

static void
test_a_stalling_device_and_an_endpoint_share_a_map(void **state)
{
	struct iopf_domain *domain = mmem_space_domain(gr.space);
	uint8_t *buf = gr_alloc(CHUNK, TRACKED);

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		/* Both devices fault on the page before the first poll. */
		submit(gr.pri_dma, i ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, buf, 8);
		submit(gr.stall_dma, i ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, buf + 64, 8);
		run_model();
		assert_int_equal(smmuv3_model_stalls_outstanding(gr.model), 1);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(gr.pri_dma), 1);
		assert_int_equal(await(gr.pri_dma).nb_groups, 1);
		assert_int_equal(await(gr.stall_dma).nb_stalls, 1);
		assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 1);
		assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), i);
		assert_int_equal(gr_stat(MMEM_STAT_JOINED), i + 1);
		assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_SUCCESS), 2 * (i + 1));
	}
}

/* Alternately run the model, until it answers a group itself or rests, and poll. */
static bool
run_turns(unsigned int n, struct smmuv3_model_done *done)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t told = smmuv3_model_stat(gr.model, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS);

		while (smmuv3_model_step(gr.model, 1) != 0 && smmuv3_model_stat(gr.model,
				SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) == told)
			;
		iopf_poll(gr.poller);
		if (smmuv3_model_dma_poll(gr.pri_dma, done, 1) != 0) {
			assert_int_equal(done->status, SMMUV3_MODEL_OK);
			return true;
		}
	}
	return false;
}

static void
test_a_group_too_large_for_the_queue_gets_its_rights_raised(void **state)
{
	uint8_t *buf = gr_alloc(CHUNK, TRACKED);
	struct smmuv3_model_done done;

	(void)state;
	submit(gr.pri_dma, SMMUV3_MODEL_READ, buf, 64 * PAGE);
	assert_true(run_turns(1000, &done));
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 64);
	assert_int_equal(gr.answers_after, 0);
	memset(bytes, 0xa5, sizeof(bytes));
	submit(gr.pri_dma, SMMUV3_MODEL_WRITE, buf, 64 * PAGE);
	assert_true(run_turns(1000, &done));
	assert_memory_equal(buf, bytes, sizeof(bytes));
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 64);
	assert_in_range(gr.answers_after, 2, 64);
	/* No thread waited, and no invalidation is missing. */
	assert_int_equal(gr.invs, 0);
	assert_false(atomic_load(&gr.space->inv_missing));
	assert_in_range(iopf_iommu_stat(gr.smmu, IOPF_IOMMU_STAT_OVERFLOWS), 2, 1000);
}

/* The control thread fetches each chunk once, and again after a failure. */
static void
test_a_group_too_large_for_the_queue_gets_its_bytes(void **state)
{
	/* MMEM_POPULATE: the thread has nothing to populate ahead, and sleeps. */
	uint8_t *buf = mmem_alloc_paged(gr.space, 2 * CHUNK, RW | MMEM_POPULATE,
			&(struct mmem_pager){ .fill = gr_fill });
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	assert_non_null(buf);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	gr.fill_result = -EIO;
	submit(gr.pri_dma, SMMUV3_MODEL_READ, buf + CHUNK - 32 * PAGE, 64 * PAGE);
	for (i = 0; atomic_load(&gr.fills) < 3 && i < 200000; i++) {
		assert_false(run_turns(1, &done));
		usleep(100);
	}
	assert_in_range(i, 1, 199999);
	gr.fill_result = 0;
	for (i = 0; !run_turns(1, &done) && i < 200000; i++)
		usleep(100);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
	assert_in_range(i, 0, 199999);
	for (i = 0; i < sizeof(bytes); i += PAGE)
		assert_int_equal(bytes[i], 0x5a);
	assert_int_equal(gr_stat(MMEM_STAT_FILLED), 2 * CHUNK / PAGE);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 64);
	assert_int_equal(gr_stat(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(gr.reports, 0);
}

#define LARGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_too_large, teardown_devices)
#define DEVICE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_devices, teardown_devices)

static const struct CMUnitTest tests[] = {
	DEVICE_TEST(test_an_endpoint_requests_once_and_is_answered_once),
	DEVICE_TEST(test_an_endpoint_waits_for_the_pager),
	DEVICE_TEST(test_a_stalling_device_and_an_endpoint_share_a_map),
	LARGE_TEST(test_a_group_too_large_for_the_queue_gets_its_rights_raised),
	LARGE_TEST(test_a_group_too_large_for_the_queue_gets_its_bytes),
};
TEST_SUITE(mmem_endpoint, tests, NULL, NULL);
