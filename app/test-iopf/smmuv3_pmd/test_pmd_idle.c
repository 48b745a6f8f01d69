/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Sleeping until an interrupt: no event is missed at any step. */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ecmdq.h"
#include "log_lines.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static bool
has_rung(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static unsigned int
count_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* The kinds of SMMU: with MSIs or without, with edge- or level-triggered wires. */
#define NB_KINDS	4
#define KIND_MSI	(1u << 0)
#define KIND_LEVEL	(1u << 1)

static struct smmuv3_model_conf
make_conf(unsigned int kind)
{
	return (struct smmuv3_model_conf){ .ack_delay = 2,
		.no_features = kind & KIND_MSI ? 0 : SMMUV3_MODEL_NO_MSI,
		.harsh = kind & KIND_LEVEL ? SMMUV3_MODEL_HARSH_LEVEL_IRQ : 0 };
}

static void
open_kind(struct pmd *p, unsigned int kind)
{
	const struct smmuv3_model_conf conf = make_conf(kind);

	pmd_open(p, &conf);
	pmd_start(p, IOPF_STALL);
}

static void
test_an_event_wakes_the_sleeper(void **state)
{
	static uint8_t buf[4];
	struct iopf_event event;
	unsigned int kind, i;
	struct pmd p;
	int fd;

	(void)state;
	for (kind = 0; kind < NB_KINDS; kind++) {
		unsigned int files = count_open_files();

		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		open_kind(&p, kind);
		for (i = 0; i < 3; i++) {
			/* While the thread polls, no event raises an interrupt. */
			pmd_serve_fault(&p, PMD_VA + (2 * i << 12));
			assert_false(has_rung(fd));
			assert_int_equal(p.ops->idle(p.s, fd), 0);
			pmd_step(&p);
			assert_false(has_rung(fd));
			pmd_write(&p, PMD_VA + ((i + 1) << 24), buf, sizeof(buf));
			pmd_step(&p);
			assert_true(has_rung(fd));
			assert_int_equal(p.ops->idle(p.s, -1), 0);
			/* The next poll finds the event, without another edge. */
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
			pmd_answer(&p, &event, IOPF_INVALID);
			pmd_wait_done(&p);
		}
		assert_int_equal(pmd_read_stat(&p, "missed_msis"), 0);
		pmd_finish(&p, IOPF_NO_PASID);
		close(fd);
		/* The driver's own copy of the descriptor is closed too. */
		assert_int_equal(count_open_files(), files);
	}
}

static void
test_a_pending_event_forbids_sleep(void **state)
{
	static uint8_t buf[4];
	struct iopf_event event;
	unsigned int kind;
	struct pmd p;
	int fd;

	(void)state;
	for (kind = 0; kind < NB_KINDS; kind++) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		open_kind(&p, kind);
		/* The event is in the queue and not read. */
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		assert_int_equal(p.ops->idle(p.s, fd), 1);
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
		pmd_answer(&p, &event, IOPF_INVALID);
		pmd_wait_done(&p);
		assert_int_equal(p.ops->idle(p.s, fd), 0);
		/* The events are read in wired mode: the next event raises an interrupt again. */
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		assert_true(has_rung(fd));
		pmd_wait_event(&p, &event);
		pmd_answer(&p, &event, IOPF_INVALID);
		pmd_wait_done(&p);
		/* A level interrupt that was raised is masked until idle() is called again. */
		if (kind & KIND_LEVEL)
			assert_int_equal(p.ops->idle(p.s, fd), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		assert_true(has_rung(fd));
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		pmd_wait_event(&p, &event);
		pmd_answer(&p, &event, IOPF_INVALID);
		pmd_wait_done(&p);
		pmd_finish(&p, IOPF_NO_PASID);
		close(fd);
	}
}

static void
test_other_values_than_a_descriptor_or_minus_one_are_refused(void **state)
{
	static const int bad[] = { -2, INT_MIN };
	struct pmd p;
	int fd;

	(void)state;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	open_kind(&p, KIND_MSI);
	assert_int_equal(p.ops->idle(p.s, fd), 0);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++)
		SAYS("an eventfd, or -1",
			assert_int_equal(p.ops->idle(p.s, bad[i]), -EINVAL));
	/* The thread still sleeps. */
	assert_true(atomic_load(&p.s->sleep.asleep));
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
	close(fd);
}

/* Events between the steps of the mode change: the model steps in each wait for an ACK. */
static void
test_an_event_during_the_change_is_seen(void **state)
{
	static uint8_t buf[4];
	struct iopf_event event;
	unsigned int kind, busy;
	struct pmd p;
	int fd, ret;

	(void)state;
	for (kind = 0; kind < NB_KINDS; kind++) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		open_kind(&p, kind);
		/* Submitted; the model has not processed it yet. */
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		ret = p.ops->idle(p.s, fd);
		pmd_step(&p);
		assert_true(ret == 1 || has_rung(fd));
		for (busy = 0; busy < 2; busy++) {
			/* The same on the way back to polling. */
			if (busy == 1)
				pmd_write(&p, PMD_VA, buf, sizeof(buf));
			assert_int_equal(p.ops->idle(p.s, -1), 0);
			pmd_wait_event(&p, &event);
			pmd_answer(&p, &event, IOPF_INVALID);
			pmd_wait_done(&p);
			assert_int_equal(p.ops->idle(p.s, fd), 0);
		}
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		pmd_finish(&p, IOPF_NO_PASID);
		close(fd);
	}
}

