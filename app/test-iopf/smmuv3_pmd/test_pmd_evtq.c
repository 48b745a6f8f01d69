/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The event queue: records, idling, overflow, garbage. */

#include <string.h>

#include "pmd_rig.h"
#include "test.h"

/*
 * An SMMU played by the test: the model never steps, the test writes records and
 * PROD itself. So without MSIs, and not closed in order.
 */
static void
fake_open(struct pmd *p, unsigned int evtq_log2)
{
	pmd_open(p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_MSI,
		.sid_bits = 16,
		.ssid_bits = 8,
		.evtq_log2 = evtq_log2 == 0 ? SMMUV3_MODEL_NONE : evtq_log2 });
	assert_int_equal(p->ops->start(p->s), 0);
	p->untidy = true;
}

static void
fake_close(struct pmd *p)
{
	smmuv3_write32(p->s->regs, SMMUV3_EVENTQ_PROD,
			smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_CONS));
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

static void
fake_prod(struct pmd *p, uint32_t prod)
{
	smmuv3_store_prod(p->s->regs, SMMUV3_EVENTQ_PROD, prod);
}

static uint32_t
fake_cons(struct pmd *p)
{
	return smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_CONS);
}

static struct smmuv3_evt *
slot(struct pmd *p, unsigned int i)
{
	struct smmuv3_evt *ring = p->s->evtq.q.mem.va;

	return &ring[i & ((1u << p->s->evtq.q.log2) - 1)];
}

static struct iopf_event
decoded(struct pmd *p, uint64_t dw0, uint64_t dw1, uint64_t dw2, uint64_t dw3)
{
	uint32_t prod = smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_PROD);
	struct iopf_event event;

	*slot(p, prod) = (struct smmuv3_evt){ .dw = { dw0, dw1, dw2, dw3 } };
	fake_prod(p, smmuv3_q_add(p->s->evtq.q.log2, prod, 1) | (prod & SMMUV3_Q_OVFLG));
	memset(&event, 0xa5, sizeof(event));
	assert_int_equal(p->ops->poll(p->s, 0, &event, 1), 1);
	return event;
}

#define SID	(UINT64_C(0x1234) << 32)

static void
test_records_are_decoded(void **state)
{
	struct iopf_event e;
	struct pmd p;

	(void)state;
	fake_open(&p, 4);

	/* F_TRANSLATION, SSV, SSID 0x56, STALL, STAG 0x789a, privileged write. */
	e = decoded(&p, 0x10 | 1 << 11 | 0x56 << 12 | SID,
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
	e = decoded(&p, 0x13 | 0x56 << 12 | SID,
			0x789a | UINT64_C(3) << 34 | UINT64_C(1) << 39,
			0x1000, UINT64_C(0x00abcdef12345fff));
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.token, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_EXEC);
	assert_int_equal(e.reason, IOPF_REASON_PERMISSION);
	assert_int_equal(e.flags, IOPF_EVENT_STAGE2);
	assert_int_equal(e.ipa, UINT64_C(0x00abcdef12345000));

	/* A write is never of an instruction. */
	e = decoded(&p, 0x12 | SID, UINT64_C(1) << 34, 0, 0);
	assert_int_equal(e.perm, IOPF_PERM_WRITE);
	assert_int_equal(e.reason, IOPF_REASON_ACCESS);
	e = decoded(&p, 0x11 | SID, UINT64_C(1) << 35, 0, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ);
	assert_int_equal(e.reason, IOPF_REASON_ADDR_SIZE);

	/* C_BAD_SUBSTREAMID has an SSID without SSV, and no address. */
	e = decoded(&p, 0x08 | 0x77 << 12 | SID, 0, 0x5000, 0);
	assert_int_equal(e.pasid, 0x77);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.reason, IOPF_REASON_CONFIG);
	fake_close(&p);
}

