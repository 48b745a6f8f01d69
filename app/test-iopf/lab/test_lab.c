/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The driver alone on an SMMUv3 that this project did not write: registers, tables of
 * both formats, commands and their errors.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <rte_atomic.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_kvargs.h>

#include "attach_rig.h"
#include "dev.h"
#include "domain.h"
#include "iopf_handler.h"
#include "lab_rig.h"
#include "smmuv3_pmd.h"
#include "iopf_iommu.h"
#include "test.h"

#define PAGE	4096
#define VA	UINT64_C(0x1234600000)
#define ASID	(((struct smmuv3_domain *)r.domain)->asid)

static const struct smmuv3_cmd illegal = { .dw = { 0xff, 0 } };

static struct {
	const struct iopf_driver_ops *ops;
	struct smmuv3 *s;
	struct iopf_iommu_info info;
	struct lab_edu edu;
	struct lab_table table;
	struct lab_zone data;
	void *dev, *domain;
	bool started;
} r;

static void
smmu_open(void)
{
	struct rte_kvargs *args;
	char str[128];
	void *priv;

	memset(&r, 0, sizeof(r));
	r.ops = &smmuv3_pmd.ops;
	r.edu.fd = -1;
	snprintf(str, sizeof(str), "vfio=%s", lab_smmu_name());
	args = rte_kvargs_parse(str, smmuv3_pmd.params);
	assert_non_null(args);
	assert_int_equal(r.ops->open(args, &r.info, &priv), 0);
	rte_kvargs_free(args);
	r.s = priv;
}

/* Start, map a page of data at VA, and attach the device to that table. */
static void
smmu_start(void)
{
	struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S1, .va_bits = 48,
		.granule_log2 = 12 };
	struct iopf_dev_conf conf = { .nb_sids = 1, .recover = IOPF_TERMINATE };

	assert_int_equal(r.ops->start(r.s), 0);
	r.started = true;
	lab_edu_open(&r.edu);
	lab_table_make(&r.table, 12, r.info.addr_bits);
	lab_zone_make(&r.data);
	tr.root = pgt_root(r.table.pgt);
	conf.sids = &r.edu.sid;
	assert_int_equal(r.ops->dev_add(r.s, &conf, &r.dev), 0);
	assert_int_equal(r.ops->domain_add(r.s, &tr, NULL, &r.domain), 0);
	assert_int_equal(rig_attach(r.ops, r.s, r.dev, IOPF_NO_PASID, r.domain), 0);
}

static int
smmu_close(void **state)
{
	int ret = 0;

	(void)state;
	lab_edu_close(&r.edu);
	if (r.dev != NULL) {
		ret |= rig_detach(r.ops, r.s, r.dev, IOPF_NO_PASID);
		r.ops->domain_del(r.s, r.domain);
		r.ops->dev_del(r.s, r.dev);
		lab_zone_free(&r.data);
		lab_table_free(&r.table);
	}
	if (r.started)
		ret |= r.ops->stop(r.s);
	if (r.s != NULL)
		r.ops->close(r.s);
	memset(&r, 0, sizeof(r));
	r.edu.fd = -1;
	return ret;
}

static uint64_t
read64(void *regs, uint32_t offset)
{
	return smmuv3_read32(regs, offset) | (uint64_t)smmuv3_read32(regs, offset + 4) << 32;
}

static uint64_t
read_counter(const char *wanted)
{
	const char *name;
	unsigned int i;

	for (i = 0; ; i++) {
		uint64_t v = r.ops->stat(r.s, i, &name);

		if (strcmp(name, wanted) == 0)
			return v;
	}
}

static void
map_page(void)
{
	assert_int_equal(pgt_map(r.table.pgt, VA, r.data.addr, PAGE, PGT_READ | PGT_WRITE), 0);
}

/* Change the table alone: the SMMU may keep its TLB entry. */
static void
unmap_page(void)
{
	struct pgt_unmapped out;
	struct pgt_inv inv;

	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_unmap(r.table.pgt, VA, PAGE, 0, &out), 0);
}

/*
 * The device writes 4 bytes of zero at VA, where other bytes were. @return the id of the SMMU's
 * event, or 0.
 */
