/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Page requests: the PRIQ is set up, polled, waited on and marked; groups are answered. */

#include <sys/eventfd.h>
#include <unistd.h>

#include "requests_rig.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

static void
test_a_group_is_requested_and_answered(void **state)
{
	struct requests r;

	(void)state;
	for (unsigned int k = 0; k < 8; k++) {
		requests_open_conf(&r, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.features = k & 2 ? SMMUV3_MODEL_PPS : 0,
			.ack_delay = k & 1 ? 3 : 0 },
			&(struct requests_fns){ .group_pages = 4, .prg_pasid = k & 4 });
		for (unsigned int i = 0; i < 6; i++)
			requests_ask(&r, i % NB_FNS, PMD_VA + i * 16 * PAGE, 1 + i);
		requests_serve_all(&r);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 6);
		assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), r.groups);
		assert_int_equal(pmd_read_stat(&r.p, "requests"), 1 + 2 + 3 + 4 + 5 + 6);
		assert_int_equal(pmd_read_stat(&r.p, "missed_priq_msis"), 0);
		assert_int_equal(r.lost + r.bad + r.markers, 0);
		requests_close(&r);
	}
}

/* The registers before the first request. */
static void
test_the_priq_is_enabled_when_the_smmu_has_one(void **state)
{
	static const struct {
		uint32_t features, cr0, irqs;
	} kinds[] = {
		{ 0, 0xd, 0x5 },
		{ SMMUV3_MODEL_ATS, 0x1d, 0x5 },
		{ SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI, 0x1f, 0x7 },
	};
	struct iopf_event event;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(kinds); i++)
		for (unsigned int msi = 0; msi < 2; msi++) {
			pmd_open(&p, &(struct smmuv3_model_conf){ .features = kinds[i].features,
				.no_features = msi ? 0 : SMMUV3_MODEL_NO_MSI, .ack_delay = 4 });
			for (unsigned int round = 0; round < 2; round++) {
				assert_int_equal(p.ops->start(p.s), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0),
						kinds[i].cr0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK),
						kinds[i].cr0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_IRQ_CTRLACK),
						msi ? kinds[i].irqs : 0);
				for (unsigned int k = 0; k < 3; k++)
					assert_int_equal(p.ops->poll(p.s, 1, &event, 1), 0);
				assert_true(p.ops->queue_passed(p.s, 1,
						p.ops->queue_mark(p.s, 1)));
				assert_int_equal(p.ops->stop(p.s), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_IRQ_CTRLACK), 0);
			}
			pmd_close(&p);
		}
}

static void
test_the_priq_has_the_configured_size(void **state)
{
	struct pmd p;

	(void)state;
	for (uint32_t size = 1; size <= 4096; size *= 8) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .priq_log2 = 14,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
		for (unsigned int round = 0; round < 2; round++) {
			uint32_t want = round == 0 ? size : 0;
			uint64_t base;

			assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
				.request_queue_size = want }), 0);
			assert_int_equal(p.ops->start(p.s), 0);
			base = atomic_load(smmuv3_reg64(p.s->regs, SMMUV3_PRIQ_BASE));
			assert_int_equal(1u << SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base),
					round == 0 ? size : 1024);
			assert_int_equal(base & SMMUV3_Q_BASE_ADDR, p.s->priq.q.mem.addr);
			assert_int_equal(p.ops->stop(p.s), 0);
		}
		pmd_close(&p);
	}
}

/* [8.1]: a stop marker has no answer, the request needs one. */
static void
test_a_stop_marker_needs_no_answer_and_an_empty_request_does(void **state)
{
	struct requests r;

	(void)state;
	requests_open(&r);
	assert_int_equal(smmuv3_model_dma_stop_marker(r.fns[0]), 0);
	requests_serve_all(&r);
	assert_int_equal(r.markers, 1);
	assert_int_equal(r.groups, 0);
	/* With SSV = 0 it uses a credit until it is answered. */
	assert_int_equal(smmuv3_model_dma_stop_marker(r.fns[2]), 0);
	pmd_step(&r.p);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(r.fns[0]), 1);
	requests_serve_all(&r);
	assert_int_equal(r.markers, 1);
	assert_int_equal(r.groups, 1);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(r.fns[0]), 0);
	assert_int_equal(pmd_read_stat(&r.p, "priq_stop_markers"), 1);
	requests_close(&r);
}

