/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The library's contracts, on an IOMMU made of two arrays: what the test puts
 * into the event queue, and the answers that came out, in order.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "array_iommu.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "hist.h"
#include "iopf.h"
#include "table.h"
#include "test.h"

#define SID		7
#define NB_PASIDS	16

/*
 * One IOMMU, device, domain and poller for each test
 */

static struct {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct iopf_worker *worker;

	enum iopf_verdict verdict;
	enum iopf_verdict deferred_verdict;
	enum iopf_verdict (*in_handler)(const struct iopf_group *group);
	_Atomic uint64_t last_id;
	_Atomic unsigned int called;
	_Atomic unsigned int called_deferred;
	_Atomic bool hold;	/* the deferred handler waits while set */
	unsigned int reported;
	struct iopf_fault report;
} t;

static enum iopf_verdict
fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	assert_ptr_equal(domain, t.domain);
	assert_ptr_equal(ctx, &t);
	assert_ptr_equal(iopf_domain_ctx(domain), ctx);
	assert_int_equal(group->nb_faults, 1);
	t.last_id = iopf_group_id(group);
	t.called++;
	return t.in_handler != NULL ? t.in_handler(group) : t.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	t.last_id = iopf_group_id(group);
	t.called_deferred++;
	while (atomic_load(&t.hold))
		usleep(100);
	return t.deferred_verdict;
}

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	assert_ptr_equal(iommu, t.iommu);
	assert_ptr_equal(ctx, &t);
	t.reported++;
	t.report = *fault;
}

static int
setup(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	memset(&t, 0, sizeof(t));
	array_iommu_reset();
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	t.deferred_verdict = IOPF_ANSWER(IOPF_SUCCESS);
	t.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(t.iommu);
	assert_int_equal(0, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .report = on_report, .report_ctx = &t }));
	t.worker = iopf_worker_create(NULL);
	assert_non_null(t.worker);
	t.dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
	assert_non_null(t.dev);
	t.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
			.deferred = deferred, .worker = t.worker, .ctx = &t });
	assert_non_null(t.domain);
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	t.poller = iopf_poller_create(NULL);
	assert_non_null(t.poller);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	t.hold = false;
	assert_int_equal(0, iopf_dev_remove(t.dev));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_domain_destroy(t.domain));
	assert_int_equal(0, iopf_worker_destroy(t.worker));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	assert_int_equal(0, hw.domains);
	assert_int_equal(0, hw.attached);
	return 0;
}

static void
put(struct iopf_event ev)
{
	array_put(IOPF_QUEUE_EVENTS, &ev);
}