/* Each of the 256 ids with STALL set: a stall, nothing, or not an SMMU's. */
static void
test_only_four_events_are_stalls(void **state)
{
	/* Known ids, and those that use bit 31 for something else. */
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
		e = decoded(&p, id | SID, 7 | UINT64_C(1) << 31, 0, 0);
		assert_int_equal(e.raw_id, id);
		assert_int_equal(e.flags & IOPF_EVENT_STALL, stalls ? IOPF_EVENT_STALL : 0);
		assert_int_equal(e.flags & IOPF_EVENT_BAD,
				is_known && (stalls || is_31) ? 0 : IOPF_EVENT_BAD);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		e = decoded(&p, id | SID, 7, 0, 0);
		assert_int_equal(e.flags, is_known ? 0 : IOPF_EVENT_BAD);
	}
	/* A stream that it does not have cannot be resumed. */
	e = decoded(&p, 0x10 | UINT64_C(0x10000) << 32, 7 | UINT64_C(1) << 31, 0, 0);
	assert_int_equal(e.flags, IOPF_EVENT_BAD);
	assert_int_equal(pmd_stat(&p, "bad_events"), 256 - 4 - 3 - 16 + 256 - 19 - 16 + 1);
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
				*slot(&p, prod + i) = (struct smmuv3_evt){ .dw = {
					0x10 | SID, (prod + i) & 0xffff, prod + i, 0 } };
			fake_prod(&p, smmuv3_q_add(log2, prod, want));
			while (taken < want) {
				n = p.ops->poll(p.s, 0, events, ask);
				assert_int_equal(n, RTE_MIN(ask, want - taken));
				for (i = 0; i < n; i++)
					assert_int_equal(events[i].addr, prod + taken + i);
				taken += n;
				cons = smmuv3_q_add(log2, cons, n);
				assert_int_equal(fake_cons(&p), cons);
			}
			assert_int_equal(p.ops->poll(p.s, 0, events, 16), 0);
			prod = smmuv3_q_add(log2, prod, want);
		}
		fake_close(&p);
	}
}

static void
test_a_producer_index_that_cannot_be_is_never_followed(void **state)
{
	struct iopf_event events[64];
	unsigned int told = 0, i;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	/* 8 entries, empty at 0: 1 to 8 are possible, 9 to 15 are not. */
	for (i = 9; i < 16; i++) {
		uint32_t at = fake_cons(&p);

		fake_prod(&p, smmuv3_q_add(3, at, i));
		assert_int_equal(p.ops->poll(p.s, 0, events, 64), 0);
		/* In step again, and nothing was read. */
		assert_int_equal(fake_cons(&p), smmuv3_q_add(3, at, i));
		assert_int_equal(p.ops->poll(p.s, 0, events, 64), 0);
		assert_int_equal(pmd_stat(&p, "bad_prod"), i - 8);
	}
	/* Stalls may have been among what was not read. */
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
	/* From the start on: the ring had another use before. */
	for (unsigned int round = 0; round < 3; round++) {
		prod = smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD);
		fake_prod(&p, smmuv3_q_add(3, prod, 1));
		assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 1);
		assert_int_equal(e.flags, IOPF_EVENT_BAD);
		assert_int_equal(e.raw_id, 0);
		assert_int_equal(pmd_stat(&p, "unwritten_events"), round + 1);
		/* Stalls of the round before it, each answered. */
		for (i = 0; i < 8; i++) {
			e = decoded(&p, 0x10 | SID, i | UINT64_C(1) << 31, 0, 0);
			assert_int_equal(e.flags, IOPF_EVENT_STALL);
		}
	}
	/* It may have been a stall, which waits for good now. */
	for (i = 0; i < 100 && told == 0; i++) {
		told |= p.ops->check(p.s);
		pmd_step(&p);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	fake_close(&p);
}

static void
test_nothing_of_what_a_bad_producer_index_skipped_comes_back(void **state)
{
	struct iopf_event e;
	uint32_t prod;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	for (unsigned int i = 0; i < 8; i++)
		*slot(&p, i) = (struct smmuv3_evt){ .dw = { 0x10 | SID, UINT64_C(1) << 31, 0, 0 } };
	fake_prod(&p, 9);
	assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
	for (unsigned int i = 0; i < 8; i++) {
		prod = smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD);
		fake_prod(&p, smmuv3_q_add(3, prod, 1));
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
		pmd_up(&p, IOPF_TERMINATE);
		for (round = 1; round <= 5; round++) {
			for (i = 0; i < 10; i++)
				pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
			pmd_step(&p);
			for (n = 0; p.ops->poll(p.s, 0, &event, 1) == 1; n++)
				;
			assert_int_equal(n, k & 2 ? 4 : 1);
			assert_int_equal(pmd_stat(&p, "event_overflows"), round);
			assert_int_equal((smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_PROD) ^
					smmuv3_read32(p.s->regs, SMMUV3_EVENTQ_CONS)) &
					SMMUV3_Q_OVFLG, 0);
			for (i = 0; i < 10; i++)
				assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		}
		pmd_down(&p, IOPF_NO_PASID);
	}
}

