/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Late invalidations, transactions in flight and slow ATCs: a driver's mistake shows, and a correct
 * driver sees no difference.
 */

#include <sched.h>
#include <string.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define FRAME	(RIG_DATA + 0x5000)
#define HOUR	3600000u

static uint8_t buf[64];

static struct smmuv3_model_dma *
setup(struct rig *r, uint32_t harsh, uint32_t seed)
{
	struct smmuv3_model_dma *dma;

	rig_open(r, &(struct smmuv3_model_conf){ .harsh = harsh, .seed = seed });
	rig_start(r);
	rig_set_s1(r, 0);
	dma = rig_add_dma(r, RIG_SID, -1);
	assert_int_equal(smmuv3_model_frame_give(r->m, FRAME, 4096, 1), 0);
	rig_map(r, VA, FRAME, RIG_RW);
	return dma;
}

static void
free_frame(struct rig *r)
{
	assert_int_equal(smmuv3_model_frame_free(r->m, FRAME, 4096), 0);
}

/* One write of 8 bytes; a stall is answered with an abort. */
static enum smmuv3_model_status
write_page(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	struct smmuv3_evt evt;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, va, buf, 8);
	if (rig_poll(r, dma) == 0) {
		assert_true(rig_take_evt(r, &evt));
		rig_send(r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		assert_int_equal(rig_poll(r, dma), 1);
	}
	return r->done[0].status;
}

/* Unmap a page that is in the TLB, with or without the SYNC, and free its frame. */
static unsigned int
unmap_and_free(uint32_t harsh, bool sync)
{
	struct smmuv3_model_dma *dma;
	unsigned int errors;
	struct rig r;

	dma = setup(&r, harsh, 0);
	assert_int_equal(write_page(&r, dma, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	if (sync)
		rig_sync(&r);
	free_frame(&r);
	assert_int_equal(write_page(&r, dma, VA), harsh != 0 && !sync ? SMMUV3_MODEL_OK :
			SMMUV3_MODEL_ABORTED);
	errors = smmuv3_model_oracle_errors(r.m);
	if (errors != 0)
		rig_expect_oracle(&r, "which owner 1 freed before");
	rig_sync(&r);
	assert_int_equal(write_page(&r, dma, VA), SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
	return errors;
}

static void
test_late_tlbi_without_a_sync_leaves_the_page_in_reach(void **state)
{
	(void)state;
	assert_int_equal(unmap_and_free(SMMUV3_MODEL_HARSH_LATE, false), 1);
	assert_int_equal(unmap_and_free(SMMUV3_MODEL_HARSH_LATE, true), 0);
	/* A model that is not harsh does not show the mistake. */
	assert_int_equal(unmap_and_free(0, false), 0);
}

static void
test_late_cfgi_without_a_sync_leaves_the_old_ste(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, SMMUV3_MODEL_HARSH_LATE, 0);
	assert_int_equal(write_page(&r, dma, VA), SMMUV3_MODEL_OK);
	/* Config = 0: abort. */
	smmuv3_set_dw(&rig_get_ste(&r, RIG_SID)->dw[0], SMMUV3_STE0_V);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	assert_int_equal(write_page(&r, dma, VA), SMMUV3_MODEL_OK);
	rig_sync(&r);
	assert_int_equal(write_page(&r, dma, VA), SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A translation that a pending invalidation covers is not reported to software as a new fault. */
static void
test_late_invalidation_makes_a_held_stall_retry(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_LATE });
	r.evtq_log2 = 0;
	r.queue_size_1 = true;
	r.cmdq_log2 = 8;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_map(&r, VA, FRAME, RIG_RW | RIG_RO);
	/* A read fills the TLB with a read-only entry. */
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	/* The queue is full. VA is mapped for writing, and its TLBI is pending. */
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 4096, buf, 8);
	rig_run(&r);
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_run(&r);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALLS_HELD), 1);
	rig_sync(&r);
	/* F_PERMISSION was correct before the SYNC only: it must not appear now [3.12.2]. */
	assert_true(rig_take_evt(&r, &evt));
	assert_int_equal(evt.dw[2], VA + 4096);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_false(rig_take_evt(&r, &evt));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/*
 * A domain is deleted and its ASID goes to the next one. With CFGI and TLBI before one SYNC the
 * TLBI may take effect first. An access then fills the TLB again through the CD that is still
 * cached.
 */
static unsigned int
move_asid(uint32_t seed, bool sync_between)
{
	struct smmuv3_model_dma *dma;
	unsigned int errors;
	struct rig r;

	dma = setup(&r, SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_RANDOM |
			SMMUV3_MODEL_HARSH_ASIDS, seed);
	write_page(&r, dma, VA);
	smmuv3_set_dw(&r.cd->dw[0], r.cd->dw[0] & ~(uint64_t)SMMUV3_CD0_V);
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	if (sync_between)
		rig_sync(&r);
	rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID));
	/* The device still does DMA. */
	rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_sync(&r);
	free_frame(&r);
	r.ttb0 = rig_alloc(&r, 4096, 4096);
	*r.cd = rig_make_cd(&r, RIG_ASID);
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	rig_sync(&r);
	write_page(&r, dma, VA);
	errors = smmuv3_model_oracle_errors(r.m);
	smmuv3_model_oracle_errors_clear(r.m);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
	return errors;
}

