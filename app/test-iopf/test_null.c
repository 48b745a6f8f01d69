/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An application uses the result of a failed create or open without a check: every function of the
 * public headers returns EINVAL if an object is NULL. devtools/check-headers.sh checks that each
 * function is called here.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>

#include "iopf.h"
#include "iopf_iommu.h"
#include "iopf_driver.h"
#include "iopf_guest.h"
#include "iopf_handler.h"
#include "iopf_listener.h"
#include "iopf_pci.h"
#include "iopf_policy.h"
#include "iopf_poller.h"
#include "iopf_power.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "mmem_dirty.h"
#include "mmem_move.h"
#include "pgtable.h"
#include "pgtable_resize.h"
#include "smmuv3_front.h"
#include "smmuv3_model.h"
#include "smmuv3_model_page.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* -EINVAL, in rte_errno too. */
#define REFUSES(call)						\
	do {							\
		rte_errno = 0;					\
		assert_int_equal(call, -EINVAL);		\
		assert_int_equal(rte_errno, EINVAL);		\
	} while (0)

/* NULL or 0, and EINVAL in rte_errno. */
#define IS_NOTHING(call)					\
	do {							\
		rte_errno = 0;					\
		assert_true((call) == 0);			\
		assert_int_equal(rte_errno, EINVAL);		\
	} while (0)

static const uint32_t sid = 5;
static char some[4096];

static void
test_null_iommu_is_refused(void **state)
{
	const struct iopf_iommu_conf conf = { .report = NULL };
	const struct iopf_dev_conf dev_conf = { .sids = &sid, .nb_sids = 1 };
	const char *name = "";
	uint64_t addr;

	(void)state;
	IS_NOTHING(iopf_iommu_open(NULL));
	REFUSES(iopf_iommu_configure(NULL, &conf));
	REFUSES(iopf_iommu_configure(NULL, NULL));
	REFUSES(iopf_iommu_start(NULL));
	REFUSES(iopf_iommu_stop(NULL));
	assert_int_equal(iopf_iommu_close(NULL), 0);
	REFUSES(iopf_iommu_idle(NULL, -1));
	REFUSES(iopf_iommu_set_power(NULL, NULL));
	REFUSES(iopf_iommu_suspend(NULL, 0));
	REFUSES(iopf_iommu_resume(NULL));
	IS_NOTHING(iopf_iommu_is_suspended(NULL));
	REFUSES(iopf_dev_get(NULL));
	REFUSES(iopf_dev_put(NULL));
	REFUSES(iopf_dev_active(NULL));
	IS_NOTHING(iopf_iommu_info(NULL));
	IS_NOTHING(iopf_iommu_name(NULL));
	IS_NOTHING(iopf_iommu_requests_granted(NULL));
	IS_NOTHING(iopf_iommu_stat(NULL, IOPF_IOMMU_STAT_RECORDS));
	IS_NOTHING(iopf_iommu_driver_stat(NULL, 0, &name));
	iopf_iommu_dump(NULL, stdout);
	REFUSES(iopf_dma_map(NULL, some, sizeof(some), &addr));
	REFUSES(iopf_dma_unmap(NULL, some, sizeof(some), 0));
	IS_NOTHING(iopf_dev_add(NULL, &dev_conf));
	IS_NOTHING(iopf_dev_add(NULL, NULL));
}