static void
test_overflow_is_acknowledged_though_the_queue_is_empty(void **state)
{
	struct iopf_event event;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	fake_prod(&p, SMMUV3_Q_OVFLG);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	assert_int_equal(fake_cons(&p), SMMUV3_Q_OVFLG);
	/* Once: it is no overflow any more. */
	decoded(&p, 0x10 | SID, 0, 0, 0);
	assert_int_equal(pmd_stat(&p, "event_overflows"), 1);
	fake_close(&p);
}

/* Stalls that the queue has no room for are held back, not lost. */
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
		pmd_up(&p, IOPF_STALL);
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
			assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(pmd_stat(&p, "event_overflows"), 0);
		pmd_down(&p, IOPF_NO_PASID);
	}
}

/* However long it was idle, and wherever the step fell, the next event is seen. */
static void
test_an_idle_queue_wakes_up(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, k, n;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	for (i = 0; i < 300; i++) {
		for (k = 0; k < i; k++)
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		/* Idling is a look at a word that says no. */
		if (i > 0)
			assert_int_equal(smmuv3_load_word(&p.s->words->evtq.v), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		for (k = 0, n = 0; k < 100 && n == 0; k++) {
			smmuv3_model_step(p.m, 1);
			n = p.ops->poll(p.s, 0, &event, 1);
		}
		assert_int_equal(n, 1);
		pmd_answer(&p, &event, IOPF_INVALID);
		if (i & 1)
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	}
	/* Each time by the word, not by the net under it. */
	assert_int_equal(pmd_stat(&p, "missed_msis"), 0);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_an_interrupt_that_is_lost_is_made_up_for(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	for (i = 0; i < 4; i++)
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	for (i = 0; i < 64 && p.ops->poll(p.s, 0, &event, 1) == 0; i++)
		;
	assert_true(i < 64);
	pmd_answer(&p, &event, IOPF_INVALID);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	for (i = 0; i < 200; i++)
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	assert_int_equal(pmd_stat(&p, "missed_msis"), 1);
	for (i = 0; i < 16; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_stat(&p, "msi_aborts"), 1);
	pmd_serve(&p, PMD_VA);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_a_mark_is_passed_when_what_is_before_it_was_returned(void **state)
{
	struct iopf_event events[8];
	uint64_t mark, empty;
	uint8_t buf[4] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
	pmd_up(&p, IOPF_TERMINATE);
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
		/* Returned to the caller, who may not have looked at it yet. */
		assert_false(p.ops->queue_passed(p.s, 0, mark));
		assert_int_equal(p.ops->poll(p.s, 0, events, 8), 0);
		assert_true(p.ops->queue_passed(p.s, 0, mark));
		for (i = 0; i < 5; i++)
			assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	}
	/* A stop leaves nothing to wait for, and nor does the next start. */
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	mark = p.ops->queue_mark(p.s, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_true(p.ops->queue_passed(p.s, 0, mark));
	assert_int_equal(p.ops->start(p.s), 0);
	assert_true(p.ops->queue_passed(p.s, 0, mark));
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_down(&p, IOPF_NO_PASID);
}

/* Stall records may be lost: every stall ends, and none of the new ones is hit. */
static void
test_after_an_aborted_record_all_stalls_are_ended(void **state)
{
	struct iopf_event events[16];
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, k, n, told;
	struct pmd p;

	(void)state;
	for (k = 0; k < 4; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.ack_delay = k & 2 ? 5 : 0,
			.stall_max = 16 });
		pmd_up(&p, IOPF_STALL);
		/* Two read and not answered, three not read, one lost. */
		for (i = 0; i < 2; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		for (i = 0; i < 2; i++)
			pmd_event(&p, &events[i]);
		for (i = 2; i < 5; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		pmd_step(&p);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		pmd_step(&p);
		told = 0;
		for (i = 0; i < 100 && told == 0; i++) {
			told = p.ops->check(p.s);
			smmuv3_model_step(p.m, 1);
		}
		assert_int_equal(told, IOPF_CHECK_TERMINATED);
		assert_int_equal(pmd_stat(&p, "evtq_aborts"), 1);
		for (i = 0; i < 6; i++)
			assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		/* A late answer to one of them is dropped. */
		pmd_answer(&p, &events[0], IOPF_SUCCESS);
		assert_int_equal(pmd_stat(&p, "answers_dropped"), 1);
		/* The records left over are no stalls any more. */
		n = p.ops->poll(p.s, 0, events, 16);
		assert_int_equal(n, 3);
		for (i = 0; i < n; i++)
			assert_int_equal(events[i].flags, 0);
		assert_int_equal(pmd_stat(&p, "stale_stalls"), 3);
		for (i = 0; i < 20; i++) {
			assert_int_equal(p.ops->check(p.s), 0);
			smmuv3_model_step(p.m, 1);
		}
		/* It goes on. */
		for (i = 0; i < 16; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		for (i = 0; i < 16; i++) {
			pmd_event(&p, &event);
			assert_int_equal(event.flags, IOPF_EVENT_STALL);
			pmd_answer(&p, &event, IOPF_INVALID);
			assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		}
		pmd_serve(&p, PMD_VA);
		assert_int_equal(pmd_stat(&p, "resets"), 1);
		pmd_down(&p, IOPF_NO_PASID);
	}
}

/* Without stalls an aborted record is only that: nothing is switched off for it. */
static void
test_an_aborted_record_of_an_smmu_without_stalls_is_counted(void **state)
{
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = SMMUV3_STALL_MODEL_TERM });
	pmd_up(&p, IOPF_TERMINATE);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		assert_true(smmuv3_read32(p.s->regs, SMMUV3_CR0) & SMMUV3_CR0_SMMUEN);
		pmd_step(&p);
	}
	assert_int_equal(pmd_stat(&p, "evtq_aborts"), 1);
	assert_int_equal(pmd_stat(&p, "resets"), 0);
	pmd_serve(&p, PMD_VA);
	pmd_down(&p, IOPF_NO_PASID);
}

/* RESUMEs on their way when the error comes are consumed before new stalls exist. */
static void
test_answers_under_way_are_waited_for_before_a_restart(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2, .stall_max = 16 });
	pmd_up(&p, IOPF_STALL);
	for (i = 0; i < 8; i++)
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	/* Four fit, four are in the backlog. */
	for (i = 0; i < 8; i++) {
		pmd_event(&p, &event);
		pmd_answer(&p, &event, IOPF_INVALID);
	}
	for (i = 0; i < 50; i++) {
		told |= p.ops->check(p.s);
		smmuv3_model_step(p.m, 1);
	}
	assert_int_equal(told, 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN, 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 50; i++) {
		told |= p.ops->check(p.s);
		smmuv3_model_step(p.m, 1);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN,
			SMMUV3_CR0_SMMUEN);
	for (i = 0; i < 9; i++)
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_serve(&p, PMD_VA);
	pmd_down(&p, IOPF_NO_PASID);
}

