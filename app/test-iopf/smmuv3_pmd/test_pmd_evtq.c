/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The event queue: records, PROD and CONS, overflow, garbage, marks. */

#include "fake_evtq.h"
#include "test.h"

static uint32_t
fake_read_cons(struct pmd *p)
{
	return smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_CONS);
}

/* Poll once: records were lost, and nothing else is in the burst. */
static void
poll_lost(struct pmd *p)
{
	struct iopf_event events[4];

	assert_int_equal(p->ops->poll(p->s, 0, events, 4), 1);
	assert_int_equal(events[0].flags, IOPF_EVENT_LOST);
	assert_int_equal(events[0].pasid, IOPF_NO_PASID);
}

static void
test_records_are_decoded(void **state)
{
	struct iopf_event e;
	struct pmd p;

	(void)state;
	fake_open(&p, 4);

	/* F_TRANSLATION, SSV, SSID 0x56, STALL, STAG 0x789a, privileged write. */
	e = fake_decode(&p, 0x10 | 1 << 11 | 0x56 << 12 | SID,
			0x789a | UINT64_C(1) << 31 | UINT64_C(1) << 33 | UINT64_C(2) << 40,
			UINT64_C(0x8877665544332211), UINT64_C(0xffffffffffffffff));
	assert_int_equal(e.sid, 0x1234);
	assert_int_equal(e.pasid, 0x56);
	assert_int_equal(e.token, 0x789a);
	assert_int_equal(e.addr, UINT64_C(0x8877665544332211));
	assert_int_equal(e.ipa, 0);
	assert_int_equal(e.perm, IOPF_PERM_WRITE | IOPF_PERM_PRIV);
	assert_int_equal(e.reason, IOPF_REASON_TRANSLATION);
	assert_int_equal(e.flags, IOPF_EVENT_STALL);
	assert_int_equal(e.raw_id, 0x10);

	/* F_PERMISSION, no SSV, read of an instruction, stage 2, not stalled. */
	e = fake_decode(&p, 0x13 | 0x56 << 12 | SID,
			0x789a | UINT64_C(3) << 34 | UINT64_C(1) << 39,
			0x1000, UINT64_C(0x00abcdef12345fff));
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.token, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_EXEC);
	assert_int_equal(e.reason, IOPF_REASON_PERMISSION);
	assert_int_equal(e.flags, IOPF_EVENT_STAGE2);
	assert_int_equal(e.ipa, UINT64_C(0x00abcdef12345000));

	/* Stalls of stage 2: CD, TT and IN. */
	for (unsigned int i = 0; i < 3; i++) {
		static const uint8_t classes[] = { IOPF_CLASS_CD, IOPF_CLASS_TT, IOPF_CLASS_IN };

		e = fake_decode(&p, 0x10 | 0x56 << 12 | SID, UINT64_C(1) << 31 |
				UINT64_C(1) << 39 | (uint64_t)i << 40, 0x1000, 0x7000);
		assert_int_equal(e.flags, IOPF_EVENT_STALL | IOPF_EVENT_STAGE2);
		assert_int_equal(e.event_class, classes[i]);
		assert_int_equal(e.ipa, 0x7000);
	}

	/* A write is never an instruction fetch. */
	e = fake_decode(&p, 0x12 | SID, UINT64_C(1) << 34, 0, 0);
	assert_int_equal(e.perm, IOPF_PERM_WRITE);
	assert_int_equal(e.reason, IOPF_REASON_ACCESS);
	e = fake_decode(&p, 0x11 | SID, UINT64_C(1) << 35, 0, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ);
	assert_int_equal(e.reason, IOPF_REASON_ADDR_SIZE);

	/* C_BAD_SUBSTREAMID has an SSID without SSV, and no address. */
	e = fake_decode(&p, 0x08 | 0x77 << 12 | SID, 0, 0x5000, 0);
	assert_int_equal(e.pasid, 0x77);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.reason, IOPF_REASON_CONFIG);
	fake_close(&p);
}