static uint8_t
write_zero(void)
{
	struct iopf_event events[8];
	unsigned int n, tries;

	memset(r.data.va, 0x55, 8);
	rte_io_mb();
	lab_edu_start(&r.edu, true, VA, 0, 4);
	lab_edu_wait(&r.edu);
	for (tries = 0; tries < 5; tries++) {
		n = r.ops->poll(r.s, 0, events, RTE_DIM(events));
		if (n > 0) {
			/* A refused write changed no byte. */
			assert_int_equal(r.data.va[0], 0x55);
			assert_int_equal(events[0].sid, r.edu.sid);
			return events[0].raw_id;
		}
		rte_delay_us_sleep(1000);
	}
	assert_int_equal(r.data.va[0], 0);
	assert_int_equal(r.data.va[3], 0);
	assert_int_equal(r.data.va[4], 0x55);
	return 0;
}

/* Twice: fault, map, access again. */
static void
serve_fault(void)
{
	const struct iopf_inv inv = { .addr = VA, .size = PAGE, .leaf_log2 = 12,
		.leaf_only = true };
	struct iopf_inv_result result;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		assert_int_equal(write_zero(), SMMUV3_F_TRANSLATION);
		map_page();
		assert_int_equal(write_zero(), 0);
		unmap_page();
		assert_int_equal(r.ops->invalidate(r.s, r.domain, &inv, 1, &result), 0);
	}
}

/*
 * This test runs first: once STRTAB_BASE_CFG has selected two levels, QEMU uses two levels until
 * the guest ends.
 */
static void
test_a_linear_stream_table_is_used(void **state)
{
	uint32_t cfg;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	cfg = smmuv3_read32(r.s->regs, SMMUV3_STRTAB_BASE_CFG);
	if (SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg) == SMMUV3_STRTAB_2LVL) {
		smmu_close(NULL);
		test_skip("QEMU keeps the two-level stream table that this SMMU had before");
	}
	/* As on an SMMU that has no more than 256 StreamIDs. */
	smmuv3_strtab_close(r.s);
	r.s->strtab = (struct smmuv3_strtab){ .log2 = 8 };
	r.s->sid_bits = 8;
	assert_int_equal(smmuv3_strtab_open(r.s), 0);
	smmu_start();
	assert_true(r.edu.sid < 256);
	cfg = smmuv3_read32(r.s->regs, SMMUV3_STRTAB_BASE_CFG);
	assert_int_equal(SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_STRTAB_CFG_LOG2SIZE, cfg), 8);
	serve_fault();
	assert_int_equal(rig_detach(r.ops, r.s, r.dev, IOPF_NO_PASID), 0);
	map_page();
	assert_int_equal(rig_attach(r.ops, r.s, r.dev, IOPF_NO_PASID, r.domain), 0);
	assert_int_equal(write_zero(), 0);
}

static void
test_a_two_level_stream_table_is_used(void **state)
{
	uint32_t cfg;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	assert_true(r.s->strtab.two_level);
	smmu_start();
	cfg = smmuv3_read32(r.s->regs, SMMUV3_STRTAB_BASE_CFG);
	assert_int_equal(SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg), SMMUV3_STRTAB_2LVL);
	serve_fault();
}

