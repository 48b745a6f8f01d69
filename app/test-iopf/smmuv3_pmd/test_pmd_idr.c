/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ID registers on a page of memory: which SMMUs the driver refuses, and which values it reads. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_log.h>

#include "pmd_rig.h"
#include "test.h"

static struct idrs {
	uint32_t idr0, idr1, idr3, idr5, iidr;
} good;

static uint8_t *page;

static int
setup(void **state)
{
	(void)state;
	good = (struct idrs){
		.idr0 = SMMUV3_IDR0_S1P | SMMUV3_PUT(SMMUV3_IDR0_TTF, SMMUV3_TTF_AARCH64) |
			SMMUV3_IDR0_COHACC | SMMUV3_PUT(SMMUV3_IDR0_TTENDIAN, SMMUV3_TTENDIAN_LE) |
			SMMUV3_PUT(SMMUV3_IDR0_ST_LEVEL, SMMUV3_ST_LEVEL_2LVL),
		.idr1 = SMMUV3_PUT(SMMUV3_IDR1_SIDSIZE, 16) | SMMUV3_PUT(SMMUV3_IDR1_CMDQS, 10) |
			SMMUV3_PUT(SMMUV3_IDR1_EVENTQS, 11) | SMMUV3_PUT(SMMUV3_IDR1_PRIQS, 9) |
			SMMUV3_PUT(SMMUV3_IDR1_SSIDSIZE, 12),
		.idr5 = SMMUV3_IDR5_GRAN4K | SMMUV3_PUT(SMMUV3_IDR5_OAS, 5) |
			SMMUV3_PUT(SMMUV3_IDR5_STALL_MAX, 77),
	};
	page = calloc(1, 0x20000);
	assert_non_null(page);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(page);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	return 0;
}

static int
read_idrs(const struct idrs *idrs, struct smmuv3 *s)
{
	memset(s, 0, sizeof(*s));
	s->regs = page;
	smmuv3_write32(page, SMMUV3_IDR0, idrs->idr0);
	smmuv3_write32(page, SMMUV3_IDR1, idrs->idr1);
	smmuv3_write32(page, SMMUV3_IDR3, idrs->idr3);
	smmuv3_write32(page, SMMUV3_IDR5, idrs->idr5);
	smmuv3_write32(page, SMMUV3_IIDR, idrs->iidr);
	return smmuv3_idr_read(s);
}

static void
test_an_smmu_that_cannot_be_driven_is_refused(void **state)
{
	static const struct {
		const char *what;
		size_t offset;
		uint32_t clear, set;
	} cases[] = {
#define IDR0 offsetof(struct idrs, idr0)
#define IDR1 offsetof(struct idrs, idr1)
#define IDR5 offsetof(struct idrs, idr5)
		{ "no stage 1", IDR0, SMMUV3_IDR0_S1P, 0 },
		{ "AArch32 tables alone", IDR0, SMMUV3_IDR0_TTF, SMMUV3_PUT(SMMUV3_IDR0_TTF, 1) },
		{ "a reserved TTF", IDR0, SMMUV3_IDR0_TTF, 0 },
		{ "big-endian tables", IDR0, SMMUV3_IDR0_TTENDIAN,
			SMMUV3_PUT(SMMUV3_IDR0_TTENDIAN, 3) },
		{ "a reserved TTENDIAN", IDR0, SMMUV3_IDR0_TTENDIAN,
			SMMUV3_PUT(SMMUV3_IDR0_TTENDIAN, 1) },
		{ "not coherent", IDR0, SMMUV3_IDR0_COHACC, 0 },
		{ "a reserved STALL_MODEL", IDR0, SMMUV3_IDR0_STALL_MODEL,
			SMMUV3_PUT(SMMUV3_IDR0_STALL_MODEL, 3) },
		{ "preset tables", IDR1, 0, SMMUV3_IDR1_TABLES_PRESET },
		{ "preset queues", IDR1, 0, SMMUV3_IDR1_QUEUES_PRESET },
		{ "no granule", IDR5, SMMUV3_IDR5_GRAN4K, 0 },
	};
	const struct idrs ones = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX };
	static struct smmuv3 s;
	unsigned int i;

	(void)state;
	assert_int_equal(read_idrs(&good, &s), 0);
	for (i = 0; i < RTE_DIM(cases); i++) {
		struct idrs idrs = good;
		uint32_t *reg = (uint32_t *)((uint8_t *)&idrs + cases[i].offset);

		*reg = (*reg & ~cases[i].clear) | cases[i].set;
		if (read_idrs(&idrs, &s) != -ENOTSUP)
			fail_msg("not refused: %s", cases[i].what);
	}
	assert_int_equal(read_idrs(&ones, &s), -ENOTSUP);
}

