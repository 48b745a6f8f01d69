/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The driver from open to close, on each kind of SMMU that the model offers. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static const struct {
	const char *what;
	struct smmuv3_model_conf conf;
} kinds[] = {
	{ "default", { .seed = 1 } },
	{ "no MSI", { .no_features = SMMUV3_MODEL_NO_MSI } },
	{ "linear stream table", { .no_features = SMMUV3_MODEL_NO_2LVL_STRTAB } },
	{ "6 bits of StreamID", { .sid_bits = 6 } },
	{ "32 bits of StreamID", { .sid_bits = 32 } },
	{ "linear CD table", { .no_features = SMMUV3_MODEL_NO_2LVL_CD } },
	{ "no PASIDs", { .ssid_bits = SMMUV3_MODEL_NONE } },
	{ "no RIL", { .no_features = SMMUV3_MODEL_NO_RIL } },
	{ "8 bits of ASID", { .no_features = SMMUV3_MODEL_NO_ASID16 } },
	{ "16K only", { .no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_64K } },
	{ "64K only", { .no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K } },
	{ "abort only", { .no_features = SMMUV3_MODEL_TERM_ABORT_ONLY } },
	{ "queues of 1", { .cmdq_log2 = SMMUV3_MODEL_NONE, .evtq_log2 = SMMUV3_MODEL_NONE } },
	{ "queues of 1, no MSI", { .cmdq_log2 = SMMUV3_MODEL_NONE,
		.evtq_log2 = SMMUV3_MODEL_NONE, .no_features = SMMUV3_MODEL_NO_MSI } },
	{ "queues of 2", { .cmdq_log2 = 1, .evtq_log2 = 1 } },
	{ "one stall", { .stall_max = 1 } },
	{ "terminates only", { .stall_model = SMMUV3_STALL_MODEL_TERM } },
	{ "stalls only", { .stall_model = SMMUV3_STALL_MODEL_FORCED } },
	{ "slow to acknowledge", { .ack_delay = 7 } },
	{ "retries held stalls", { .choices = SMMUV3_MODEL_RETRY_HELD } },
	{ "retries early", { .choices = SMMUV3_MODEL_EARLY_RETRY } },
	{ "suppresses duplicates", { .choices = SMMUV3_MODEL_SUPPRESS_DUP } },
	{ "over-invalidates", { .choices = SMMUV3_MODEL_OVER_INVALIDATE } },
	{ "forgets nothing", { .choices = SMMUV3_MODEL_STICKY_TLB } },
	{ "fetches torn", { .choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB } },
	{ "does not stall though told to", { .choices = SMMUV3_MODEL_NO_STALL_SUPPORT } },
	{ "ATS", { .features = SMMUV3_MODEL_ATS } },
	{ "ATS and PRI", { .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI } },
	{ "ATS and PRI, slow, no MSI, a queue of 1", { .priq_log2 = SMMUV3_MODEL_NONE,
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.no_features = SMMUV3_MODEL_NO_MSI, .ack_delay = 7 } },
	{ "RES0 ignored", { .choices = SMMUV3_MODEL_LAX_RES0 } },
};