static void
test_an_idle_queue_wakes_up(void **state)
{
	struct requests r;
	unsigned int i, k;

	(void)state;
	requests_open(&r);
	for (i = 0; i < 200; i++) {
		for (k = 0; k < i; k++)
			assert_int_equal(requests_serve(&r, 4), 0);
		if (i > 0)
			assert_int_equal(smmuv3_load_word(&r.p.s->words->priq.v), 0);
		requests_ask(&r, 0, PMD_VA + i * PAGE, 1);
		for (k = 0; k < 100 && r.nb_waiting == 0; k++) {
			smmuv3_model_step(r.p.m, 1);
			requests_serve(&r, 4);
		}
		assert_int_equal(r.nb_waiting, 1);
		requests_send_answers(&r, 1);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
	}
	assert_int_equal(pmd_read_stat(&r.p, "missed_priq_msis"), 0);
	/* A poll finds a request whose interrupt was lost. */
	requests_serve(&r, 4);
	requests_serve(&r, 4);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	requests_ask(&r, 0, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	for (k = 0; k < 64 && requests_serve(&r, 4) == 0; k++)
		;
	assert_true(k < 64);
	requests_send_answers(&r, 1);
	for (k = 0; k < 200; k++)
		assert_int_equal(requests_serve(&r, 4), 0);
	assert_int_equal(pmd_read_stat(&r.p, "missed_priq_msis"), 1);
	requests_check(&r, 17);
	assert_int_equal(pmd_read_stat(&r.p, "msi_aborts"), 1);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
	requests_close(&r);
}

static bool
has_rung(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void
test_a_request_wakes_the_sleeper(void **state)
{
	struct requests r;
	int fd;

	(void)state;
	backend_rig_skip_page("a page file has no wired interrupt");
	for (unsigned int kind = 0; kind < 4; kind++) {
		bool level = kind & 2;

		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 1, .ack_delay = 2,
			.no_features = kind & 1 ? 0 : SMMUV3_MODEL_NO_MSI,
			.harsh = level ? SMMUV3_MODEL_HARSH_LEVEL_IRQ : 0 }, NULL);
		for (unsigned int i = 0; i < 3; i++) {
			requests_ask(&r, 0, PMD_VA + (4 * i) * PAGE, 1);
			requests_serve_all(&r);
			assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
			assert_false(has_rung(fd));
			assert_int_equal(r.p.ops->idle(r.p.s, fd), 0);
			pmd_step(&r.p);
			assert_false(has_rung(fd));
			requests_ask(&r, 0, PMD_VA + (4 * i + 1) * PAGE, 1);
			pmd_step(&r.p);
			assert_true(has_rung(fd));
			/* A request is in the queue: idle() forbids sleep. */
			assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
			assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
			/*
			 * A level interrupt that was unmasked while high is raised once more.
			 */
			if (level)
				has_rung(fd);
			assert_int_equal(requests_serve(&r, 4), 1);
			requests_send_answers(&r, 1);
			pmd_step(&r.p);
			assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
		}
		/* An unacknowledged overflow raises no further interrupt, so it forbids sleep. */
		for (unsigned int i = 0; i < 3; i++)
			requests_ask(&r, 0, PMD_VA + (32 + i) * PAGE, 1);
		for (unsigned int i = 0; i < 20; i++)
			smmuv3_model_step(r.p.m, 4);
		assert_true(requests_has_overflow(&r));
		requests_serve(&r, 1);
		requests_serve(&r, 1);
		assert_true(requests_has_overflow(&r));
		assert_int_equal(smmuv3_q_pos(1, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD)),
				smmuv3_q_pos(1, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_CONS)));
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		requests_serve_all(&r);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 3);
		/* A loss that was not reported forbids sleep too. */
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		requests_ask(&r, 0, PMD_VA + 40 * PAGE, 1);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_ABORTED), 1);
		requests_check(&r, 17);
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		r.lost = 0;
		requests_serve_all(&r);
		assert_int_equal(r.lost, 1);
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 0);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		requests_close(&r);
		close(fd);
	}
}

static void
test_a_mark_is_passed_when_the_records_before_it_were_returned(void **state)
{
	struct iopf_event e[8];
	uint64_t mark, empty;
	struct requests r;
	unsigned int i;

	(void)state;
	requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 3 }, NULL);
	for (unsigned int round = 0; round < 50; round++) {
		empty = r.p.ops->queue_mark(r.p.s, 1);
		assert_true(r.p.ops->queue_passed(r.p.s, 1, empty));
		for (i = 0; i < 5; i++)
			requests_ask(&r, i % NB_FNS, PMD_VA + (round * 8 + i) * PAGE, 1);
		pmd_step(&r.p);
		mark = r.p.ops->queue_mark(r.p.s, 1);
		assert_int_equal(mark, empty + 5);
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e, 3), 3);
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 3, 5), 2);
		/* The caller has the requests, but may not have handled them yet. */
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 5, 3), 0);
		assert_true(r.p.ops->queue_passed(r.p.s, 1, mark));
		for (i = 0; i < 5; i++)
			requests_take(&r, &e[i]);
		requests_send_answers(&r, 5);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 5);
	}
	/* The event queue has marks of its own. */
	mark = r.p.ops->queue_mark(r.p.s, 0);
	assert_true(r.p.ops->queue_passed(r.p.s, 0, mark));
	requests_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_group_is_requested_and_answered),
	cmocka_unit_test(test_the_priq_is_enabled_when_the_smmu_has_one),
	cmocka_unit_test(test_the_priq_has_the_configured_size),
	cmocka_unit_test(test_a_stop_marker_needs_no_answer_and_an_empty_request_does),
	cmocka_unit_test(test_an_idle_queue_wakes_up),
	cmocka_unit_test(test_a_request_wakes_the_sleeper),
	cmocka_unit_test(test_a_mark_is_passed_when_the_records_before_it_were_returned),
};

TEST_SUITE(pmd_requests, tests, NULL, NULL);