static void
put_stall(uint16_t stag, uint64_t addr)
{
	put((struct iopf_event){ .addr = addr, .sid = SID, .pasid = IOPF_NO_PASID, .token = stag,
			.perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
}

/* The driver's queue and the workers come to rest with n answers. */
static void
wait_out(unsigned int n)
{
	for (unsigned int i = 0; i < 20000 && hw.nb_out < n; i++) {
		iopf_poll(t.poller);
		usleep(100);
	}
	assert_int_equal(hw.nb_out, n);
}

static void
quiet(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}

/*
 * Contract 1: every fault is answered exactly once
 */

static void
a_fault_is_answered_once_with_the_handlers_code(void **state)
{
	static const enum iopf_code codes[] = { IOPF_SUCCESS, IOPF_INVALID, IOPF_FAILURE };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		t.verdict = IOPF_ANSWER(codes[i]);
		put_stall(i + 100, 0x1000 * i);
		assert_int_equal(1, iopf_poll(t.poller));
		assert_int_equal(i + 1, hw.nb_out);
		assert_int_equal(codes[i], hw.out[i].answer.code);
		assert_int_equal(i + 100, hw.out[i].answer.token);
		assert_int_equal(SID, hw.out[i].answer.sid);
	}
	assert_int_equal(0, iopf_poll(t.poller));
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(3, iopf_domain_stat(t.domain, IOPF_STAT_FAULTS));
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static void
razwi_where_the_iommu_cannot_is_invalid(void **state)
{
	(void)state;
	t.verdict = IOPF_ANSWER(IOPF_RAZWI);
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
a_verdict_that_is_none_is_invalid(void **state)
{
	(void)state;
	t.verdict = (enum iopf_verdict)12345;
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
unknown_streamid_and_missing_domain_get_invalid(void **state)
{
	(void)state;
	put((struct iopf_event){ .sid = SID + 1, .pasid = IOPF_NO_PASID, .token = 1,
			.flags = IOPF_EVENT_STALL });
	put((struct iopf_event){ .sid = SID, .pasid = 3, .token = 2, .flags = IOPF_EVENT_STALL });
	iopf_poll(t.poller);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(2, hw.out[1].answer.token);
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(0, t.called);
}

static void
a_record_that_is_no_stall_is_reported_never_answered(void **state)
{
	(void)state;
	put((struct iopf_event){ .sid = SID, .pasid = 5, .addr = 0xabc000, .raw_id = 0x04,
			.reason = IOPF_REASON_CONFIG });
	put((struct iopf_event){ .sid = SID, .pasid = 5, .flags = IOPF_EVENT_BAD |
			IOPF_EVENT_STALL });
	iopf_poll(t.poller);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, t.reported);
	assert_int_equal(0xabc000, t.report.addr);
	assert_int_equal(5, t.report.pasid);
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_BAD_RECORD));
}

static void
more_stalls_than_slots_get_invalid_and_are_counted(void **state)
{
	unsigned int slots = 2 * MAX_STALLS;

	(void)state;
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < slots + 5; i++)
		put_stall(i, 0x1000 * i);
	while (iopf_poll(t.poller) != 0)
		;
	assert_int_equal(5, hw.nb_out);
	assert_int_equal(5, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(slots, iopf_domain_pending(t.domain));
}

/*
 * Contract 6: fast, deferred, taken
 */

static void
taken_is_answered_later_and_only_once(void **state)
{
	uint64_t id;

	(void)state;
	t.verdict = IOPF_TAKEN;
	put_stall(9, 0x5000);
	iopf_poll(t.poller);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_pending(t.domain));
	id = t.last_id;
	assert_int_not_equal(0, id);
	assert_int_equal(-EINVAL, iopf_group_respond(id, (enum iopf_code)9));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(ESTALE, rte_errno);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(9, hw.out[0].answer.token);
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_STALE_ANSWERS));
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static void
a_late_answer_never_meets_the_slots_next_fault(void **state)
{
	uint64_t old;

	(void)state;
	t.verdict = IOPF_TAKEN;
	put_stall(1, 0);
	iopf_poll(t.poller);
	old = t.last_id;
	assert_int_equal(0, iopf_group_respond(old, IOPF_SUCCESS));
	/* Every slot is used again, the old one too. */
	for (unsigned int i = 0; i < 2 * MAX_STALLS; i++)
		put_stall(i, 0);
	while (iopf_poll(t.poller) != 0)
		;
	assert_int_equal(-ESTALE, iopf_group_respond(old, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static enum iopf_verdict
answer_inside(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_respond(iopf_group_id(group), IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(iopf_group_id(group), IOPF_INVALID));
	/* The fault stays readable until the callback returns. */
	assert_int_equal(0x7000, group->faults[0]->addr);
	return IOPF_TAKEN;
}

static void
an_answer_may_come_before_the_handler_returns(void **state)
{
	(void)state;
	t.in_handler = answer_inside;
	put_stall(3, 0x7000);
	iopf_poll(t.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static enum iopf_verdict
answer_twice(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_respond(iopf_group_id(group), IOPF_INVALID));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_verdict_after_an_answer_goes_into_nothing(void **state)
{
	(void)state;
	t.in_handler = answer_twice;
	put_stall(3, 0x7000);
	iopf_poll(t.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
deferred_is_answered_by_the_worker(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	for (unsigned int i = 0; i < 20; i++)
		put_stall(i, 0x1000 * i);
	wait_out(20);
	assert_int_equal(20, t.called_deferred);
	assert_int_equal(20, iopf_domain_stat(t.domain, IOPF_STAT_DEFERRED));
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static void
a_deferred_handler_may_take_too(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	t.deferred_verdict = IOPF_TAKEN;
	put_stall(4, 0);
	iopf_poll(t.poller);
	while (iopf_domain_stat(t.domain, IOPF_STAT_TAKEN) == 0)
		usleep(100);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static void
a_deferred_handler_that_defers_gets_invalid(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	t.deferred_verdict = IOPF_DEFER;
	put_stall(4, 0);
	wait_out(1);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static enum iopf_verdict
upgrade(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = group->faults[0]->addr & ~UINT64_C(0xfff), .size = 4096 };

	assert_int_equal(-EINVAL, iopf_group_invalidate(group, &(struct iopf_inv){ .addr = 1 }));
	assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-EDEADLK, iopf_invalidate(t.domain, &inv, 1, NULL));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_upgrade_is_invalidated_before_it_is_answered(void **state)
{
	(void)state;
	t.in_handler = upgrade;
	for (unsigned int i = 0; i < 40; i++)
		put_stall(i, 0x10000 + 0x1000 * i);
	while (iopf_poll(t.poller) != 0)
		;
	assert_int_equal(40, hw.nb_out);
	for (unsigned int i = 0; i < 40; i++)
		assert_true(hw.out[i].nb_inv > 0);
	assert_int_equal(0x10000, hw.out[0].inv_addr);
	assert_int_equal(40, iopf_domain_stat(t.domain, IOPF_STAT_AFTER_INV));
}

static void
an_answer_after_no_invalidation_is_still_an_answer(void **state)
{
	(void)state;
	t.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	put_stall(1, 0);
	iopf_poll(t.poller);
	t.verdict = (enum iopf_verdict)(IOPF_VERDICT_AFTER_INV | 77);
	put_stall(2, 0);
	iopf_poll(t.poller);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
}

static enum iopf_verdict
upgrade_five(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = 0x1000, .size = 4096 };

	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-ENOSPC, iopf_group_invalidate(group, &inv));
	inv.addr = UINT64_C(0) - 4096;
	inv.size = 8192;
	assert_int_equal(-EINVAL, iopf_group_invalidate(group, &inv));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
a_group_has_four_invalidations(void **state)
{
	(void)state;
	t.in_handler = upgrade_five;
	for (unsigned int i = 0; i < 30; i++)
		put_stall(i, 0);
	while (iopf_poll(t.poller) != 0)
		;
	assert_int_equal(30, hw.nb_out);
}

static void
a_deferred_code_that_is_none_is_invalid(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	t.deferred_verdict = IOPF_ANSWER(99);
	put_stall(4, 0);
	wait_out(1);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static enum iopf_verdict
upgrade_then_change_mind(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){ .size = 4096 }));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
an_invalidation_without_its_verdict_is_dropped(void **state)
{
	(void)state;
	t.in_handler = upgrade_then_change_mind;
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, hw.out[0].nb_inv);
}

/*
 * Contract 9: detach, stop, termination
 */

static enum iopf_verdict
detach_inside(const struct iopf_group *group)
{
	const uint32_t sid = 99;

	(void)group;
	assert_int_equal(-EDEADLK, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(-EDEADLK, iopf_domain_attach(t.domain, t.dev, 1));
	assert_int_equal(-EDEADLK, iopf_domain_destroy(t.domain));
	assert_int_equal(-EDEADLK, iopf_dev_remove(t.dev));
	assert_int_equal(-EDEADLK, iopf_iommu_stop(t.iommu));
	assert_int_equal(-EDEADLK, iopf_quiesce());
	assert_int_equal(-EDEADLK, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(-EDEADLK, iopf_iommu_start(t.iommu));
	assert_int_equal(-EDEADLK, iopf_iommu_close(t.iommu));
	assert_int_equal(-EDEADLK, iopf_poller_destroy(t.poller));
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
control_calls_in_a_handler_say_edeadlk(void **state)
{
	(void)state;
	t.in_handler = detach_inside;
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(1, t.called);
	assert_int_equal(1, hw.nb_out);
}

static void
detach_answers_what_is_taken_and_later_answers_are_stale(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 10; i++)
		put_stall(i, 0x1000 * i);
	iopf_poll(t.poller);
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(10, hw.nb_out);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(-ESTALE, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(10, iopf_domain_stat(t.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_pending(t.domain));
	/* What was never attached, and what no longer is. */
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, 3));
}

static void
detach_without_a_running_poller_drains_the_queue_itself(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		put_stall(i % 30, 0x1000 * i);
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(200, hw.nb_out);
	/* What is tried again would abort: no handler is asked. */
	assert_int_equal(0, t.called);
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static void *
poll_a_while(void *arg)
{
	while (!t.hold)
		usleep(100);
	iopf_poller_run(arg);
	return NULL;
}

static pthread_t detacher;
static _Atomic unsigned int by_detacher;

static enum iopf_verdict
note_thread(const struct iopf_group *group)
{
	(void)group;
	by_detacher += pthread_equal(pthread_self(), detacher) != 0;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
detach_leaves_handlers_to_a_poller_that_runs(void **state)
{
	pthread_t thread;
	int busy;

	(void)state;
	t.in_handler = note_thread;
	detacher = pthread_self();
	by_detacher = 0;
	pthread_create(&thread, NULL, poll_a_while, t.poller);
	t.hold = true;
	usleep(2000);
	for (unsigned int i = 0; i < 200; i++) {
		put_stall(i % 30, 0x1000 * i);
		if (i % 20 == 19) {
			assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
			assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
		}
	}
	busy = iopf_poller_destroy(t.poller);
	iopf_poller_stop(t.poller);
	pthread_join(thread, NULL);
	assert_int_equal(-EBUSY, busy);
	/* Each has an answer, be it of the detach that came between. */
	assert_int_equal(200, hw.nb_out);
	/* Some may be, where the machine kept the poller from running for a while. */
	assert_in_range(by_detacher, 0, 199);
}

static void *
release_later(void *arg)
{
	(void)arg;
	usleep(50000);
	t.hold = false;
	return NULL;
}

static void
detach_answers_at_once_but_waits_for_the_handler_on_a_worker(void **state)
{
	pthread_t thread;

	(void)state;
	t.verdict = IOPF_DEFER;
	t.hold = true;
	put_stall(1, 0x1000);
	put_stall(2, 0x2000);
	iopf_poll(t.poller);
	while (t.called_deferred == 0)
		usleep(100);
	pthread_create(&thread, NULL, release_later, NULL);
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	/* The handler was let go before detach returned, and its answer went into nothing. */
	assert_false(t.hold);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, t.called_deferred);
	pthread_join(thread, NULL);
}

static void
a_termination_by_the_iommu_sends_no_answers(void **state)
{
	uint64_t id;

	(void)state;
	t.verdict = IOPF_TAKEN;
	put_stall(1, 0);
	iopf_poll(t.poller);
	id = t.last_id;
	hw.check = IOPF_CHECK_TERMINATED;
	while (iopf_domain_pending(t.domain) != 0)
		iopf_poll(t.poller);
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_stat(t.domain, IOPF_STAT_TERMINATED));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS));
}

static void
stop_ends_everything_outstanding(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_domain_pending(t.domain));
	assert_int_equal(-ESTALE, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stall(1, 0);
	assert_int_equal(1, iopf_poll(t.poller));
	assert_int_equal(1, hw.nb_out);
}

static void
a_deadline_answers_invalid(void **state)
{
	struct iopf_domain *domain;

	(void)state;
	t.verdict = IOPF_TAKEN;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	domain = t.domain;
	t.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast, .ctx = &t,
			.deadline_ms = 20 });
	assert_non_null(t.domain);
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	put_stall(1, 0);
	iopf_poll(t.poller);
	assert_int_equal(0, hw.nb_out);
	wait_out(1);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(t.domain, IOPF_STAT_EXPIRED));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static void
attach_that_fails_in_the_driver_leaves_nothing(void **state)
{
	(void)state;
	hw.fail_attach = -ENOSPC;
	assert_int_equal(-ENOSPC, iopf_domain_attach(t.domain, t.dev, 2));
	hw.fail_attach = 0;
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, 2));
	assert_int_equal(-EEXIST, iopf_domain_attach(t.domain, t.dev, 2));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, 2));
}