/* Each of the 256 event ids with STALL set: a stall, another event, or an unknown id. */
static void
test_only_four_events_are_stalls(void **state)
{
	/* Known ids, and those that use bit 31 for another field. */
	static const uint8_t known[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 32,
		33, 36, 37 };
	static const uint8_t bit31[] = { 5, 32, 33 };
	struct iopf_event e;
	unsigned int id, i;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	for (id = 0; id < 256; id++) {
		bool is_known = id >= 0xe0 && id <= 0xef, is_31 = is_known;
		bool stalls = id >= 0x10 && id <= 0x13;

		for (i = 0; i < sizeof(known); i++)
			is_known |= known[i] == id;
		for (i = 0; i < sizeof(bit31); i++)
			is_31 |= bit31[i] == id;
		e = fake_decode(&p, id | SID, 7 | UINT64_C(1) << 31, 0, 0);
		assert_int_equal(e.raw_id, id);
		assert_int_equal(e.flags & IOPF_EVENT_STALL, stalls ? IOPF_EVENT_STALL : 0);
		assert_int_equal(e.flags & IOPF_EVENT_BAD,
				is_known && (stalls || is_31) ? 0 : IOPF_EVENT_BAD);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		e = fake_decode(&p, id | SID, 7, 0, 0);
		assert_int_equal(e.flags, is_known ? 0 : IOPF_EVENT_BAD);
	}
	/* A StreamID that the SMMU does not have cannot be resumed. */
	e = fake_decode(&p, 0x10 | UINT64_C(0x10000) << 32, 7 | UINT64_C(1) << 31, 0, 0);
	assert_int_equal(e.flags, IOPF_EVENT_BAD);
	assert_int_equal(pmd_read_stat(&p, "bad_events"), 256 - 4 - 3 - 16 + 256 - 19 - 16 + 1);
	fake_close(&p);
}

static void
test_a_burst_has_one_consumer_store(void **state)
{
	struct iopf_event events[16];
	uint32_t prod = 0, cons = 0;
	unsigned int round, i, n;
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 0; log2 < 4; log2++) {
		fake_open(&p, log2);
		prod = cons = 0;
		for (round = 0; round < 100; round++) {
			unsigned int want = 1 + round % (1u << log2), ask = 1 + round % 5;
			unsigned int taken = 0;

			for (i = 0; i < want; i++)
				*fake_get_slot(&p, prod + i) = (struct smmuv3_evt){ .dw = {
					0x10 | SID, (prod + i) & 0xffff, prod + i, 0 } };
			fake_write_prod(&p, smmuv3_q_add(log2, prod, want));
			while (taken < want) {
				n = p.ops->poll(p.s, 0, events, ask);
				assert_int_equal(n, RTE_MIN(ask, want - taken));
				for (i = 0; i < n; i++)
					assert_int_equal(events[i].addr, prod + taken + i);
				taken += n;
				cons = smmuv3_q_add(log2, cons, n);
				assert_int_equal(fake_read_cons(&p), cons);
			}
			assert_int_equal(p.ops->poll(p.s, 0, events, 16), 0);
			prod = smmuv3_q_add(log2, prod, want);
		}
		fake_close(&p);
	}
}