static void
test_a_fault_is_served_on_every_kind_of_smmu(void **state)
{
	struct iopf_event event;
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(kinds); i++) {
		/* With ATS the devices of a relay are endpoints. */
		if (backend_rig_is_relay() && kinds[i].conf.features != 0)
			continue;
		print_message("  %s\n", kinds[i].what);
		pmd_open(&p, &kinds[i].conf);
		pmd_start(&p, pmd_get_recover(&p));
		pmd_serve_fault(&p, PMD_VA);
		pmd_serve_fault(&p, PMD_VA + (1 << 20) + 16);

		/* Detached: an access aborts, leaves a record, and does not stall. */
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
		assert_int_equal(event.flags, 0);

		/* Attached again. */
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		pmd_serve_fault(&p, PMD_VA + (2 << 20));
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_devices_can_be_attached_before_start_and_survive_a_restart(void **state)
{
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = i == 0 ? 0 : SMMUV3_MODEL_NO_MSI,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_add_dev(&p, IOPF_STALL, 0, IOPF_NO_PASID);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		/*
		 * SMMUEN is 0: the reset value of GBPA decides, which the driver has not changed.
		 */
		pmd_wait_done(&p);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve_fault(&p, PMD_VA);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		/* The start invalidates the entry that changed while SMMUEN was 0. */
		*pmd_get_pte(&p, PMD_VA) = 0;
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve_fault(&p, PMD_VA);
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* A restart begins an empty queue at another position. The number of entries read goes on. */
static void
test_a_dump_counts_entries_and_not_positions(void **state)
{
	char *text = NULL;
	struct pmd p;
	size_t len;
	FILE *f;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	for (unsigned int i = 0; i < 3; i++) {
		pmd_serve_fault(&p, PMD_VA + (2 * i << p.granule_log2));
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(p.ops->start(p.s), 0);
	}
	f = open_memstream(&text, &len);
	assert_non_null(f);
	p.ops->dump(p.s, f);
	fclose(f);
	assert_int_equal(pmd_read_stat(&p, "events"), 3);
	assert_non_null(strstr(text, " entries: 3 read\n"));
	free(text);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_stop_ends_all_stalls(void **state)
{
	uint8_t buf[8] = { 0 };
	struct iopf_event event;
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < 10; i++)
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	for (i = 0; i < 5; i++)
		pmd_wait_event(&p, &event);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 10);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
	/* The driver drops an answer that comes too late. */
	pmd_answer(&p, &event, IOPF_SUCCESS);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	for (i = 0; i < 10; i++)
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* State of a driver that died: enabled queues in memory that now has another owner. */
static void
test_a_running_smmu_is_taken_over(void **state)
{
	uint8_t *regs, *old;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 3 });
	regs = smmuv3_model_regs(p.m);
	old = pmd_alloc(&p, 1 << 16, 1 << 16);
	smmuv3_write64(regs, SMMUV3_STRTAB_BASE, (uintptr_t)old);
	smmuv3_write32(regs, SMMUV3_STRTAB_BASE_CFG, 4);
	smmuv3_write64(regs, SMMUV3_CMDQ_BASE, (uintptr_t)(old + 8192) | 4);
	smmuv3_write32(regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_write64(regs, SMMUV3_EVENTQ_BASE, (uintptr_t)(old + 16384) | 1);
	smmuv3_write32(regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, 0);
	smmuv3_write32(regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID);
	pmd_step(&p);
	smmuv3_write32(regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_SMMUEN);
	pmd_step(&p);
	/* Errors that were not acknowledged. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	smmuv3_store_prod(regs, SMMUV3_CMDQ_PROD, 3);
	pmd_step(&p);
	assert_int_not_equal(smmuv3_read32(regs, SMMUV3_GERROR) ^
			smmuv3_read32(regs, SMMUV3_GERRORN), 0);
	p.dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = 5 });
	for (unsigned int i = 0; i < 5; i++)
		pmd_write(&p, PMD_VA, old, 1);
	pmd_step(&p);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, 2);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, old, 1);
	pmd_step(&p);
	assert_true((smmuv3_read32(regs, SMMUV3_GERROR) ^ smmuv3_read32(regs, SMMUV3_GERRORN)) &
			SMMUV3_GERROR_EVENTQ_ABT);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_read32(regs, SMMUV3_EVENTQ_PROD) & SMMUV3_Q_OVFLG);
	smmuv3_model_dma_destroy(p.dma);

	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	for (unsigned int i = 0; i < 32; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "event_overflows"), 0);
	assert_int_equal(pmd_read_stat(&p, "cerror_abt"), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_an_smmu_without_coherence_or_granules_is_refused(void **state)
{
	struct pmd p;

	(void)state;
	assert_int_equal(pmd_try_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_COHACC }, ""), -ENOTSUP);
	assert_int_equal(pmd_try_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K |
			SMMUV3_MODEL_NO_64K }, ""), -ENOTSUP);
	/* The model_ keys make a model, but a model of this name exists already. */
	assert_int_equal(pmd_try_open(&p, NULL, ",model_sid_bits=8"), -EINVAL);
}

static void
test_waits_for_a_dead_smmu_end(void **state)
{
	uint64_t start = rte_get_tsc_cycles();
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	p.s->timeout /= 10;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 1);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	/* Bounded: each wait takes 0.1 s, and a failed start waits for its own end too. */
	assert_true(rte_get_tsc_cycles() - start < 30 * rte_get_tsc_hz());
	p.s->timeout *= 10;
	/* The SMMU answers again. */
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* An earlier driver's update that would set ABORT, and does not end: DMA is not blocked yet. */
static void
test_an_update_of_gbpa_that_never_ends_fails_the_start(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	p.s->timeout /= 20;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 1);
	smmuv3_write32(smmuv3_model_regs(p.m), SMMUV3_GBPA, SMMUV3_GBPA_ABORT |
			SMMUV3_GBPA_UPDATE);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 0);
	p.s->timeout *= 20;
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_service_failure_mode_is_reported(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	assert_int_equal(p.ops->check(p.s), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_SFM, 1);
	pmd_step(&p);
	assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD);
	assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	p.ops->domain_del(p.s, p.domain);
	p.ops->dev_del(p.s, p.dev);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), -EIO);
	smmuv3_model_dma_destroy(p.dma);
	pmd_close(&p);
}

static void
test_errata_are_known_by_product(void **state)
{
	static const struct {
		uint32_t iidr, errata;
	} smmus[] = {
		{ 0x4870043b, SMMUV3_ERRATUM_SYNC_BATCHES },	/* MMU-700 r0p0 */
		{ 0x4873143b, SMMUV3_ERRATUM_SYNC_BATCHES },	/* ... r3p1 */
		{ 0x4870043c, 0 },				/* another implementer */
		{ 0x4830043b, 0 },				/* MMU-600 */
		{ 0, 0 },
	};
	const char *name;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(smmus); i++) {
		name = NULL;
		assert_int_equal(smmuv3_errata_lookup(smmus[i].iidr, &name), smmus[i].errata);
		assert_int_equal(name != NULL, smmus[i].errata != 0);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_fault_is_served_on_every_kind_of_smmu),
	cmocka_unit_test(test_devices_can_be_attached_before_start_and_survive_a_restart),
	cmocka_unit_test(test_a_dump_counts_entries_and_not_positions),
	cmocka_unit_test(test_a_stop_ends_all_stalls),
	cmocka_unit_test(test_a_running_smmu_is_taken_over),
	cmocka_unit_test(test_an_smmu_without_coherence_or_granules_is_refused),
	cmocka_unit_test(test_waits_for_a_dead_smmu_end),
	cmocka_unit_test(test_an_update_of_gbpa_that_never_ends_fails_the_start),
	cmocka_unit_test(test_service_failure_mode_is_reported),
	cmocka_unit_test(test_errata_are_known_by_product),
};

TEST_SUITE(pmd_bringup, tests, NULL, NULL);