/* The model's: the entry keeps the record of the round before, and the error comes late. */
static void
test_a_stall_whose_record_was_lost_is_not_taken_for_an_old_one(void **state)
{
	struct iopf_event e;
	uint8_t buf[4] = { 0 };
	unsigned int i, told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 2 });
	pmd_up(&p, IOPF_STALL);
	for (i = 0; i < 4; i++)
		pmd_serve(&p, PMD_VA + (i << 20));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	pmd_write(&p, PMD_VA + (i << 20), buf, sizeof(buf));
	/* Read as soon as PROD shows it, before GERROR does. */
	for (i = 0; i < 1000 && p.ops->poll(p.s, 0, &e, 1) == 0; i++)
		smmuv3_model_step(p.m, 1);
	assert_int_equal(e.flags, IOPF_EVENT_BAD);
	for (i = 0; i < 1000 && told == 0; i++) {
		pmd_step(&p);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pmd_stat(&p, "unwritten_events"), 1);
	/* EVENTQ_ABT_ERR may be another reason to end them. */
	for (i = 0; i < 1000; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s) & ~IOPF_CHECK_TERMINATED, 0);
	}
	pmd_serve(&p, PMD_VA + (8 << 20));
	pmd_down(&p, IOPF_NO_PASID);
}

/*
 * A record of a stall that SMMUEN = 0 ended may become visible until a CMD_SYNC behind that
 * is complete [4.7.3].
 */