static void
test_an_impossible_prod_is_never_followed(void **state)
{
	struct iopf_event events[64];
	unsigned int told = 0, i;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	/* 8 entries, empty at 0: PROD 1 to 8 is possible, 9 to 15 is not. */
	for (i = 9; i < 16; i++) {
		uint32_t at = fake_read_cons(&p);

		fake_write_prod(&p, smmuv3_q_add(3, at, i));
		poll_lost(&p);
		/* CONS equals PROD again, and no entry was read. */
		assert_int_equal(fake_read_cons(&p), smmuv3_q_add(3, at, i));
		assert_int_equal(p.ops->poll(p.s, 0, events, 64), 0);
		assert_int_equal(pmd_read_stat(&p, "bad_prod"), i - 8);
	}
	/* The entries that were not read may have been stalls. */
	for (i = 0; i < 10; i++) {
		told |= p.ops->check(p.s);
		pmd_step(&p);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	fake_close(&p);
}

/* Behind an asynchronous abort PROD passes entries that were not written [7.2]. */
static void
test_a_record_that_was_not_written_is_no_stall(void **state)
{
	struct iopf_event e;
	unsigned int i, told = 0;
	uint32_t prod;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	/* At the start as well: the ring had another use before. */
	for (unsigned int round = 0; round < 3; round++) {
		prod = smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD);
		fake_write_prod(&p, smmuv3_q_add(3, prod, 1));
		assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 1);
		assert_int_equal(e.flags, IOPF_EVENT_BAD);
		assert_int_equal(e.raw_id, 0);
		assert_int_equal(pmd_read_stat(&p, "unwritten_events"), round + 1);
		/* Stalls of the round before it, each answered. */
		for (i = 0; i < 8; i++) {
			e = fake_decode(&p, 0x10 | SID, i | UINT64_C(1) << 31, 0, 0);
			assert_int_equal(e.flags, IOPF_EVENT_STALL);
		}
	}
	/* The entry may have been a stall, which would wait for ever now. */
	for (i = 0; i < 100 && told == 0; i++) {
		told |= p.ops->check(p.s);
		pmd_step(&p);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	fake_close(&p);
}

static void
test_records_that_a_bad_prod_skipped_are_never_decoded(void **state)
{
	struct iopf_event e;
	uint32_t prod;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	for (unsigned int i = 0; i < 8; i++)
		*fake_get_slot(&p, i) = (struct smmuv3_evt){ .dw = {
			0x10 | SID, UINT64_C(1) << 31, 0, 0 } };
	fake_write_prod(&p, 9);
	poll_lost(&p);
	for (unsigned int i = 0; i < 8; i++) {
		prod = smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD);
		fake_write_prod(&p, smmuv3_q_add(3, prod, 1));
		assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 1);
		assert_int_equal(e.flags, IOPF_EVENT_BAD);
	}
	fake_close(&p);
}

static void
test_overflow_is_acknowledged_with_the_next_consumer_store(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, round, n;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.evtq_log2 = k & 2 ? 2 : SMMUV3_MODEL_NONE });
		pmd_start(&p, IOPF_TERMINATE);
		for (round = 1; round <= 5; round++) {
			for (i = 0; i < 10; i++)
				pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
			pmd_step(&p);
			/* The loss is visible; each once. */
			poll_lost(&p);
			for (n = 0; p.ops->poll(p.s, 0, &event, 1) == 1; n++)
				assert_int_equal(event.flags, 0);
			assert_int_equal(n, k & 2 ? 4 : 1);
			assert_int_equal(pmd_read_stat(&p, "event_overflows"), round);
			assert_int_equal((smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD) ^
					smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_CONS)) &
					SMMUV3_Q_OVFLG, 0);
			for (i = 0; i < 10; i++)
				assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		}
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_overflow_is_acknowledged_though_the_queue_is_empty(void **state)
{
	struct iopf_event event;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	fake_write_prod(&p, SMMUV3_Q_OVFLG);
	poll_lost(&p);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	assert_int_equal(fake_read_cons(&p), SMMUV3_Q_OVFLG);
	/* The overflow is acknowledged once. The next record is no overflow. */
	fake_decode(&p, 0x10 | SID, 0, 0, 0);
	assert_int_equal(pmd_read_stat(&p, "event_overflows"), 1);
	fake_close(&p);
}