static void
test_bring_up_matches_the_id_registers(void **state)
{
	uint32_t cr0 = SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN;
	const struct smmuv3 *s;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	s = r.s;
	print_message("  IDR0 0x%08x IDR1 0x%08x IDR3 0x%08x IDR5 0x%08x AIDR 0x%08x\n", s->idr0,
			s->idr1, s->idr3, s->idr5, smmuv3_read32(s->regs, SMMUV3_AIDR));
	assert_true(s->idr0 & SMMUV3_IDR0_S1P);
	assert_true(s->idr0 & SMMUV3_IDR0_COHACC);
	assert_int_equal(r.info.sid_bits, SMMUV3_GET(SMMUV3_IDR1_SIDSIZE, s->idr1));
	assert_int_equal(r.info.pasid_bits, SMMUV3_GET(SMMUV3_IDR1_SSIDSIZE, s->idr1));
	assert_int_equal(r.info.addr_bits, smmuv3_oas_bits(SMMUV3_GET(SMMUV3_IDR5_OAS, s->idr5)));
	assert_int_equal(!!(r.info.granules & 1 << 12), !!(s->idr5 & SMMUV3_IDR5_GRAN4K));
	assert_int_equal(!!(r.info.granules & 1 << 16), !!(s->idr5 & SMMUV3_IDR5_GRAN64K));
	smmu_start();
	assert_int_equal(smmuv3_read32(s->regs, SMMUV3_CR0), cr0);
	assert_int_equal(smmuv3_read32(s->regs, SMMUV3_CR0ACK), cr0);
	assert_int_equal(smmuv3_read32(s->regs, SMMUV3_GERROR) ^
			smmuv3_read32(s->regs, SMMUV3_GERRORN), 0);
	assert_int_equal(read64(s->regs, SMMUV3_CMDQ_BASE) & SMMUV3_Q_BASE_ADDR,
			s->cmdq.mem.addr);
	assert_int_equal(read64(s->regs, SMMUV3_EVENTQ_BASE) & SMMUV3_Q_BASE_ADDR,
			s->evtq.q.mem.addr);
	assert_int_equal(r.ops->stop(r.s), 0);
	r.started = false;
	assert_int_equal(smmuv3_read32(s->regs, SMMUV3_CR0), 0);
	assert_int_equal(smmuv3_read32(s->regs, SMMUV3_CR0ACK), 0);
}

/* Each form of a legal command, and its effect once its SYNC is complete. */
static void
test_every_invalidation_of_translations_is_obeyed(void **state)
{
	unsigned int i;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	for (i = 0; i < 8; i++) {
		const struct smmuv3_cmd cmds[] = {
			smmuv3_cmd_tlbi_nh_va(0, ASID, VA, true),
			smmuv3_cmd_tlbi_nh_va(0, ASID, VA, false),
			smmuv3_cmd(SMMUV3_OP_TLBI_NH_VAA, 0, VA | 1),
			smmuv3_cmd_tlbi_nh_asid(0, ASID),
			smmuv3_cmd(SMMUV3_OP_TLBI_NH_ALL, 0, 0),
			smmuv3_cmd_tlbi_nsnh_all(),
			/* 16 pages around VA; 16 of 2 MiB, as pages. */
			smmuv3_cmd_tlbi_nh_va_range(0, ASID, VA & ~UINT64_C(0xffff), true, 1,
					15, 0, 3),
			smmuv3_cmd_tlbi_nh_va_range(0, ASID, VA & ~UINT64_C(0x1ffffff), true, 1,
					15, 9, 0),
		};

		assert_int_equal(RTE_DIM(cmds), 8);
		if (i >= 6 && !(r.s->idr3 & SMMUV3_IDR3_RIL)) {
			print_message("  no range invalidation in IDR3\n");
			break;
		}
		map_page();
		assert_int_equal(write_zero(), 0);
		unmap_page();
		assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &cmds[i], 1, NULL), 0);
		assert_int_equal(write_zero(), SMMUV3_F_TRANSLATION);
	}
	assert_int_equal(read_counter("cerror_ill"), 0);
}

static void
test_every_invalidation_of_configurations_is_obeyed(void **state)
{
	struct smmuv3_dev *dev;
	unsigned int i;
	uint64_t dw0, *cd;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	map_page();
	dev = r.dev;
	cd = dev->cds.mem.va;
	for (i = 0; i < 6; i++) {
		const struct smmuv3_cmd cmds[] = {
			smmuv3_cmd_cfgi_cd(r.edu.sid, 0, true),
			smmuv3_cmd_cfgi_cd_all(r.edu.sid),
			smmuv3_cmd_cfgi_ste(r.edu.sid, true),
			smmuv3_cmd_cfgi_ste(r.edu.sid, false),
			/* 2^4 StreamIDs around the device's. */
			smmuv3_cmd(SMMUV3_OP_CFGI_STE_RANGE, SMMUV3_PUT(SMMUV3_CMD0_SID,
					r.edu.sid & ~15u), 3),
			smmuv3_cmd_cfgi_all(),
		};
		const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nh_asid(0, ASID);

		assert_int_equal(RTE_DIM(cmds), 6);
		assert_int_equal(write_zero(), 0);
		dw0 = smmuv3_get_dw(cd);
		smmuv3_set_dw(cd, dw0 & ~SMMUV3_CD0_V);
		assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &cmds[i], 1, NULL), 0);
		assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &tlbi, 1, NULL), 0);
		assert_int_equal(write_zero(), SMMUV3_C_BAD_CD);
		smmuv3_set_dw(cd, dw0);
		assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &cmds[i], 1, NULL), 0);
	}
	assert_int_equal(write_zero(), 0);
	assert_int_equal(read_counter("cerror_ill"), 0);
}