static void
test_late_cfgi_and_tlbi_of_one_sync_have_no_order(void **state)
{
	unsigned int wrong = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 64; seed++) {
		wrong += move_asid(seed, false);
		assert_int_equal(move_asid(seed, true), 0);
	}
	/* A mistake is reported twice: for the ASID and for the frame. */
	assert_true(wrong >= 2);
}

/*
 * In flight
 */
static void
step(struct rig *r)
{
	smmuv3_model_step(r->m, 64);
}

static void
unmap_in_flight(bool sync)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	dma = setup(&r, SMMUV3_MODEL_HARSH_FLIGHT, 0);
	memset(buf, 0x5a, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	step(&r);
	/* The access is translated and has not reached memory yet. */
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS), 1);
	assert_int_equal(r.data[0x5000], 0);
	rig_unmap(&r, VA);
	rig_put(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	if (sync)
		rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	step(&r);
	assert_int_equal(smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS)), r.cmd_prod);
	assert_int_equal(r.data[0x5000], sync ? 0x5a : 0);
	free_frame(&r);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(r.data[0x5000], 0x5a);
	if (!sync)
		rig_expect_oracle(&r, "which owner 1 freed before");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_flight_ends_before_a_sync_completes(void **state)
{
	(void)state;
	unmap_in_flight(true);
}

static void
test_flight_outlasts_a_tlbi_without_sync(void **state)
{
	(void)state;
	unmap_in_flight(false);
}

static void
test_flight_ends_before_smmuen_is_acknowledged(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, SMMUV3_MODEL_HARSH_FLIGHT, 0);
	memset(buf, 0x5a, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	step(&r);
	assert_int_equal(r.data[0x5000], 0);
	rig_write(&r, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	step(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(r.data[0x5000], 0x5a);
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_flight_to_a_window_that_went_away_aborts(void **state)
{
	static _Alignas(4096) uint8_t page[4096];
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, SMMUV3_MODEL_HARSH_FLIGHT, 0);
	assert_int_equal(smmuv3_model_mem_add(r.m, 0x1000, page, 4096), 0);
	rig_map(&r, VA + 4096, 0x1000, RIG_RW);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 4096, buf, 8);
	step(&r);
	assert_int_equal(smmuv3_model_mem_del(r.m, 0x1000), 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* DMAs of many transactions, COPY among them, move all bytes. */
static void
test_flight_moves_all_bytes(void **state)
{
	static uint8_t out[4 * 4096], in[4 * 4096];
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (uint32_t seed = 1; seed < 20; seed++) {
		rig_open(&r, &(struct smmuv3_model_conf){ .seed = seed,
			.harsh = SMMUV3_MODEL_HARSH_FLIGHT | SMMUV3_MODEL_HARSH_RANDOM });
		rig_start(&r);
		rig_set_s1(&r, 0);
		dma = rig_add_dma(&r, RIG_SID, -1);
		for (unsigned int i = 0; i < 16; i++)
			rig_map(&r, VA + i * 4096, RIG_DATA + i * 4096, RIG_RW);
		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)(i * seed + (i >> 8));
		rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA + 100, out, sizeof(out));
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_COPY, .addr = VA + 100,
				.dst = VA + 0x8000 + 7, .len = sizeof(out) }), 0);
		assert_int_equal(rig_poll(&r, dma), 1);
		rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 0x8000 + 7, in, sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

/* Slow ATCs */
#define PCI_VA	UINT64_C(0x10000000)

static struct smmuv3_model_dma *
pci_setup(struct rig *r, uint32_t harsh, unsigned int timeout_ms)
{
	struct smmuv3_model_dma *dma;

	rig_open(r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS, .harsh = harsh,
		.atc_timeout_ms = timeout_ms });
	rig_start(r);
	rig_set_s1_pasids(r, SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL));
	rig_map(r, PCI_VA, FRAME, RIG_RW);
	dma = rig_add_ats_dma(r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	rig_access(r, dma, SMMUV3_MODEL_WRITE, PCI_VA, buf, 8);
	rig_unmap(r, PCI_VA);
	rig_send(r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, PCI_VA, true));
	rig_sync(r);
	return dma;
}

static enum smmuv3_model_status
write_through_atc(struct rig *r, struct smmuv3_model_dma *dma)
{
	return rig_access(r, dma, SMMUV3_MODEL_WRITE, PCI_VA, buf, 8);
}

/* ATC_INV, SYNC, and a command behind it. Returns CONS while the SYNC waits. */
static uint32_t
put_atc_inv(struct rig *r)
{
	uint32_t at;

	rig_put(r, rig_make_atc_inv(RIG_SID, -1, 0, PCI_VA, 0));
	at = r->cmd_prod;
	rig_put(r, smmuv3_cmd_sync());
	rig_put(r, smmuv3_cmd_tlbi_nsnh_all());
	rig_ring(r);
	rig_run(r);
	return at;
}