/*
 * The control path says no clearly
 */

static void
what_is_refused_says_why_in_one_line(void **state)
{
	const uint32_t sid = SID;
	struct iopf_poller *other;
	unsigned int nb = 0;
	char *text, *line;

	(void)state;
	SAYS("has no queue 2: 0 to 0",
		assert_int_equal(-EINVAL, iopf_poller_add(t.poller, t.iommu, 2)));
	SAYS("has no queue 1",
		assert_int_equal(-EINVAL, iopf_poller_remove(t.poller, t.iommu, 1)));
	SAYS("is in a poller already",
		assert_int_equal(-EEXIST, iopf_poller_add(t.poller, t.iommu, 0)));
	other = iopf_poller_create(NULL);
	SAYS("is not in this poller",
		assert_int_equal(-EINVAL, iopf_poller_remove(other, t.iommu, 0)));
	assert_int_equal(0, iopf_poller_destroy(other));
	SAYS("1 domains use it",
		assert_int_equal(-EBUSY, iopf_worker_destroy(t.worker)));
	SAYS("another device's: remove sid:",
		assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid,
				.nb_sids = 1 })));

	/* One line for each driver there is, and each whole. */
	log_lines_begin();
	assert_null(iopf_iommu_open("nodriver,x=1"));
	text = log_lines_end();
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_non_null(strstr(line, "\"nodriver,x=1\": no such driver; there is \""));
		assert_int_equal('"', line[strlen(line) - 1]);
		if (strstr(line, "there is \"smmuv3,") != NULL)
			assert_non_null(strstr(line, "[,model_seed=N]\""));
		nb++;
	}
	assert_true(nb > 1);
	free(text);
}