/* Hints, and further commands that the ID registers of this SMMU allow. */
static void
test_other_legal_commands_are_consumed(void **state)
{
	struct smmuv3_cmd cmds[16];
	unsigned int n = 0;
	uint64_t sid;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	sid = SMMUV3_PUT(SMMUV3_CMD0_SID, r.edu.sid);
	cmds[n++] = smmuv3_cmd(SMMUV3_OP_PREFETCH_CONFIG, sid, 0);
	cmds[n++] = smmuv3_cmd(SMMUV3_OP_PREFETCH_ADDR, sid, VA);
	if (r.s->idr0 & SMMUV3_IDR0_S2P) {
		cmds[n++] = smmuv3_cmd(SMMUV3_OP_TLBI_S12_VMALL, 0, 0);
		cmds[n++] = smmuv3_cmd(SMMUV3_OP_TLBI_S2_IPA, 0, VA);
	}
	if (r.s->idr0 & SMMUV3_IDR0_HYP)
		cmds[n++] = smmuv3_cmd_tlbi_el2_all();
	cmds[n++] = smmuv3_cmd_sync();
	assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, cmds, n, NULL), 0);
	assert_int_equal(read_counter("cerror_ill"), 0);
	serve_fault();
}

static void
test_an_illegal_command_is_found_and_skipped(void **state)
{
	static const unsigned int at[] = { 0, 1, 7, 15, SMMUV3_CHUNK - 1 };
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct iopf_inv_result result;
	unsigned int i, k, round;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	assert_int_equal(r.ops->configure(r.s, &(struct iopf_iommu_conf){
			.command_queue_size = 16 }), 0);
	smmu_start();
	for (round = 0; round < 3; round++)
		for (i = 0; i < RTE_DIM(at); i++) {
			for (k = 0; k < RTE_DIM(cmds); k++)
				cmds[k] = k == at[i] ? illegal : smmuv3_cmd_tlbi_nh_asid(0, ASID);
			assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, cmds, RTE_DIM(cmds), &result),
					-EIO);
			assert_int_equal(result.failed, at[i]);
			assert_int_equal(result.error, IOPF_INV_ILL);
			cmds[at[i]] = smmuv3_cmd_tlbi_nsnh_all();
			assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, cmds, 1 + i * 3, NULL), 0);
		}
	assert_int_equal(read_counter("cerror_ill"), 3 * RTE_DIM(at));
	assert_int_equal(r.ops->check(r.s), 0);
	serve_fault();
}

/* An address without memory that CMDQ_BASE can hold: at the top of the output range. */
static uint64_t
get_hole_address(void)
{
	return (UINT64_C(1) << (r.info.addr_bits - 1)) |
		SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, r.s->cmdq_log2);
}

static uint32_t
read_active_errors(void)
{
	return smmuv3_read32(r.s->regs, SMMUV3_GERROR) ^ smmuv3_read32(r.s->regs, SMMUV3_GERRORN);
}

/*
 * QEMU allows a change of CMDQ_BASE while the queue is enabled, so that a fetch can be made to
 * fail.
 */