static void
test_a_record_that_comes_late_in_a_recovery_is_no_stall(void **state)
{
	struct iopf_event e;
	uint32_t prod;
	unsigned int i;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	prod = smmuv3_read32(p.s->regs, SMMUV3_CMDQ_PROD);
	atomic_store(&p.s->reset_wanted, true);
	assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0) & SMMUV3_CR0_SMMUEN, 0);
	smmuv3_write32(p.s->regs, SMMUV3_CR0ACK, smmuv3_read32(p.s->regs, SMMUV3_CR0));
	/* The CMD_SYNC is not consumed. */
	for (i = 0; i < 20; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CMDQ_PROD), prod + 1);
	*slot(&p, 0) = (struct smmuv3_evt){ .dw = { 0x10 | SID, UINT64_C(1) << 31, 0, 0 } };
	fake_prod(&p, 1);
	smmuv3_write32(p.s->regs, SMMUV3_CMDQ_CONS, prod + 1);
	assert_int_equal(p.ops->check(p.s), IOPF_CHECK_TERMINATED);
	assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 1);
	assert_int_equal(e.flags, 0);
	assert_int_equal(pmd_stat(&p, "stale_stalls"), 1);
	/* On again. */
	for (i = 0; i < 20; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		smmuv3_write32(p.s->regs, SMMUV3_CR0ACK, smmuv3_read32(p.s->regs, SMMUV3_CR0));
	}
	assert_int_equal(p.s->reset, SMMUV3_RESET_NONE);
	e = decoded(&p, 0x10 | SID, UINT64_C(1) << 31, 0, 0);
	assert_int_equal(e.flags, IOPF_EVENT_STALL);
	fake_close(&p);
}

/* PROD may be seen before the word that says so: that is not an interrupt lost. */
static void
test_a_word_that_comes_after_prod_is_not_missed(void **state)
{
	struct iopf_event e;
	struct pmd p;
	unsigned int i;

	(void)state;
	for (unsigned int comes = 0; comes < 2; comes++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
		assert_int_equal(p.ops->start(p.s), 0);
		p.untidy = true;
		for (unsigned int round = 0; round < 5; round++) {
			for (i = 0; i < 4; i++)
				assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			*slot(&p, round) = (struct smmuv3_evt){ .dw = { 0x02, 0, 0, 0 } };
			fake_prod(&p, round + 1);
			for (i = 0; i < 64 && p.ops->poll(p.s, 0, &e, 1) == 0; i++)
				;
			assert_true(i < 64);
			/* Polls come one upon the other, and find the queue empty. */
			if (round & 1)
				for (i = 0; i < 3; i++)
					assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			if (comes)
				atomic_store(&p.s->words->evtq.v, 1);
			for (i = 0; i < 200; i++)
				assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			assert_int_equal(pmd_stat(&p, "missed_msis"), comes ? 0 : round + 1);
		}
		fake_close(&p);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_records_are_decoded),
	cmocka_unit_test(test_only_four_events_are_stalls),
	cmocka_unit_test(test_a_burst_has_one_consumer_store),
	cmocka_unit_test(test_a_producer_index_that_cannot_be_is_never_followed),
	cmocka_unit_test(test_a_record_that_was_not_written_is_no_stall),
	cmocka_unit_test(test_nothing_of_what_a_bad_producer_index_skipped_comes_back),
	cmocka_unit_test(test_overflow_is_acknowledged_with_the_next_consumer_store),
	cmocka_unit_test(test_overflow_is_acknowledged_though_the_queue_is_empty),
	cmocka_unit_test(test_a_storm_larger_than_the_queue_is_served),
	cmocka_unit_test(test_an_idle_queue_wakes_up),
	cmocka_unit_test(test_an_interrupt_that_is_lost_is_made_up_for),
	cmocka_unit_test(test_a_mark_is_passed_when_what_is_before_it_was_returned),
	cmocka_unit_test(test_after_an_aborted_record_all_stalls_are_ended),
	cmocka_unit_test(test_an_aborted_record_of_an_smmu_without_stalls_is_counted),
	cmocka_unit_test(test_answers_under_way_are_waited_for_before_a_restart),
	cmocka_unit_test(test_a_stall_whose_record_was_lost_is_not_taken_for_an_old_one),
	cmocka_unit_test(test_a_record_that_comes_late_in_a_recovery_is_no_stall),
	cmocka_unit_test(test_a_word_that_comes_after_prod_is_not_missed),
};

TEST_SUITE(pmd_evtq, tests, NULL, NULL);