static void
what_does_not_fit_is_refused(void **state)
{
	const uint32_t big = 256, sid = SID, other = 8;

	(void)state;
	quiet(true);
	assert_null(iopf_iommu_open("nodriver,x=1"));
	assert_int_equal(ENODEV, rte_errno);
	assert_null(iopf_iommu_open("arrays,nokey=1"));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_iommu_open("arrays,n=2,n=3"));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_worker_create(&(struct iopf_worker_conf){ .size = UINT32_MAX }));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_domain_create(NULL));
	assert_null(iopf_iommu_open("arrays,,=,=="));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_iommu_open(NULL));
	assert_null(iopf_iommu_open("arrays,n=1"));
	assert_int_equal(EBUSY, rte_errno);
	assert_int_equal(-EBUSY, iopf_iommu_close(t.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain));
	assert_int_equal(-EBUSY, iopf_worker_destroy(t.worker));
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &big, .nb_sids = 1 }));
	assert_int_equal(ERANGE, rte_errno);
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	assert_int_equal(EEXIST, rte_errno);
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &other, .nb_sids = 1,
			.nb_pasids = 17 }));
	assert_int_equal(ERANGE, rte_errno);
	assert_int_equal(-ERANGE, iopf_domain_attach(t.domain, t.dev, NB_PASIDS));
	assert_null(iopf_domain_create(&(struct iopf_domain_conf){ .deferred = deferred }));
	assert_int_equal(EINVAL, rte_errno);
	assert_int_equal(-EEXIST, iopf_poller_add(t.poller, t.iommu, 0));
	assert_int_equal(-EINVAL, iopf_poller_add(t.poller, t.iommu, 5));
	quiet(false);
}

