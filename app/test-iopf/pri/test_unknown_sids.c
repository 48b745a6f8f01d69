/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A storm of accesses of StreamIDs that no table has, on the software SMMUv3 with its thread,
 * beside devices that fault and are served.
 */

#include <stdatomic.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_listener.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "smmuv3_pmd.h"
#include "test.h"

#define STALLING	8
#define ENDPOINT	0x345
#define UNKNOWN		0x4000		/* and the StreamIDs after it */
#define NB_ATTACKERS	4u
#define DEPTH		16u
#define RATE		50u		/* of reports */
#define MIN_STORM	50000u		/* accesses */

static struct pcie r;
static struct pcie_fn fns[2];
static struct pcie_space spaces[2];
static struct smmuv3_model_dma *attackers[NB_ATTACKERS];
static _Atomic bool storm_stop;
static _Atomic uint64_t nb_aborted;
static uint8_t byte;

static void
submit(struct smmuv3_model_dma *dma)
{
	assert_int_equal(0, smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = PCIE_VA, .buf = &byte, .len = 1 }));
}

/* On the model's thread: the device tries again at once. */
static void
on_aborted(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	RTE_SET_USED(done);
	RTE_SET_USED(ctx);
	nb_aborted++;
	if (!storm_stop)
		submit(dma);
}

static void
storm_open(const struct iopf_iommu_conf *conf)
{
	pcie_open(&r, NULL, conf);
	/* The machine may be busy. */
	((struct smmuv3 *)r.iommu->priv)->timeout *= 60;
	pcie_add_stalling_fn(&r, &fns[0], STALLING, NULL);
	pcie_add_fn(&r, &fns[1], ENDPOINT, &(struct iopf_dev_conf){ .wait_ms = 60000 });
	for (unsigned int i = 0; i < 2; i++) {
		pcie_create_engine(&r, &fns[i], &(struct smmuv3_model_dma_conf){ .depth = 1 });
		pcie_create_space(&r, &spaces[i]);
		pcie_attach(&spaces[i], &fns[i], IOPF_NO_PASID);
	}
	storm_stop = false;
	nb_aborted = 0;
	for (unsigned int i = 0; i < NB_ATTACKERS; i++) {
		attackers[i] = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){
				.sid = UNKNOWN + i, .depth = DEPTH, .on_done = on_aborted });
		assert_non_null(attackers[i]);
		for (unsigned int k = 0; k < DEPTH; k++)
			submit(attackers[i]);
	}
	assert_int_equal(0, smmuv3_model_start(r.m, -1));
}

static void
storm_close(void)
{
	storm_stop = true;
	for (unsigned int i = 0; i < NB_ATTACKERS; i++)
		while (smmuv3_model_dma_outstanding(attackers[i]) != 0)
			iopf_poll(r.poller);
	assert_int_equal(0, smmuv3_model_stop(r.m));
	pcie_run(&r);
	for (unsigned int i = 0; i < NB_ATTACKERS; i++)
		smmuv3_model_dma_destroy(attackers[i]);
}

/* Both devices fault on each of their pages while the storm lasts. Each access succeeds. */
static void
serve_devices(void)
{
	struct smmuv3_model_done done;
	unsigned int page[2] = { 0, 0 };

	for (unsigned int i = 0; i < 2; i++)
		pcie_write(&r, fns[i].dma[0], 0, 1);
	while (page[0] < PCIE_PAGES || page[1] < PCIE_PAGES || nb_aborted < MIN_STORM) {
		iopf_poll(r.poller);
		for (unsigned int i = 0; i < 2; i++) {
			if (smmuv3_model_dma_poll(fns[i].dma[0], &done, 1) == 0)
				continue;
			assert_int_equal(SMMUV3_MODEL_OK, done.status);
			if (++page[i] < PCIE_PAGES)
				pcie_write(&r, fns[i].dma[0], page[i], 1);
		}
	}
	for (unsigned int i = 0; i < 2; i++) {
		pcie_expect_pattern(&r, &spaces[i], 0, PCIE_PAGES);
		assert_true(spaces[i].calls >= PCIE_PAGES);
	}
}