static void
test_null_dev_and_domain_are_refused(void **state)
{
	const struct iopf_inv inv = { .all = true };
	static uint64_t samples[IOPF_LATENCY_STEPS];
	struct iopf_latency latency;
	struct iopf_record record;
	struct iopf_inv_result result = { .done = 1 };

	(void)state;
	assert_int_equal(iopf_dev_remove(NULL), 0);
	REFUSES(iopf_dev_pri_restart(NULL));
	REFUSES(iopf_dev_quarantine(NULL));
	REFUSES(iopf_dev_release(NULL));
	IS_NOTHING(iopf_dev_is_quarantined(NULL));
	IS_NOTHING(iopf_domain_is_tripped(NULL, NULL, IOPF_NO_PASID));
	REFUSES(iopf_dev_fence(NULL));
	IS_NOTHING(iopf_group_has_room(NULL));
	IS_NOTHING(iopf_dev_name(NULL));
	IS_NOTHING(iopf_dev_iommu(NULL));
	IS_NOTHING(iopf_dev_ctx(NULL));
	IS_NOTHING(iopf_dev_handle(NULL));
	IS_NOTHING(iopf_domain_create(NULL));
	assert_int_equal(iopf_domain_destroy(NULL), 0);
	REFUSES(iopf_domain_attach(NULL, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_detach(NULL, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_replace(NULL, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_episode(NULL, NULL, IOPF_NO_PASID, NULL));
	REFUSES(iopf_domain_rearm(NULL, NULL, IOPF_NO_PASID, NULL));
	IS_NOTHING(iopf_domain_ctx(NULL));
	IS_NOTHING(iopf_domain_name(NULL));
	IS_NOTHING(iopf_domain_stat(NULL, IOPF_STAT_FAULTS));
	IS_NOTHING(iopf_dev_stat(NULL, IOPF_DEV_STAT_REPORTS));
	IS_NOTHING(iopf_domain_pending(NULL));
	IS_NOTHING(iopf_listener_open(NULL));
	IS_NOTHING(iopf_listener_open(&(struct iopf_listener_conf){ .size = 4 }));
	REFUSES(iopf_listener_read(NULL, &record, 1));
	assert_int_equal(iopf_listener_close(NULL), 0);
	IS_NOTHING(iopf_listener_stat(NULL, IOPF_LISTENER_STAT_EVENTS));
	memset(&latency, 0xff, sizeof(latency));
	iopf_domain_latency(NULL, &latency);
	assert_int_equal(latency.samples, 0);
	iopf_domain_latency(NULL, NULL);
	memset(samples, 0xff, sizeof(samples));
	iopf_domain_histogram(NULL, samples);
	for (unsigned int i = 0; i < IOPF_LATENCY_STEPS; i++)
		assert_int_equal(samples[i], 0);
	iopf_domain_histogram(NULL, NULL);
	IS_NOTHING(iopf_latency_step_cycles(IOPF_LATENCY_STEPS));
	REFUSES(iopf_invalidate(NULL, &inv, 1, &result));
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_REFUSED);
	REFUSES(iopf_invalidate_guest(NULL, NULL, NULL, 0, &result));
	assert_int_equal(result.error, IOPF_INV_REFUSED);
	REFUSES(iopf_group_invalidate(NULL, &inv));
	/* These functions take no object. */
	assert_int_equal(iopf_quiesce(), 0);
	assert_int_equal(iopf_may_wait(), 0);
	assert_int_equal(iopf_group_respond(0, IOPF_SUCCESS), -ESTALE);
	assert_int_equal(iopf_group_defer(0), -ESTALE);
	assert_int_equal(iopf_group_set_deadline(0, 1), -ESTALE);
	assert_int_equal(iopf_domain_set_handler(NULL, NULL, NULL, NULL), -EINVAL);
	assert_string_equal(iopf_code_name(IOPF_NB_CODES), "unknown");
	assert_string_equal(iopf_reason_name(IOPF_NB_REASONS), "unknown");
	assert_string_equal(iopf_inv_error_name(IOPF_NB_INV_ERRORS), "unknown");
	assert_string_equal(iopf_inv_type_name(IOPF_NB_INV_TYPES), "unknown");
	assert_string_equal(iopf_stat_name(IOPF_NB_STATS), "unknown");
	assert_string_equal(iopf_iommu_stat_name(IOPF_NB_IOMMU_STATS), "unknown");
	assert_string_equal(iopf_dev_stat_name(IOPF_NB_DEV_STATS), "unknown");
	assert_string_equal(iopf_listener_stat_name(IOPF_NB_LISTENER_STATS), "unknown");
	assert_string_equal(iopf_event_class_name(IOPF_NB_CLASSES), "unknown");
	assert_string_equal(iopf_event_class_name(IOPF_CLASS_IN), "in");
}

static enum iopf_verdict
refuse(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

/* One object is valid, the other is NULL. */
static void
test_one_null_of_two_objects_is_refused(void **state)
{
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;

	(void)state;
	iommu = iopf_iommu_open("smmuv3,model=null");
	assert_non_null(iommu);
	IS_NOTHING(iopf_dev_add(iommu, NULL));
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = refuse });
	assert_non_null(domain);
	poller = iopf_poller_create(NULL);
	assert_non_null(poller);

	REFUSES(iopf_domain_attach(domain, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_attach(NULL, dev, IOPF_NO_PASID));
	REFUSES(iopf_domain_detach(domain, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_detach(NULL, dev, IOPF_NO_PASID));
	REFUSES(iopf_domain_replace(domain, NULL, IOPF_NO_PASID));
	REFUSES(iopf_domain_replace(NULL, dev, IOPF_NO_PASID));
	REFUSES(iopf_invalidate(domain, NULL, 1, NULL));
	REFUSES(iopf_invalidate_guest(iommu, NULL, NULL, 0, NULL));
	REFUSES(iopf_invalidate_guest(NULL, domain, NULL, 0, NULL));
	REFUSES(iopf_invalidate_guest(iommu, domain, NULL, 1, NULL));
	REFUSES(iopf_poller_add(poller, NULL, IOPF_QUEUE_ALL));
	REFUSES(iopf_poller_remove(poller, NULL, IOPF_QUEUE_ALL));
	REFUSES(iopf_poller_add(NULL, iommu, IOPF_QUEUE_ALL));
	REFUSES(iopf_poller_move(poller, NULL, IOPF_QUEUE_ALL));
	REFUSES(iopf_poller_move(NULL, iommu, 0));
	REFUSES(iopf_poller_remove(NULL, iommu, 0));
	REFUSES(iopf_dma_map(iommu, NULL, 4096, NULL));
	iopf_iommu_dump(iommu, NULL);
	REFUSES(mmem_attach(NULL, dev, IOPF_NO_PASID));
	REFUSES(mmem_replace(NULL, dev, IOPF_NO_PASID));

	assert_int_equal(iopf_poller_destroy(poller), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	assert_int_equal(iopf_dev_remove(dev), 0);
	assert_int_equal(iopf_iommu_close(iommu), 0);
}

static void
test_null_poller_and_worker_are_refused(void **state)
{
	(void)state;
	assert_int_equal(iopf_poller_destroy(NULL), 0);
	REFUSES(iopf_poller_add(NULL, NULL, IOPF_QUEUE_ALL));
	REFUSES(iopf_poller_remove(NULL, NULL, IOPF_QUEUE_ALL));
	IS_NOTHING(iopf_poll(NULL));
	REFUSES(iopf_poller_run(NULL));
	iopf_poller_stop(NULL);
	REFUSES(iopf_poller_move(NULL, NULL, IOPF_QUEUE_ALL));
	IS_NOTHING(iopf_poller_stat(NULL, IOPF_POLLER_STAT_SLEEPS));
	assert_string_equal(iopf_poller_stat_name(IOPF_NB_POLLER_STATS), "unknown");
	assert_int_equal(iopf_worker_destroy(NULL), 0);
	/* All defaults. */
	assert_int_equal(iopf_poller_destroy(iopf_poller_create(NULL)), 0);
	assert_int_equal(iopf_worker_destroy(iopf_worker_create(NULL)), 0);
}

static void
test_null_pool_and_space_are_refused(void **state)
{
	const struct mmem_pager pager = { .ctx = NULL };
	uint64_t word;

	(void)state;
	IS_NOTHING(mmem_pool_create(NULL));
	IS_NOTHING(mmem_pool_create(&(struct mmem_pool_conf){ .iommu = NULL }));
	assert_int_equal(mmem_pool_destroy(NULL), 0);
	IS_NOTHING(mmem_pool_hugepages(NULL));
	IS_NOTHING(mmem_space_create(NULL));
	IS_NOTHING(mmem_space_create(&(struct mmem_space_conf){ .pool = NULL }));
	assert_int_equal(mmem_space_destroy(NULL), 0);
	IS_NOTHING(mmem_space_domain(NULL));
	REFUSES(mmem_attach(NULL, NULL, IOPF_NO_PASID));
	REFUSES(mmem_replace(NULL, NULL, IOPF_NO_PASID));
	REFUSES(mmem_detach(NULL, NULL, IOPF_NO_PASID));
	IS_NOTHING(mmem_alloc(NULL, 4096, MMEM_READ));
	IS_NOTHING(mmem_map_file(NULL, "/etc/passwd", 0, 4096, MMEM_READ));
	IS_NOTHING(mmem_alloc_paged(NULL, 4096, MMEM_READ, &pager));
	IS_NOTHING(mmem_alloc_paged(NULL, 4096, MMEM_READ, NULL));
	REFUSES(mmem_free(NULL, some));
	REFUSES(mmem_unmap(NULL, some, 4096));
	REFUSES(mmem_protect(NULL, some, 4096, MMEM_READ));
	REFUSES(mmem_prefetch(NULL, some, 4096));
	REFUSES(mmem_prefetch_start(NULL, some, 4096, NULL));
	REFUSES(mmem_advise(NULL, some, 4096, MMEM_ADVISE_NORMAL));
	REFUSES(mmem_advise(NULL, some, 4096, MMEM_ADVISE_WILL_NEED));
	REFUSES(mmem_pin(NULL, some, 4096));
	REFUSES(mmem_unpin(NULL, some, 4096));
	REFUSES(mmem_hotset_record(NULL));
	REFUSES(mmem_hotset_save(NULL, "x"));
	REFUSES(mmem_hotset_replay(NULL, "x", NULL));
	REFUSES(mmem_completion_poll(NULL));
	REFUSES(mmem_completion_wait(NULL, 0));
	REFUSES(mmem_resolve(NULL, 0, IOPF_PERM_READ));
	REFUSES(mmem_sync(NULL, NULL, 4096));
	REFUSES(mmem_dirty_start(NULL, some));
	REFUSES(mmem_dirty_harvest(NULL, some, 4096, &word));
	REFUSES(mmem_dirty_stop(NULL, some));
	REFUSES(mmem_move(NULL, some, 4096, MMEM_ANY_NODE));
	REFUSES(mmem_import(NULL, some, 4096, MMEM_READ));
	IS_NOTHING(mmem_import_fd(NULL, 0, 0, 4096, MMEM_READ));
	REFUSES(mmem_release(NULL, some));
	IS_NOTHING(mmem_stat(NULL, MMEM_STAT_MAPPED));
	assert_non_null(mmem_stat_name(MMEM_NB_STATS));
	mmem_fetch_done(NULL, 0);
	mmem_write_done(NULL, 0);
}

/*
 * pgt_resolve(), pgt_resolve_block(), pgt_resolve_begin(), pgt_resolve_commit() and
 * pgt_resolve_cancel() do not check for NULL.
 */
static void
test_null_page_table_is_refused(void **state)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[1];
	struct pgt_info info = { .root = 1 };
	struct pgt_leaf leaf;

	(void)state;
	errno = 0;
	assert_null(pgt_create(NULL));
	assert_int_equal(errno, EINVAL);
	pgt_destroy(NULL);
	pgt_free_tables(NULL, NULL);
	assert_int_equal(pgt_root(NULL), 0);
	assert_int_equal(pgt_va_bits(NULL), 0);
	assert_int_equal(pgt_granule_log2(NULL), 0);
	pgt_info(NULL, &info);
	assert_int_equal(info.root, 0);
	pgt_info(NULL, NULL);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_prealloc(NULL, 0, 4096), -EINVAL);
	assert_int_equal(pgt_map(NULL, 0, 0, 4096, PGT_READ), -EINVAL);
	assert_int_equal(pgt_protect(NULL, 0, 4096, PGT_READ, &out), -EINVAL);
	assert_int_equal(pgt_harvest(NULL, 0, 4096, PGT_DIRTY, &out), -EINVAL);
	assert_int_equal(pgt_split_begin(NULL, 0, NULL, &out), -EINVAL);
	assert_int_equal(pgt_join_begin(NULL, 0, 4096, NULL, &out), -EINVAL);
	assert_int_equal(pgt_resize_end(NULL), -EINVAL);
	assert_int_equal(pgt_unmap(NULL, 0, 4096, 0, &out), -EINVAL);
	assert_int_equal(pgt_open(NULL, 0, 4096), -EINVAL);
	assert_int_equal(pgt_walk(NULL, 0, &leaf), -EINVAL);
	assert_string_equal(pgt_state_name(-1), "?");
}

static void
test_null_model_is_refused(void **state)
{
	(void)state;
	assert_null(smmuv3_model_lookup(NULL));
	smmuv3_model_destroy(NULL);
	assert_null(smmuv3_model_regs(NULL));
	assert_int_equal(smmuv3_model_regs_size(NULL), 0);
	assert_int_equal(smmuv3_model_mem_add(NULL, 0, some, 4096), -EINVAL);
	assert_int_equal(smmuv3_model_mem_del(NULL, 0), -EINVAL);
	assert_int_equal(smmuv3_model_step(NULL, 1), 0);
	assert_int_equal(smmuv3_model_start(NULL, -1), -EINVAL);
	assert_int_equal(smmuv3_model_stop(NULL), -EINVAL);
	smmuv3_model_wait(NULL);
	smmuv3_model_irq_fd(NULL, SMMUV3_MODEL_IRQ_EVTQ, -1);
	smmuv3_model_knob(NULL, 0, 0);
	assert_int_equal(smmuv3_model_harsh(NULL), 0);
	assert_false(smmuv3_model_has_dma(NULL));
	assert_int_equal(smmuv3_model_stat(NULL, 0), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(NULL), 0);
	assert_int_equal(smmuv3_model_driver_errors(NULL), 0);
	assert_null(smmuv3_model_driver_error(NULL, 0));
	smmuv3_model_driver_errors_clear(NULL);
	assert_int_equal(smmuv3_model_oracle_errors(NULL), 0);
	assert_null(smmuv3_model_oracle_error(NULL, 0));
	smmuv3_model_oracle_errors_clear(NULL);
	assert_int_equal(smmuv3_model_silent_reports(NULL), 0);
	assert_null(smmuv3_model_silent_report(NULL, 0));
	assert_int_equal(smmuv3_model_frame_give(NULL, 0, 4096, 1), -EINVAL);
	assert_int_equal(smmuv3_model_frame_free(NULL, 0, 4096), -EINVAL);
	smmuv3_model_irq_unmask(NULL, SMMUV3_MODEL_IRQ_EVTQ);
	assert_int_equal(smmuv3_model_power_off(NULL), -EINVAL);
	assert_int_equal(smmuv3_model_power_on(NULL), -EINVAL);
	assert_string_equal(smmuv3_model_stat_name(-1), "unknown");
	assert_string_equal(smmuv3_model_status_name(-1), "unknown");
	assert_int_equal(smmuv3_model_page_create(NULL, NULL), -EINVAL);
	smmuv3_model_page_destroy(NULL);
	/* All defaults. */
	smmuv3_model_destroy(smmuv3_model_create(NULL));
}

static void
test_null_front_end_is_refused(void **state)
{
	uint64_t record[4] = { 0 }, base = 1;
	uint32_t cfg = 1;

	(void)state;
	errno = 0;
	assert_null(smmuv3_front_create(NULL));
	assert_int_equal(errno, EINVAL);
	smmuv3_front_destroy(NULL);
	assert_null(smmuv3_front_regs(NULL));
	assert_int_equal(smmuv3_front_mem_add(NULL, 0, some, 1), -EINVAL);
	assert_int_equal(smmuv3_front_step(NULL, 1), 0);
	assert_int_equal(smmuv3_front_event(NULL, record), -EINVAL);
	assert_int_equal(smmuv3_front_request(NULL, record), -EINVAL);
	assert_false(smmuv3_front_is_on(NULL));
	assert_false(smmuv3_front_bypasses(NULL));
	smmuv3_front_strtab(NULL, NULL, NULL);
	smmuv3_front_strtab(NULL, &base, &cfg);
	assert_int_equal(base, 0);
	assert_int_equal(cfg, 0);
	smmuv3_front_irq_fd(NULL, SMMUV3_MODEL_IRQ_EVTQ, -1);
	assert_false(smmuv3_front_records_sids(NULL));
	smmuv3_front_reset(NULL);
	assert_int_equal(smmuv3_front_read(NULL, 0, record, 8), -EINVAL);
	assert_int_equal(smmuv3_front_errors(NULL), 0);
	assert_null(smmuv3_front_error(NULL, 0));
	smmuv3_front_errors_clear(NULL);
	smmuv3_front_knob(NULL, SMMUV3_MODEL_KNOB_SFM, 1);
	assert_int_equal(smmuv3_front_stat(NULL, SMMUV3_MODEL_STAT_COMMANDS), 0);
}

static void
test_null_engine_is_refused(void **state)
{
	const struct smmuv3_model_op op = { .type = SMMUV3_MODEL_WRITE, .buf = some, .len = 1 };
	struct smmuv3_model_done done;

	(void)state;
	errno = 0;
	assert_null(smmuv3_model_dma_create(NULL, &(struct smmuv3_model_dma_conf){ .sid = 1 }));
	assert_int_equal(errno, EINVAL);
	smmuv3_model_dma_destroy(NULL);
	assert_int_equal(smmuv3_model_dma_ats_enable(NULL, 0), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_disable(NULL), -EINVAL);
	assert_int_equal(smmuv3_model_dma_pri_enable(NULL, 1), -EINVAL);
	assert_int_equal(smmuv3_model_dma_pri_disable(NULL), -EINVAL);
	assert_true(smmuv3_model_dma_pri_drained(NULL));
	assert_false(smmuv3_model_dma_pri_failed(NULL));
	assert_int_equal(smmuv3_model_dma_pri_outstanding(NULL), 0);
	assert_int_equal(smmuv3_model_dma_stop_marker(NULL), -EINVAL);
	smmuv3_model_dma_quirks(NULL, 0, 0);
	smmuv3_model_dma_atc_delay(NULL, 1);
	smmuv3_model_dma_owner(NULL, 1);
	smmuv3_model_dma_reset(NULL);
	assert_int_equal(smmuv3_model_dma_submit(NULL, &op), -EINVAL);
	assert_int_equal(smmuv3_model_dma_poll(NULL, &done, 1), 0);
	assert_int_equal(smmuv3_model_dma_outstanding(NULL), 0);
	assert_int_equal(smmuv3_model_dma_read(NULL, some, 0, 1), -EINVAL);
	assert_int_equal(smmuv3_model_dma_write(NULL, 0, some, 1), -EINVAL);
	assert_int_equal(smmuv3_model_dma_copy(NULL, 0, 0, 1), -EINVAL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_null_iommu_is_refused),
	cmocka_unit_test(test_null_dev_and_domain_are_refused),
	cmocka_unit_test(test_one_null_of_two_objects_is_refused),
	cmocka_unit_test(test_null_poller_and_worker_are_refused),
	cmocka_unit_test(test_null_pool_and_space_are_refused),
	cmocka_unit_test(test_null_page_table_is_refused),
	cmocka_unit_test(test_null_model_is_refused),
	cmocka_unit_test(test_null_front_end_is_refused),
	cmocka_unit_test(test_null_engine_is_refused),
};
TEST_SUITE(null, tests, NULL, NULL);