static void
invalidate_tells_the_prefix_that_is_done(void **state)
{
	struct iopf_inv inv[4] = {
		{ .addr = 0x1000, .size = 4096 }, { .addr = 0x2000, .size = 4096 },
		{ .addr = 0x3000, .size = 4096 }, { .addr = 0x4000, .size = 4096 },
	};
	unsigned int done;

	(void)state;
	assert_int_equal(0, iopf_invalidate(t.domain, inv, 4, &done));
	assert_int_equal(4, done);
	hw.invalidate_fails_at = 2;
	assert_int_equal(-EIO, iopf_invalidate(t.domain, inv, 4, &done));
	assert_int_equal(2, done);
	hw.invalidate_fails_at = UINT32_MAX;
	quiet(true);
	inv[3].size = 5;
	assert_int_equal(-EINVAL, iopf_invalidate(t.domain, inv, 4, &done));
	assert_int_equal(0, done);
	quiet(false);
}

static void
invalidate_reaches_an_iommu_that_starts_or_stops(void **state)
{
	struct iopf_inv inv = { .all = true };
	unsigned int before = hw.invalidated;

	(void)state;
	/* Only the driver knows whether it still, or already, translates. */
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_invalidate(t.domain, &inv, 1, NULL));
	assert_int_equal(before + 1, hw.invalidated);
	assert_int_equal(0, iopf_iommu_start(t.iommu));
}