/* The SMMU holds back stalls that find the queue full; it does not lose them. */
static void
test_a_storm_larger_than_the_queue_is_served(void **state)
{
	struct iopf_event events[8];
	uint8_t buf[4] = { 0 };
	unsigned int i, k, n, total;
	struct pmd p;

	(void)state;
	for (k = 0; k < 8; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.evtq_log2 = 2,
			.cmdq_log2 = 3,
			.stall_max = 100,
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.choices = (k & 2 ? SMMUV3_MODEL_RETRY_HELD : 0) |
				(k & 4 ? SMMUV3_MODEL_EARLY_RETRY : 0) });
		pmd_start(&p, IOPF_STALL);
		for (i = 0; i < 300; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		for (total = 0, i = 0; i < 20000 && total < 300; i++) {
			struct iopf_answer answers[8];

			smmuv3_model_step(p.m, 16);
			n = p.ops->poll(p.s, 0, events, 8);
			for (unsigned int e = 0; e < n; e++) {
				assert_int_equal(events[e].flags, IOPF_EVENT_STALL);
				answers[e] = (struct iopf_answer){ .sid = events[e].sid,
					.token = events[e].token, .code = IOPF_INVALID };
			}
			if (n > 0)
				p.ops->answer(p.s, answers, n);
			total += n;
		}
		assert_int_equal(total, 300);
		for (i = 0; i < 300; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(pmd_read_stat(&p, "event_overflows"), 0);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_a_mark_is_passed_when_the_records_before_it_were_returned(void **state)
{
	struct iopf_event events[8];
	uint64_t mark, empty;
	uint8_t buf[4] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
	pmd_start(&p, IOPF_TERMINATE);
	for (unsigned int round = 0; round < 50; round++) {
		empty = p.ops->queue_mark(p.s, 0);
		assert_true(p.ops->queue_passed(p.s, 0, empty));
		for (i = 0; i < 5; i++)
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		mark = p.ops->queue_mark(p.s, 0);
		assert_int_equal(mark, empty + 5);
		assert_false(p.ops->queue_passed(p.s, 0, mark));
		assert_int_equal(p.ops->poll(p.s, 0, events, 3), 3);
		assert_false(p.ops->queue_passed(p.s, 0, mark));
		assert_int_equal(p.ops->poll(p.s, 0, events, 8), 2);
		/* The caller has the records, but may not have handled them yet. */
		assert_false(p.ops->queue_passed(p.s, 0, mark));
		assert_int_equal(p.ops->poll(p.s, 0, events, 8), 0);
		assert_true(p.ops->queue_passed(p.s, 0, mark));
		for (i = 0; i < 5; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	}
	/* After a stop, and after the next start, every mark is passed. */
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	mark = p.ops->queue_mark(p.s, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_true(p.ops->queue_passed(p.s, 0, mark));
	assert_int_equal(p.ops->start(p.s), 0);
	assert_true(p.ops->queue_passed(p.s, 0, mark));
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_sync_is_a_command(void **state)
{
	uint64_t syncs;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
	pmd_start(&p, IOPF_TERMINATE);
	syncs = pmd_read_stat(&p, "syncs");
	assert_int_equal(p.ops->sync(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "syncs"), syncs + 1);
	/* It has been consumed. */
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(p.s->regs, SMMUV3_CMDQ_PROD));
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->sync(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "syncs"), syncs + 1);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_records_are_decoded),
	cmocka_unit_test(test_only_four_events_are_stalls),
	cmocka_unit_test(test_a_burst_has_one_consumer_store),
	cmocka_unit_test(test_an_impossible_prod_is_never_followed),
	cmocka_unit_test(test_a_record_that_was_not_written_is_no_stall),
	cmocka_unit_test(test_records_that_a_bad_prod_skipped_are_never_decoded),
	cmocka_unit_test(test_overflow_is_acknowledged_with_the_next_consumer_store),
	cmocka_unit_test(test_overflow_is_acknowledged_though_the_queue_is_empty),
	cmocka_unit_test(test_a_storm_larger_than_the_queue_is_served),
	cmocka_unit_test(test_a_mark_is_passed_when_the_records_before_it_were_returned),
	cmocka_unit_test(test_a_sync_is_a_command),
};

TEST_SUITE(pmd_evtq, tests, NULL, NULL);