static void
test_sizes_follow_the_registers_within_the_drivers_limits(void **state)
{
	static struct smmuv3 s;
	struct idrs idrs = good;

	(void)state;
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_int_equal(s.sid_bits, 16);
	assert_int_equal(s.ssid_bits, 12);
	assert_int_equal(s.cmdq_log2_max, 10);
	assert_int_equal(s.evtq_log2_max, 11);
	assert_int_equal(s.max_stalls, 77);
	assert_int_equal(s.granules, 1 << 12);
	assert_int_equal(s.oas_bits, 48);
	assert_true(s.strtab.two_level);
	/* Without ATS, PRI is RES0 and there is no PRIQ. */
	idrs.idr0 |= SMMUV3_IDR0_PRI;
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_false(s.pri);
	assert_int_equal(s.priq_log2_max, 0);
	idrs.idr0 |= SMMUV3_IDR0_ATS;
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_true(s.pri && s.ats);
	assert_int_equal(s.priq_log2_max, 9);
	/* The SMMU terminates only: STALL_MAX has no meaning. */
	idrs.idr0 |= SMMUV3_PUT(SMMUV3_IDR0_STALL_MODEL, SMMUV3_STALL_MODEL_TERM);
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_int_equal(s.max_stalls, 0);
	/* More StreamIDs than a table of reasonable size holds. */
	idrs = good;
	idrs.idr1 = (idrs.idr1 & ~SMMUV3_IDR1_SIDSIZE) | SMMUV3_PUT(SMMUV3_IDR1_SIDSIZE, 32);
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_int_equal(s.sid_bits, SMMUV3_SPLIT + SMMUV3_L1_LOG2_MAX);
	idrs.idr0 &= ~SMMUV3_IDR0_ST_LEVEL;
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_false(s.strtab.two_level);
	assert_int_equal(s.sid_bits, SMMUV3_LINEAR_LOG2_MAX);
	/* Sizes above the architecture's limits. */
	idrs.idr1 |= SMMUV3_IDR1_CMDQS | SMMUV3_IDR1_EVENTQS | SMMUV3_IDR1_SSIDSIZE;
	assert_int_equal(read_idrs(&idrs, &s), 0);
	assert_int_equal(s.cmdq_log2_max, SMMUV3_QUEUE_LOG2_MAX);
	assert_int_equal(s.evtq_log2_max, SMMUV3_QUEUE_LOG2_MAX);
	assert_int_equal(s.ssid_bits, 20);
}

/* Memory of this process has higher addresses than this SMMU can output. */
static void
test_memory_beyond_the_output_size_is_refused(void **state)
{
	const struct smmuv3_model_conf conf = { .oas_bits = 32 };
	struct pmd p;

	(void)state;
	backend_rig_skip_page("the memory of a page file has low addresses");
	assert_int_equal(pmd_try_open(&p, &conf, ""), -ERANGE);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_memory_beyond_the_output_size_is_refused),
	cmocka_unit_test(test_an_smmu_that_cannot_be_driven_is_refused),
	cmocka_unit_test(test_sizes_follow_the_registers_within_the_drivers_limits),
};

TEST_SUITE(pmd_idr, tests, setup, teardown);