static void
a_device_of_many_streamids_is_one_device(void **state)
{
	const uint32_t sids[] = { 20, 21, 22 };
	struct iopf_dev *dev;

	(void)state;
	dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = 3 });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, IOPF_NO_PASID));
	for (unsigned int i = 0; i < 3; i++)
		put((struct iopf_event){ .sid = sids[i], .pasid = IOPF_NO_PASID, .token = i,
				.flags = IOPF_EVENT_STALL });
	iopf_poll(t.poller);
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(3, t.called);
	assert_int_equal(0, iopf_dev_remove(dev));
}

/*
 * A device that cannot stall
 */

static struct iopf_retry retried[64];
static _Atomic unsigned int nb_retried;

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	assert_ptr_equal(iopf_dev_ctx(dev), ctx);
	assert_int_equal(-EDEADLK, iopf_dev_remove(dev));
	retried[nb_retried % 64] = *retry;
	nb_retried++;
}

static void
a_device_that_cannot_stall_is_told_to_try_again(void **state)
{
	const uint32_t sid = 30;
	struct iopf_event ev = { .addr = 0x9000, .sid = sid, .pasid = IOPF_NO_PASID,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_TRANSLATION, .raw_id = 0x10 };
	struct iopf_dev *dev;

	(void)state;
	nb_retried = 0;
	quiet(true);
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.ops = { .retry = on_retry } }));
	assert_int_equal(EINVAL, rte_errno);
	quiet(false);
	dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry }, .ctx = &t });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, IOPF_NO_PASID));

	put(ev);
	iopf_poll(t.poller);
	assert_int_equal(1, t.called);
	assert_int_equal(1, nb_retried);
	assert_int_equal(0x9000, retried[0].addr);
	assert_int_equal(IOPF_PERM_WRITE, retried[0].perm);
	assert_int_equal(IOPF_SUCCESS, retried[0].code);
	assert_int_equal(0, hw.nb_out);

	/* Behind an invalidation, from a worker, from an owner, and by detach. */
	t.in_handler = upgrade;
	put(ev);
	iopf_poll(t.poller);
	assert_int_equal(2, nb_retried);
	t.in_handler = NULL;
	t.verdict = IOPF_DEFER;
	put(ev);
	iopf_poll(t.poller);
	while (nb_retried < 3)
		usleep(100);
	t.verdict = IOPF_TAKEN;
	put(ev);
	put(ev);
	iopf_poll(t.poller);
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_INVALID));
	assert_int_equal(4, nb_retried);
	assert_int_equal(IOPF_INVALID, retried[3].code);
	assert_int_equal(0, iopf_domain_detach(t.domain, dev, IOPF_NO_PASID));
	assert_int_equal(5, nb_retried);

	/* What no handler can mend, and what is not attached, is reported. */
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, IOPF_NO_PASID));
	ev.reason = IOPF_REASON_CONFIG;
	put(ev);
	ev.reason = IOPF_REASON_TRANSLATION;
	ev.pasid = 1;
	put(ev);
	iopf_poll(t.poller);
	assert_int_equal(5, nb_retried);
	assert_int_equal(2, t.reported);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