static void
test_an_error_wakes_the_sleeper(void **state)
{
	const struct smmuv3_cmd illegal = { .dw = { 0xff, 0 } };
	unsigned int kind;
	struct pmd p;
	int fd;

	(void)state;
	for (kind = 0; kind < NB_KINDS; kind++) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		open_kind(&p, kind);
		p.untidy = true;
		assert_int_equal(p.ops->idle(p.s, fd), 0);
		for (unsigned int i = 1; i <= 2; i++) {
			smmuv3_cmdq_post(&p.s->cmdq, &illegal, 1);
			pmd_step(&p);
			assert_true(has_rung(fd));
			/* The error is still active: no sleep. */
			assert_int_equal(p.ops->idle(p.s, fd), 1);
			assert_int_equal(p.ops->idle(p.s, -1), 0);
			assert_int_equal(p.ops->check(p.s), 0);
			pmd_step(&p);
			assert_int_equal(pmd_read_stat(&p, "cerror_ill"), i);
			/* A level interrupt that is unmasked while high is raised once more. */
			has_rung(fd);
			assert_int_equal(p.ops->idle(p.s, fd), 0);
			pmd_step(&p);
			assert_false(has_rung(fd));
		}
		/* Stop in wired mode. */
		pmd_finish(&p, IOPF_NO_PASID);
		close(fd);
	}
}

static void
fill_cmdq(struct pmd *p)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nh_asid(0, 1);
	struct smmuv3_cmdq *q = smmuv3_thread_cmdq(p->s);

	for (unsigned int i = 0; i < 1u << q->log2; i++)
		smmuv3_cmdq_post(q, &tlbi, 1);
}

/* No interrupt reports room in the CMDQ, so no thread would move the answer from the backlog. */
static void
test_no_thread_sleeps_while_an_answer_waits(void **state)
{
	static uint8_t buf[4];
	struct smmuv3_model_conf conf;
	struct iopf_event event;
	struct pmd p;
	int fd;

	(void)state;
	for (unsigned int kind = 0; kind < NB_KINDS; kind++) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		conf = make_conf(kind);
		conf.ack_delay = 0;
		conf.cmdq_log2 = 2;
		pmd_open(&p, &conf);
		pmd_start(&p, IOPF_STALL);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_wait_event(&p, &event);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		fill_cmdq(&p);
		pmd_answer(&p, &event, IOPF_INVALID);
		assert_true(smmuv3_backlog_has_cmd(&smmuv3_thread_cmdq(p.s)->backlog));
		assert_int_equal(p.ops->idle(p.s, fd), 1);
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		pmd_step(&p);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_int_equal(p.ops->idle(p.s, fd), 0);
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		pmd_finish(&p, IOPF_NO_PASID);
		close(fd);
	}
}

/* The other order: the answer comes while the poll thread sleeps. */
static void
test_an_answer_that_does_not_fit_wakes_the_sleeper(void **state)
{
	static uint8_t buf[4];
	struct iopf_event event;
	struct pmd p;
	int fd;

	(void)state;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	for (unsigned int owned = 0; owned < 2; owned++) {
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_wait_event(&p, &event);
		assert_int_equal(p.ops->idle(p.s, fd), 0);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		fill_cmdq(&p);
		assert_false(has_rung(fd));
		/* Another thread owns the queue and leaves it full. */
		if (owned)
			assert_true(smmuv3_cmdq_try_own(smmuv3_thread_cmdq(p.s)));
		pmd_answer(&p, &event, IOPF_INVALID);
		if (owned)
			smmuv3_cmdq_disown(smmuv3_thread_cmdq(p.s));
		assert_true(has_rung(fd));
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		pmd_step(&p);
		assert_int_equal(p.ops->idle(p.s, -1), 0);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	}
	/* A thread that polls gets no wake-up. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	fill_cmdq(&p);
	fill_cmdq(&p);
	assert_false(has_rung(fd));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	pmd_step(&p);
	pmd_finish(&p, IOPF_NO_PASID);
	close(fd);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_event_wakes_the_sleeper),
	cmocka_unit_test(test_a_pending_event_forbids_sleep),
	cmocka_unit_test(test_other_values_than_a_descriptor_or_minus_one_are_refused),
	cmocka_unit_test(test_an_event_during_the_change_is_seen),
	cmocka_unit_test(test_an_error_wakes_the_sleeper),
	cmocka_unit_test(test_no_thread_sleeps_while_an_answer_waits),
	cmocka_unit_test(test_an_answer_that_does_not_fit_wakes_the_sleeper),
};

TEST_SUITE(pmd_idle, tests, NULL, NULL);