static void
test_a_command_fetch_that_aborts_is_tried_again(void **state)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nsnh_all();
	uint64_t base;
	uint32_t cons;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	base = read64(r.s->regs, SMMUV3_CMDQ_BASE);
	smmuv3_write64(r.s->regs, SMMUV3_CMDQ_BASE, get_hole_address());
	smmuv3_cmdq_post(&r.s->cmdq, &tlbi, 1);
	rte_delay_us_sleep(1000);
	if (!(read_active_errors() & SMMUV3_GERROR_CMDQ_ERR)) {
		smmuv3_write64(r.s->regs, SMMUV3_CMDQ_BASE, base);
		test_skip("this SMMU ignores a store to CMDQ_BASE while CMDQEN is 1");
	}
	cons = smmuv3_read32(r.s->regs, SMMUV3_CMDQ_CONS);
	assert_int_equal(SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR, cons), SMMUV3_CERROR_ABT);
	smmuv3_write64(r.s->regs, SMMUV3_CMDQ_BASE, base);
	assert_int_equal(r.ops->check(r.s), 0);
	assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &tlbi, 1, NULL), 0);
	assert_int_equal(read_active_errors(), 0);
	assert_int_equal(read_counter("cerror_abt"), 1);
	assert_int_equal(read_counter("cerror_ill"), 0);
	serve_fault();
}

static void
test_a_command_queue_out_of_reach_is_given_up_and_comes_back(void **state)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nsnh_all();
	struct iopf_inv_result result;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	serve_fault();
	smmuv3_write64(r.s->regs, SMMUV3_CMDQ_BASE, get_hole_address());
	assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &tlbi, 1, &result), -EIO);
	assert_true(read_counter("cerror_abt") > 1);
	assert_true(r.ops->check(r.s) & IOPF_CHECK_DEAD);
	/* The device can reach no page of the old run. */
	r.ops->stop(r.s);
	assert_int_equal(smmuv3_read32(r.s->regs, SMMUV3_CR0ACK), 0);
	assert_int_equal(r.ops->start(r.s), 0);
	assert_int_equal(read_active_errors(), 0);
	assert_int_equal(r.ops->check(r.s), 0);
	serve_fault();
}

static void
test_queues_of_every_size_wrap(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 8, 256, 4096 };
	unsigned int i, k;

	(void)state;
	lab_skip_elsewhere();
	for (i = 0; i < RTE_DIM(sizes); i++) {
		smmu_open();
		assert_int_equal(r.ops->configure(r.s, &(struct iopf_iommu_conf){
				.command_queue_size = sizes[i], .event_queue_size = sizes[i] }), 0);
		smmu_start();
		for (k = 0; k < 3 * sizes[i] && k < 600; k++) {
			const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nh_va(0, ASID,
					VA + (uint64_t)k * PAGE, true);

			assert_int_equal(smmuv3_cmdq_sync(&r.s->cmdq, &tlbi, 1, NULL), 0);
		}
		serve_fault();
		assert_int_equal(read_counter("bad_prod"), 0);
		assert_int_equal(read_counter("bad_cons"), 0);
		assert_int_equal(smmu_close(NULL), 0);
	}
}

static void
test_an_smmu_without_stalls_reports_none(void **state)
{
	struct iopf_dev_conf conf = { .nb_sids = 1, .recover = IOPF_STALL };
	uint32_t sid = 0x77;
	void *dev;

	(void)state;
	lab_skip_elsewhere();
	smmu_open();
	smmu_start();
	conf.sids = &sid;
	if (r.info.max_stalls > 0)
		test_skip("this SMMU can stall");
	assert_int_equal(r.ops->dev_add(r.s, &conf, &dev), -ENOTSUP);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_a_linear_stream_table_is_used, smmu_close),
	cmocka_unit_test_teardown(test_a_two_level_stream_table_is_used, smmu_close),
	cmocka_unit_test_teardown(test_bring_up_matches_the_id_registers, smmu_close),
	cmocka_unit_test_teardown(test_every_invalidation_of_translations_is_obeyed, smmu_close),
	cmocka_unit_test_teardown(test_every_invalidation_of_configurations_is_obeyed, smmu_close),
	cmocka_unit_test_teardown(test_other_legal_commands_are_consumed, smmu_close),
	cmocka_unit_test_teardown(test_an_illegal_command_is_found_and_skipped, smmu_close),
	cmocka_unit_test_teardown(test_a_command_fetch_that_aborts_is_tried_again, smmu_close),
	cmocka_unit_test_teardown(test_a_command_queue_out_of_reach_is_given_up_and_comes_back,
			smmu_close),
	cmocka_unit_test_teardown(test_queues_of_every_size_wrap, smmu_close),
	cmocka_unit_test_teardown(test_an_smmu_without_stalls_reports_none, smmu_close),
};

TEST_SUITE(lab, tests, NULL, NULL);