dump_and_counters_name_everything(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct iopf_latency latency;

	(void)state;
	put_stall(1, 0);
	iopf_poll(t.poller);
	iopf_iommu_dump(t.iommu, f);
	fclose(f);
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		assert_non_null(strstr(text, iopf_stat_name(i)));
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		assert_non_null(strstr(text, iopf_iommu_stat_name(i)));
	assert_non_null(strstr(text, "test_counter 42"));
	free(text);
	iopf_domain_latency(t.domain, &latency);
	assert_int_equal(1, latency.samples);
	assert_true(latency.p50_ns > 0 && latency.p50_ns <= latency.max_ns);
	assert_string_equal("unknown", iopf_stat_name(IOPF_NB_STATS));
	assert_string_equal("unknown", iopf_code_name(IOPF_NB_CODES));
	assert_string_equal("unknown", iopf_reason_name(IOPF_NB_REASONS));
	assert_string_equal("unknown", iopf_iommu_stat_name(IOPF_NB_IOMMU_STATS));
}

/*
 * Races: many faults, answered by everybody at once
 */

static _Atomic uint64_t race_ids[64];
static _Atomic bool race_stop;

static enum iopf_verdict
race_handler(const struct iopf_group *group)
{
	static unsigned int n;

	switch (n++ % 3) {
	case 0:
		return IOPF_ANSWER(IOPF_SUCCESS);
	case 1:
		return IOPF_DEFER;
	default:
		race_ids[n % 64] = iopf_group_id(group);
		return IOPF_TAKEN;
	}
}

static void *
race_responder(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!race_stop)
		iopf_group_respond(race_ids[rand_r(&seed) % 64], IOPF_SUCCESS);
	return NULL;
}

static void *
race_poller(void *arg)
{
	(void)arg;
	iopf_poller_run(t.poller);
	return NULL;
}

static void
everybody_answers_and_each_fault_has_one_answer(void **state)
{
	unsigned int nb_faults = 20000 * test_scale(), outstanding_max = MAX_STALLS;
	pthread_t responders[2], poller;
	uint8_t used[MAX_STALLS] = { 0 };
	unsigned int seen = 0;

	(void)state;
	race_stop = false;
	t.in_handler = race_handler;
	pthread_create(&poller, NULL, race_poller, NULL);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&responders[i], NULL, race_responder, (void *)(i + 1));
	for (unsigned int i = 0; i < nb_faults;) {
		unsigned int out;

		/* Take the answers: each must be for a token that is outstanding. */
		pthread_mutex_lock(&hw.lock);
		for (out = hw.nb_out; seen < out; seen++) {
			const struct iopf_answer *a = &hw.out[seen % QUEUE].answer;

			assert_int_equal(1, used[a->token]);
			used[a->token] = 0;
		}
		pthread_mutex_unlock(&hw.lock);
		if (i - seen == outstanding_max) {
			/* Detach answers what nobody took up; then go on. */
			if (i % 7 == 0) {
				assert_int_equal(0, iopf_domain_detach(t.domain, t.dev,
						IOPF_NO_PASID));
				assert_int_equal(0, iopf_domain_attach(t.domain, t.dev,
						IOPF_NO_PASID));
			}
			for (unsigned int k = 0; k < 64; k++)
				iopf_group_respond(race_ids[k], IOPF_SUCCESS);
			continue;
		}
		for (unsigned int k = 0; k < MAX_STALLS; k++) {
			if (!used[k]) {
				used[k] = 1;
				put_stall(k, 0x1000 * i++);
				break;
			}
		}
	}
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	race_stop = true;
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(responders[i], NULL);
	iopf_poller_stop(t.poller);
	pthread_join(poller, NULL);
	assert_int_equal(nb_faults, hw.nb_out);
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

/*
 * Small parts
 */