static uint32_t
read_cons(const struct rig *r)
{
	return smmuv3_q_pos(r->cmdq_log2, rig_read(r, SMMUV3_CMDQ_CONS));
}

static void
test_late_atc_inv_without_a_sync_leaves_the_entry(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pci_setup(&r, SMMUV3_MODEL_HARSH_LATE, 0);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, PCI_VA, 0));
	assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_OK);
	rig_sync(&r);
	assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_atc_that_is_slow_keeps_the_sync_waiting(void **state)
{
	struct smmuv3_model_dma *dma;
	uint32_t at;
	struct rig r;

	(void)state;
	dma = pci_setup(&r, 0, 0);
	smmuv3_model_dma_atc_delay(dma, HOUR);
	at = put_atc_inv(&r);
	for (int i = 0; i < 1000; i++)
		step(&r);
	/* The SYNC neither failed nor completed, and the queue behind it waits too. */
	assert_int_equal(read_cons(&r), at);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_OK);
	/* The ATC answers now. */
	smmuv3_model_dma_atc_delay(dma, 0);
	rig_run(&r);
	assert_int_equal(read_cons(&r), r.cmd_prod);
	assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_ABORTED);
	/* The ATC answers after its delay. */
	smmuv3_model_dma_atc_delay(dma, 1);
	put_atc_inv(&r);
	while (read_cons(&r) != r.cmd_prod)
		step(&r);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_atc_that_is_dead_blocks_the_queue_until_it_times_out(void **state)
{
	struct smmuv3_model_dma *dma;
	uint32_t at;
	struct rig r;

	(void)state;
	dma = pci_setup(&r, SMMUV3_MODEL_HARSH_LATE, 20);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	at = put_atc_inv(&r);
	while (rig_read(&r, SMMUV3_GERROR) == 0) {
		step(&r);
		sched_yield();
	}
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), at | SMMUV3_CERROR_ATC_INV_SYNC << 24);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	assert_int_equal(read_cons(&r), r.cmd_prod);
	/* The entry was not invalidated, and no invalidation was complete. */
	assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* The ATC answers before its time is over, or the endpoint is removed. */
static void
test_atc_that_is_dead_may_answer_in_time(void **state)
{
	struct smmuv3_model_dma *dma;
	uint32_t at;
	struct rig r;

	(void)state;
	for (int gone = 0; gone < 2; gone++) {
		dma = pci_setup(&r, 0, HOUR);
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		at = put_atc_inv(&r);
		assert_int_equal(read_cons(&r), at);
		if (gone)
			smmuv3_model_dma_destroy(dma);
		else
			smmuv3_model_dma_quirks(dma, 0, 0);
		rig_run(&r);
		assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
		assert_int_equal(read_cons(&r), r.cmd_prod);
		if (!gone)
			smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

static void
test_atc_of_a_harsh_model_is_slow(void **state)
{
	struct smmuv3_model_dma *dma;
	unsigned int waited = 0;
	uint32_t at;
	struct rig r;

	(void)state;
	dma = pci_setup(&r, SMMUV3_MODEL_HARSH_SLOW_ATC | SMMUV3_MODEL_HARSH_RANDOM, 0);
	for (int i = 0; i < 5000; i++) {
		at = put_atc_inv(&r);
		waited += read_cons(&r) == at;
		while (read_cons(&r) != r.cmd_prod)
			step(&r);
		assert_int_equal(write_through_atc(&r, dma), SMMUV3_MODEL_ABORTED);
	}
	assert_true(waited > 0 && waited < 5000);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_late_tlbi_without_a_sync_leaves_the_page_in_reach),
	cmocka_unit_test(test_late_cfgi_without_a_sync_leaves_the_old_ste),
	cmocka_unit_test(test_late_invalidation_makes_a_held_stall_retry),
	cmocka_unit_test(test_late_cfgi_and_tlbi_of_one_sync_have_no_order),
	cmocka_unit_test(test_late_atc_inv_without_a_sync_leaves_the_entry),
	cmocka_unit_test(test_flight_ends_before_a_sync_completes),
	cmocka_unit_test(test_flight_outlasts_a_tlbi_without_sync),
	cmocka_unit_test(test_flight_ends_before_smmuen_is_acknowledged),
	cmocka_unit_test(test_flight_to_a_window_that_went_away_aborts),
	cmocka_unit_test(test_flight_moves_all_bytes),
	cmocka_unit_test(test_atc_that_is_slow_keeps_the_sync_waiting),
	cmocka_unit_test(test_atc_that_is_dead_blocks_the_queue_until_it_times_out),
	cmocka_unit_test(test_atc_that_is_dead_may_answer_in_time),
	cmocka_unit_test(test_atc_of_a_harsh_model_is_slow),
};

TEST_SUITE(model_late, tests, NULL, NULL);