/* Each record of the storm is counted; the queue may have lost others. */
static void
check_storm(const struct iopf_iommu_conf *conf)
{
	uint64_t begin = rte_rdtsc(), records, most;

	storm_open(conf);
	serve_devices();
	storm_close();
	records = pcie_stat(&r, IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID);
	most = 1 + RATE + (rte_rdtsc() - begin) / (rte_get_tsc_hz() / RATE);
	print_message("%lu accesses of unknown StreamIDs, %lu a second; %lu records, %u reports\n",
			(unsigned long)nb_aborted, (unsigned long)(nb_aborted * rte_get_tsc_hz() /
			(rte_rdtsc() - begin)), (unsigned long)records, r.nb_reports);
	assert_int_equal(nb_aborted, records +
			pcie_model_stat(&r, SMMUV3_MODEL_STAT_EVENTS_LOST));
	assert_true(records > RATE);
	assert_int_equal(records, r.nb_reports + pcie_stat(&r, IOPF_IOMMU_STAT_REPORTS_LEFT_OUT));
	assert_int_equal(r.nb_reports, pcie_stat(&r, IOPF_IOMMU_STAT_REPORTS));
	if (conf->mute_unknown_sids)
		assert_int_equal(0, r.nb_reports);
	else if (conf->unknown_sid_rate != 0)
		assert_in_range(r.nb_reports, RATE, most);
	else
		assert_int_equal(records, r.nb_reports);
	pcie_close(&r);
}

static void
devices_are_served_in_a_storm_of_unknown_sids(void **state)
{
	(void)state;
	check_storm(&(struct iopf_iommu_conf){ .event_queue_size = 0 });
}

static void
reports_of_unknown_sids_are_limited(void **state)
{
	(void)state;
	check_storm(&(struct iopf_iommu_conf){ .unknown_sid_rate = RATE });
}

static void
reports_of_unknown_sids_are_muted(void **state)
{
	(void)state;
	check_storm(&(struct iopf_iommu_conf){ .mute_unknown_sids = true });
}

/* Neither limits the reports of devices that are known, nor what a listener gets. */
static void
other_reports_are_not_limited(void **state)
{
	struct iopf_listener *listener;
	struct smmuv3_model_dma *dma;
	struct iopf_record record;

	(void)state;
	pcie_open(&r, NULL, &(struct iopf_iommu_conf){ .unknown_sid_rate = 1,
			.mute_unknown_sids = true });
	listener = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = r.iommu });
	assert_non_null(listener);
	pcie_add_stalling_fn(&r, &fns[0], STALLING, NULL);
	pcie_create_engine(&r, &fns[0], &(struct smmuv3_model_dma_conf){ .depth = 1 });
	/* Known, and not attached. */
	for (unsigned int i = 0; i < 10; i++)
		pcie_write_and_wait(&r, fns[0].dma[0], 0, 1, SMMUV3_MODEL_ABORTED);
	assert_int_equal(10, r.nb_reports);
	dma = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = UNKNOWN });
	assert_non_null(dma);
	pcie_write_and_wait(&r, dma, 0, 1, SMMUV3_MODEL_ABORTED);
	assert_int_equal(10, r.nb_reports);
	for (unsigned int i = 0; i < 11; i++)
		assert_int_equal(1, iopf_listener_read(listener, &record, 1));
	assert_int_equal(UNKNOWN, record.sid);
	smmuv3_model_dma_destroy(dma);
	assert_int_equal(0, iopf_listener_close(listener));
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(devices_are_served_in_a_storm_of_unknown_sids),
	cmocka_unit_test(reports_of_unknown_sids_are_limited),
	cmocka_unit_test(reports_of_unknown_sids_are_muted),
	cmocka_unit_test(other_reports_are_not_limited),
};

TEST_SUITE(unknown_sids, tests, NULL, NULL);