static void
histogram_values_are_at_most_a_32nd_too_large(void **state)
{
	static struct iopf_hist hist;

	(void)state;
	for (uint64_t v = 1; v < UINT64_C(1) << 39; v = v * 5 / 4 + 1) {
		uint64_t got = iopf_hist_value(iopf_hist_step(v));

		assert_true(got >= v && (got - v) * 32 <= v + 32);
	}
	assert_int_equal(IOPF_HIST_STEPS - 1, iopf_hist_step(UINT64_MAX));
	memset(&hist, 0, sizeof(hist));
	assert_int_equal(0, iopf_hist_permille(&hist, 0, 500));
	for (unsigned int i = 1; i <= 1000; i++)
		iopf_hist_add(&hist, i < 32 ? i : 31, 1);
	iopf_hist_add(&hist, 5000, 1);
	assert_int_equal(1001, iopf_hist_samples(&hist));
	assert_int_equal(1, iopf_hist_permille(&hist, 1001, 0));
	assert_int_equal(31, iopf_hist_permille(&hist, 1001, 500));
	assert_true(iopf_hist_permille(&hist, 1001, 1000) >= 5000);
}

static void
table_finds_what_is_in_it_at_any_size(void **state)
{
	struct iopf_table_trash trash = { NULL, NULL };
	struct iopf_table table;
	static int values[5000];

	(void)state;
	assert_int_equal(0, iopf_table_init(&table));
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(0, iopf_table_add(&table, i << 32 | 7, &values[i],
				&trash));
	assert_int_equal(-EEXIST, iopf_table_add(&table, UINT64_C(5) << 32 | 7, values,
			&trash));
	for (uint64_t i = 0; i < 5000; i += 500)
		iopf_table_del(&table, i << 32 | 7, &trash);
	for (uint64_t i = 0; i < 5000; i++)
		assert_ptr_equal(i % 500 == 0 ? NULL : &values[i],
				iopf_table_find(&table, i << 32 | 7));
	assert_null(iopf_table_find(&table, 8));
	iopf_table_empty(&trash);
	iopf_table_fini(&table);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(a_fault_is_answered_once_with_the_handlers_code),
	T(razwi_where_the_iommu_cannot_is_invalid),
	T(a_verdict_that_is_none_is_invalid),
	T(unknown_streamid_and_missing_domain_get_invalid),
	T(a_record_that_is_no_stall_is_reported_never_answered),
	T(more_stalls_than_slots_get_invalid_and_are_counted),
	T(taken_is_answered_later_and_only_once),
	T(a_late_answer_never_meets_the_slots_next_fault),
	T(an_answer_may_come_before_the_handler_returns),
	T(a_verdict_after_an_answer_goes_into_nothing),
	T(deferred_is_answered_by_the_worker),
	T(a_deferred_handler_may_take_too),
	T(a_deferred_handler_that_defers_gets_invalid),
	T(an_upgrade_is_invalidated_before_it_is_answered),
	T(an_invalidation_without_its_verdict_is_dropped),
	T(an_answer_after_no_invalidation_is_still_an_answer),
	T(a_group_has_four_invalidations),
	T(a_deferred_code_that_is_none_is_invalid),
	T(detach_leaves_handlers_to_a_poller_that_runs),
	T(control_calls_in_a_handler_say_edeadlk),
	T(detach_answers_what_is_taken_and_later_answers_are_stale),
	T(detach_without_a_running_poller_drains_the_queue_itself),
	T(detach_answers_at_once_but_waits_for_the_handler_on_a_worker),
	T(a_termination_by_the_iommu_sends_no_answers),
	T(stop_ends_everything_outstanding),
	T(a_deadline_answers_invalid),
	T(attach_that_fails_in_the_driver_leaves_nothing),
	T(what_is_refused_says_why_in_one_line),
	T(what_does_not_fit_is_refused),
	T(invalidate_tells_the_prefix_that_is_done),
	T(invalidate_reaches_an_iommu_that_starts_or_stops),
	T(a_device_of_many_streamids_is_one_device),
	T(a_device_that_cannot_stall_is_told_to_try_again),
	T(dump_and_counters_name_everything),
	T(everybody_answers_and_each_fault_has_one_answer),
	cmocka_unit_test(histogram_values_are_at_most_a_32nd_too_large),
	cmocka_unit_test(table_finds_what_is_in_it_at_any_size),
};
TEST_SUITE(iopf, tests, NULL, NULL);
