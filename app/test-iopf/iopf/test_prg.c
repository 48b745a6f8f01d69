/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 8, groups of page requests, and the library's half of 9: on an IOMMU made of
 * arrays, with devices whose operations only write down that they were called.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_log.h>

#include "array_iommu.h"
#include "iopf.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "test.h"

#define SID	7
#define SID2	9
#define NB_PASIDS 16
#define SLOTS	64	/* the least there are */
#define BURST	64	/* the most there may be */

static struct {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_dev *dev2;
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct iopf_worker *worker;

	enum iopf_verdict verdict;
	enum iopf_verdict (*in_handler)(const struct iopf_group *group);
	uint64_t last_id;
	unsigned int called;
	_Atomic unsigned int deferred_faults;
	_Atomic unsigned int called_deferred;
	_Atomic bool hold;	/* the deferred handler waits while set */
	_Atomic bool holding;
	unsigned int nb_faults;
	uint64_t addrs[IOPF_MAX_GROUP_FAULTS];
	uint32_t pasid;
	struct iopf_dev *of;
	unsigned int reported;
	struct iopf_fault report;

	/* A attach, a detach at the IOMMU; T t ATS on and off, P p PRI, d asked if drained */
	char log[64];
	uint32_t credits;
	bool not_drained;
	bool until_recovery;	/* not drained before one */
	int fail;		/* what the operation fail_op returns */
	char fail_op;
} t;

static int
note(char what)
{
	size_t len = strlen(t.log);

	if (len + 1 < sizeof(t.log) && (what != 'd' || len == 0 || t.log[len - 1] != 'd'))
		t.log[len] = what;
	return what == t.fail_op ? t.fail : 0;
}

static void
on_attach(bool attached)
{
	note(attached ? 'A' : 'a');
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	assert_ptr_equal(ctx, &t);
	assert_int_equal(12, stu);
	return note('T');
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return note('t');
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)ctx;
	t.credits = n;
	return note('P');
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return note('p');
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	note('d');
	return !t.not_drained && iopf_domain_pending(t.domain) == 0 &&
		(!t.until_recovery || iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS) != 0);
}

static bool
pasid_drained(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	(void)dev;
	(void)pasid;
	(void)ctx;
	if (strchr(t.log, 'D') == NULL)
		note('D');
	return !t.not_drained;
}

static const struct iopf_pci_ops ops = {
	.ats_enable = ats_enable, .ats_disable = ats_disable,
	.pri_enable = pri_enable, .pri_disable = pri_disable, .pri_drained = pri_drained,
};

static enum iopf_verdict
fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	t.called++;
	t.last_id = iopf_group_id(group);
	t.nb_faults = group->nb_faults;
	t.pasid = group->pasid;
	t.of = group->dev;
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		assert_true(group->faults[i]->flags & IOPF_FAULT_PAGE_REQUEST);
		assert_int_equal(group->pasid, group->faults[i]->pasid);
		t.addrs[i] = group->faults[i]->addr;
	}
	return t.in_handler != NULL ? t.in_handler(group) : t.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	t.holding = true;
	while (atomic_load(&t.hold))
		usleep(10);
	for (unsigned int i = 0; i < group->nb_faults; i++)
		assert_int_equal(0x1000 * (i + 1), group->faults[i]->addr);
	t.deferred_faults = group->nb_faults;
	t.called_deferred++;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	(void)iommu;
	(void)ctx;
	t.reported++;
	t.report = *fault;
}

static void
quiet(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}

static struct iopf_dev *
add_dev(uint32_t sid, struct iopf_dev_conf conf)
{
	conf.sids = &sid;
	conf.nb_sids = 1;
	conf.nb_pasids = NB_PASIDS;
	conf.recover = IOPF_PRI;
	conf.wait_ms = 1000;
	conf.pci = &ops;
	conf.ctx = &t;
	return iopf_dev_add(t.iommu, &conf);
}

static int
begin(bool pps)
{
	memset(&t, 0, sizeof(t));
	array_iommu_reset();
	hw.requests = true;
	hw.pri_pasid = pps;
	hw.on_attach = on_attach;
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	t.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(t.iommu);
	assert_int_equal(0, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .report = on_report, .partial_ms = 60000 }));
	t.worker = iopf_worker_create(NULL);
	t.dev = add_dev(SID, (struct iopf_dev_conf){ .pri_requests = 8 });
	t.dev2 = add_dev(SID2, (struct iopf_dev_conf){ .pri_requests = 2, .prg_pasid = true });
	assert_non_null(t.dev);
	assert_non_null(t.dev2);
	t.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
			.deferred = deferred, .worker = t.worker });
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, 1));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, 2));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 1));
	t.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	memset(t.log, 0, sizeof(t.log));
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return begin(false);
}

static int
setup_pps(void **state)
{
	(void)state;
	return begin(true);
}

static int
teardown(void **state)
{
	(void)state;
	t.not_drained = false;
	t.fail = 0;
	assert_int_equal(0, iopf_dev_remove(t.dev));
	assert_int_equal(0, iopf_dev_remove(t.dev2));
	assert_int_equal(0, iopf_iommu_requests_granted(t.iommu));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_domain_destroy(t.domain));
	assert_int_equal(0, iopf_worker_destroy(t.worker));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	quiet(false);
	return 0;
}

#define LAST IOPF_EVENT_LAST

static void
put(uint32_t sid, uint32_t pasid, uint16_t index, uint64_t addr, uint8_t flags)
{
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = addr, .sid = sid,
			.pasid = pasid, .token = index, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | flags });
}

static void
put_mark(uint32_t sid, uint32_t pasid, uint8_t flag)
{
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .sid = sid, .pasid = pasid,
			.flags = flag });
}

static void
poll_all(void)
{
	while (iopf_poll(t.poller) != 0)
		;
}

static uint64_t
stat(enum iopf_iommu_stat which)
{
	return iopf_iommu_stat(t.iommu, which);
}

static void
group(uint32_t sid, uint32_t pasid, uint16_t index, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		put(sid, pasid, index, 0x1000 * (i + 1), i == n - 1 ? LAST : 0);
}

static void
a_group_is_answered_once_after_last(void **state)
{
	(void)state;
	group(SID, 1, 5, 3);
	assert_int_equal(3, iopf_poll(t.poller));
	assert_int_equal(1, t.called);
	assert_int_equal(3, t.nb_faults);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(0x1000 * (i + 1), t.addrs[i]);
	assert_int_equal(1, hw.nb_out);
	assert_true(hw.out[0].answer.page_request);
	assert_int_equal(5, hw.out[0].answer.token);
	assert_int_equal(SID, hw.out[0].answer.sid);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(t.domain, IOPF_STAT_FAULTS));
	assert_int_equal(3, iopf_domain_stat(t.domain, IOPF_STAT_REQUESTS));
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_GROUPS));
	assert_int_equal(0, iopf_domain_pending(t.domain));
}

static void
a_group_may_come_in_many_bursts(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		put(SID, 1, 5, 0x1000 * i, i == 9 ? LAST : 0);
		assert_int_equal(0, hw.nb_out);
		poll_all();
	}
	assert_int_equal(10, t.nb_faults);
	assert_int_equal(1, hw.nb_out);
}

static void
groups_of_devices_pasids_and_indices_interleave(void **state)
{
	(void)state;
	put(SID, 1, 5, 0x1000, 0);
	put(SID2, 1, 5, 0x2000, 0);
	put(SID, 2, 5, 0x3000, 0);
	put(SID, 1, 6, 0x4000, 0);
	put(SID, IOPF_NO_PASID, 5, 0x5000, 0);
	poll_all();
	assert_int_equal(0, t.called);

	put(SID, 1, 6, 0x4001, LAST);
	poll_all();
	assert_int_equal(2, t.nb_faults);
	assert_int_equal(0x4000, t.addrs[0]);
	put(SID, 2, 5, 0x3001, LAST);
	poll_all();
	assert_int_equal(0x3000, t.addrs[0]);
	assert_int_equal(2, t.pasid);
	put(SID, IOPF_NO_PASID, 5, 0x5001, LAST);
	poll_all();
	assert_int_equal(0x5000, t.addrs[0]);
	assert_int_equal(IOPF_NO_PASID, t.pasid);
	put(SID2, 1, 5, 0x2001, LAST);
	poll_all();
	assert_int_equal(0x2000, t.addrs[0]);
	assert_ptr_equal(t.dev2, t.of);
	put(SID, 1, 5, 0x1001, LAST);
	poll_all();
	assert_int_equal(0x1000, t.addrs[0]);
	assert_int_equal(5, hw.nb_out);
	assert_int_equal(5, t.called);
}

/* PRG Response PASID Required, or IDR3.PPS; never where the request had none. */
static void
the_answer_has_the_pasid_that_the_device_wants(void **state)
{
	(void)state;
	group(SID, 1, 5, 1);
	group(SID2, 1, 5, 1);
	group(SID, IOPF_NO_PASID, 6, 1);
	group(SID2 + 1, 3, 7, 1);
	poll_all();
	assert_int_equal(IOPF_NO_PASID, hw.out[0].answer.pasid);
	assert_int_equal(1, hw.out[1].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[2].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[3].answer.pasid);
}

static void
with_pps_the_answer_has_the_pasid_of_its_request(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 5, 1);
	group(SID2 + 1, 3, 7, 1);
	group(SID2 + 1, IOPF_NO_PASID, 8, 1);
	poll_all();
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(3, hw.out[0].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[1].answer.pasid);
	assert_int_equal(1, hw.out[2].answer.pasid);
}

static void
what_was_lost_discards_partial_groups_and_no_others(void **state)
{
	uint64_t pending;

	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 2);
	poll_all();
	pending = t.last_id;
	put(SID2, 1, 2, 0x1000, 0);
	put(SID, 1, 2, 0x1000, 0);
	put(SID, 1, 2, 0x2000, 0);
	put_mark(0, 0, IOPF_EVENT_LOST);
	/* The indices may be used again at once, in the same burst and by the same device. */
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	group(SID, 1, 2, 1);
	group(SID2, 1, 2, 4);
	poll_all();
	assert_int_equal(3, t.called);
	assert_int_equal(4, t.nb_faults);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(3, stat(IOPF_IOMMU_STAT_DISCARDED));
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_OVERFLOWS));
	/* A marker is no record. */
	assert_int_equal(10, stat(IOPF_IOMMU_STAT_RECORDS));
	assert_int_equal(0, iopf_group_respond(pending, IOPF_SUCCESS));
	assert_int_equal(1, hw.out[2].answer.token);
}

static void
invalidate_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_inv inv = { .addr = group->faults[0]->addr, .size = 0x1000 };

	(void)domain;
	assert_int_equal(0, iopf_group_id(group));
	assert_int_equal(0, iopf_group_invalidate(group, &inv));
	++*(unsigned int *)ctx;
}

/* Partial groups of two domains by turns, oldest first. */
static void
put_turns(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		put(SID, 3 + i % 2, (uint16_t)i, 0x1000 * (i + 1), 0);
	poll_all();
	hw.posts = hw.posted_invs = 0;
}

static void
what_is_done_for_lost_requests_is_invalidated_a_domain_at_a_time(void **state)
{
	unsigned int lost[2] = { 0 };
	struct iopf_domain *domain[2];
	struct iopf_poller *poller;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		domain[i] = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
				.lost = invalidate_lost, .ctx = &lost[i] });
		assert_int_equal(0, iopf_domain_attach(domain[i], t.dev, 3 + i));
	}
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_ALL));
	poller = t.poller;
	t.poller = iopf_poller_create(&(struct iopf_poller_conf){ .burst = BURST });
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));

	put_turns(SLOTS);
	put_mark(0, 0, IOPF_EVENT_LOST);
	poll_all();
	assert_int_equal(SLOTS, hw.posts);
	assert_int_equal(SLOTS, hw.posted_invs);
	assert_int_equal(SLOTS / 2, lost[0]);
	assert_int_equal(SLOTS / 2, lost[1]);
	assert_int_equal(0, hw.nb_out);

	/* Each event that is still to come may need one, and all have room in the driver. */
	put_turns(SLOTS);
	put_mark(0, 0, IOPF_EVENT_LOST);
	for (unsigned int i = 1; i < BURST; i++)
		put(SID, 3, 0, 0x1000, LAST);
	t.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	poll_all();
	assert_int_equal(1, hw.posts);
	assert_int_equal(SLOTS / 2, hw.posted_invs);
	assert_int_equal(SLOTS, lost[0]);
	assert_int_equal(SLOTS / 2, lost[1]);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(SLOTS / 2, hw.out[0].nb_inv);

	/* Told when it is lost again. */
	put_turns(2);
	put_mark(0, 0, IOPF_EVENT_LOST);
	poll_all();
	assert_int_equal(2, hw.posts);
	assert_int_equal(SLOTS / 2 + 1, lost[1]);

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(0, iopf_domain_detach(domain[i], t.dev, 3 + i));
		assert_int_equal(0, iopf_domain_destroy(domain[i]));
	}
	assert_int_equal(0, iopf_poller_destroy(poller));
}

static void
each_request_of_a_pending_group_is_a_duplicate(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 2);
	poll_all();
	put(SID, 1, 1, 0x2000, LAST);
	put(SID, 1, 1, 0x1000, 0);
	poll_all();
	assert_int_equal(1, t.called);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(2, stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
	/* Answered: the next with this index is another group. */
	group(SID, 1, 1, 3);
	poll_all();
	assert_int_equal(2, t.called);
	assert_int_equal(3, t.nb_faults);
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
}

static void
a_last_twice_in_a_burst_is_answered_once(void **state)
{
	(void)state;
	group(SID, 1, 1, 2);
	put(SID, 1, 1, 0x2000, LAST);
	group(SID, 1, 2, 1);
	poll_all();
	assert_int_equal(2, t.called);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(2, hw.out[1].answer.token);
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_DUPLICATES));
}

static void
an_index_is_free_for_another_group_after_its_answer(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3 * SLOTS; i++) {
		group(SID, 1, 1, 1 + i % 5);
		poll_all();
		assert_int_equal(1 + i % 5, t.nb_faults);
		assert_int_equal(i + 1, hw.nb_out);
	}
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_CUT));
}

static void
a_stop_marker_ends_the_partials_of_its_pasid_without_answer(void **state)
{
	(void)state;
	put(SID, 1, 1, 0x1000, 0);
	put(SID, 2, 1, 0x2000, 0);
	put(SID2, 1, 1, 0x3000, 0);
	put_mark(SID, 1, IOPF_EVENT_STOP_MARKER);
	poll_all();
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_STOP_MARKERS));
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_DISCARDED));
	put(SID, 2, 1, 0x2001, LAST);
	poll_all();
	assert_int_equal(2, t.nb_faults);
	put(SID2, 1, 1, 0x3001, LAST);
	poll_all();
	assert_int_equal(2, t.nb_faults);
	put(SID, 1, 1, 0x1001, LAST);
	poll_all();
	assert_int_equal(1, t.nb_faults);
	assert_int_equal(3, hw.nb_out);
}

static void
nobodys_group_is_answered_once_invalid(void **state)
{
	(void)state;
	group(SID, 9, 1, 3);
	group(SID2 + 1, 1, 1, 3);
	poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(0, t.called);
}

static void
a_record_that_cannot_be_is_counted_and_nothing_else(void **state)
{
	(void)state;
	put(SID, 1, 1, 0x1000, LAST | IOPF_EVENT_BAD);
	put_mark(SID, 1, 0);
	poll_all();
	assert_int_equal(2, stat(IOPF_IOMMU_STAT_BAD_RECORD));
	assert_int_equal(0, hw.nb_out);
}

static void
without_slots_the_device_is_told_to_ask_again(void **state)
{
	uint64_t first;

	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 0, 1);
	poll_all();
	first = t.last_id;
	for (unsigned int i = 1; i < SLOTS - 1; i++) {
		group(SID, 1, i, 1);
		poll_all();
	}
	/* The last slot; its group is cut, and answered for all of it. */
	put(SID, 1, 100, 0x1000, 0);
	put(SID, 1, 100, 0x2000, 0);
	put(SID, 1, 100, 0x3000, LAST);
	put(SID, 1, 101, 0x1000, 0);
	put(SID, 1, 101, 0x2000, LAST);
	poll_all();
	assert_int_equal(SLOTS, t.called);
	assert_int_equal(1, t.nb_faults);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(101, hw.out[0].answer.token);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(3, stat(IOPF_IOMMU_STAT_CUT));
	assert_int_equal(0, iopf_group_respond(first, IOPF_SUCCESS));
	group(SID, 1, 101, 1);
	poll_all();
	assert_int_equal(SLOTS + 1, t.called);
}

static void
a_group_beyond_its_limit_is_cut_and_answered(void **state)
{
	const unsigned int n = IOPF_MAX_GROUP_FAULTS + 88;

	(void)state;
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 512 }));
	assert_int_equal(512 - 64, iopf_iommu_info(t.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	group(SID, 1, 1, n);
	poll_all();
	assert_int_equal(1, t.called);
	assert_int_equal(IOPF_MAX_GROUP_FAULTS, t.nb_faults);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(88, stat(IOPF_IOMMU_STAT_CUT));
	group(SID, 1, 1, 2);
	poll_all();
	assert_int_equal(2, t.nb_faults);
}

static void
a_group_without_last_is_reported_when_it_is_too_old(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .report = on_report, .partial_ms = 1 }));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	put(SID, 1, 3, 0x1000, 0);
	put(SID, 1, 3, 0x2000, 0);
	poll_all();
	assert_int_equal(0, t.reported);
	for (unsigned int i = 0; i < 20000 && t.reported == 0; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(2, t.reported);
	assert_int_equal(0x2000, t.report.addr);
	assert_int_equal(3, t.report.token);
	assert_true(t.report.flags & IOPF_FAULT_PAGE_REQUEST);
	assert_int_equal(2, stat(IOPF_IOMMU_STAT_AGED));
	assert_int_equal(0, hw.nb_out);
	put(SID, 1, 3, 0x3000, LAST);
	poll_all();
	assert_int_equal(1, t.nb_faults);
	assert_int_equal(1, hw.nb_out);
}

/*
 * Contract 6 with groups
 */

static void
a_worker_gets_the_whole_group(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	group(SID, 1, 1, 7);
	poll_all();
	for (unsigned int i = 0; i < 20000 && hw.nb_out == 0; i++)
		usleep(100);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(7, t.deferred_faults);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	/* All its slots come back. */
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		group(SID, 1, 1, 5);
		poll_all();
	}
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_CUT));
}

static void
an_answer_during_the_handler_lets_the_index_be_used_again(void **state)
{
	(void)state;
	t.verdict = IOPF_DEFER;
	t.hold = true;
	group(SID, 1, 1, 2);
	poll_all();
	while (!t.holding)
		usleep(10);
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	group(SID, 1, 1, 3);
	poll_all();
	t.hold = false;
	assert_int_equal(2, t.called);
	assert_int_equal(3, t.nb_faults);
	assert_int_equal(2, hw.nb_out);
}

static enum iopf_verdict
upgrade_one(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
			.addr = 0x1000, .size = 0x3000, .leaf_log2 = 12, .leaf_only = true }));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_answer_behind_an_invalidation_goes_out_behind_it(void **state)
{
	(void)state;
	t.in_handler = upgrade_one;
	group(SID, 1, 1, 3);
	group(SID2, 1, 1, 3);
	poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, hw.out[0].answer.page_request);
	assert_int_equal(2, hw.out[0].nb_inv);
	assert_int_equal(0x1000, hw.out[0].inv_addr);
}

static void
razwi_is_no_answer_to_a_page_request(void **state)
{
	(void)state;
	t.verdict = IOPF_ANSWER(IOPF_RAZWI);
	group(SID, 1, 1, 1);
	t.verdict = IOPF_ANSWER(IOPF_RAZWI);
	poll_all();
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 1);
	poll_all();
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_RAZWI));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
}

static void
a_recovery_ends_stalls_and_not_page_requests(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 1);
	poll_all();
	hw.check = IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_RESETS));
	assert_int_equal(0, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static void
a_dead_iommu_carries_no_answers(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 2);
	poll_all();
	hw.check = IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(-ESTALE, iopf_group_respond(t.last_id, IOPF_SUCCESS));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_stat(t.domain, IOPF_STAT_TERMINATED));
	/* Nor is anybody waited for. */
	t.not_drained = true;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_string_equal("pdta", t.log);
}

/*
 * Contract 9 with page requests
 */

static void
a_detach_forgets_partials_and_answers_pending_groups(void **state)
{
	uint64_t id;

	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID, 1, 1, 2);
	put(SID, 1, 2, 0x1000, 0);
	put(SID, 2, 2, 0x1000, 0);
	poll_all();
	id = t.last_id;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, 1));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, hw.out[0].answer.token);
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	/* The Last of what was partial: nobody's, and answered all the same. */
	put(SID, 1, 2, 0x2000, LAST);
	poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	/* Another PASID's goes on. */
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put(SID, 2, 2, 0x2000, LAST);
	poll_all();
	assert_int_equal(2, t.nb_faults);
	/* PRI stays on while anything is attached. */
	assert_string_equal("a", t.log);
}

static void
a_domain_attached_anew_does_not_see_requests_from_before(void **state)
{
	(void)state;
	put(SID, 1, 2, 0x1000, 0);
	poll_all();
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, 1));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, 1));
	put(SID, 1, 2, 0x2000, 0);
	put(SID, 1, 2, 0x3000, LAST);
	poll_all();
	assert_int_equal(2, t.nb_faults);
	assert_int_equal(0x2000, t.addrs[0]);
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_DISCARDED));
}

static void
ats_and_pri_go_on_after_the_iommu_and_off_before_it(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_string_equal("pdta", t.log);
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 1));
	assert_string_equal("ATP", t.log);
	assert_int_equal(2, t.credits);
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 2));
	assert_string_equal("A", t.log);
}

static void
ats_and_pri_are_off_while_the_iommu_is_stopped(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_string_equal("ppdtdt", t.log);
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 1));
	assert_string_equal("aA", t.log);
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	assert_string_equal("TPTP", t.log);
}

static void
pending_groups_are_answered_before_pri_is_drained(void **state)
{
	(void)state;
	t.verdict = IOPF_TAKEN;
	group(SID2, 1, 1, 1);
	poll_all();
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_string_equal("pdta", t.log);
}

static void
who_waits_for_a_device_drives_a_recovery(void **state)
{
	(void)state;
	t.until_recovery = true;
	hw.check = IOPF_CHECK_TERMINATED;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	t.until_recovery = false;
}

static void
a_device_that_does_not_drain_stays_attached(void **state)
{
	(void)state;
	quiet(true);
	t.not_drained = true;
	put(SID2, 1, 1, 0x1000, 0);
	poll_all();
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_string_equal("pd", t.log);
	group(SID2, 1, 2, 1);
	poll_all();
	assert_int_equal(1, t.called);
	t.not_drained = false;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_string_equal("pdta", t.log);
}

static void
a_stop_does_not_wait_for_a_device_for_good(void **state)
{
	(void)state;
	quiet(true);
	t.not_drained = true;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, 1));
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_string_equal("ppdtdt", t.log);
}

static void
after_a_response_failure_pri_is_restarted(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_dev_pri_restart(t.dev));
	assert_string_equal("pdtTP", t.log);
	assert_int_equal(8, t.credits);
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_int_equal(-ENOTCONN, iopf_dev_pri_restart(t.dev2));
}

static void
a_device_operation_that_fails_undoes_the_attach(void **state)
{
	(void)state;
	quiet(true);
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	for (unsigned int i = 0; i < 2; i++) {
		memset(t.log, 0, sizeof(t.log));
		t.fail_op = "TP"[i];
		t.fail = -EIO;
		assert_int_equal(-EIO, iopf_domain_attach(t.domain, t.dev2, 1));
		assert_string_equal(i == 0 ? "ATa" : "ATPta", t.log);
		assert_int_equal(8, iopf_iommu_requests_granted(t.iommu));
	}
	t.fail = 0;
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 1));
}

static void
a_device_that_fails_does_not_keep_others_from_starting(void **state)
{
	(void)state;
	quiet(true);
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	t.fail_op = 'P';
	t.fail = -EIO;
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	t.fail = 0;
	assert_int_equal(0, iopf_dev_pri_restart(t.dev));
	assert_int_equal(0, iopf_dev_pri_restart(t.dev2));
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_string_equal("pdta", t.log);
}

static void
an_attach_does_not_hide_that_pri_is_off(void **state)
{
	(void)state;
	quiet(true);
	t.not_drained = true;
	assert_int_equal(-ETIMEDOUT, iopf_dev_pri_restart(t.dev2));
	assert_int_equal(-ETIMEDOUT, iopf_domain_attach(t.domain, t.dev2, 2));
	t.not_drained = false;
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 2));
	assert_string_equal("AdtTP", t.log);
}

static void *
detach_one(void *ret)
{
	*(int *)ret = iopf_domain_detach(t.domain, t.dev, 1);
	return NULL;
}

static void
a_detach_of_one_pasid_waits_for_groups_that_have_begun(void **state)
{
	pthread_t thread;
	int ret = 1;

	(void)state;
	put(SID, 1, 1, 0x1000, 0);
	poll_all();
	assert_int_equal(0, pthread_create(&thread, NULL, detach_one, &ret));
	/* The device's accesses abort; now its Last comes. */
	usleep(20000);
	assert_int_equal(0, hw.nb_out);
	put(SID, 1, 1, 0x2000, LAST);
	pthread_join(thread, NULL);
	assert_int_equal(0, ret);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_DISCARDED));
}

static void
a_pasid_that_does_not_drain_stays_attached_and_cut(void **state)
{
	struct iopf_pci_ops drains = ops;
	const uint32_t sid = 40;
	struct iopf_dev_conf conf = {
		.sids = &sid, .nb_sids = 1, .nb_pasids = 4, .recover = IOPF_PRI, .pci = &drains,
		.pri_requests = 1, .wait_ms = 1000, .ctx = &t,
	};
	struct iopf_dev *dev;

	(void)state;
	quiet(true);
	drains.pasid_drained = pasid_drained;
	dev = iopf_dev_add(t.iommu, &conf);
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, 1));
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, 2));
	t.not_drained = true;
	memset(t.log, 0, sizeof(t.log));
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain, dev, 1));
	assert_string_equal("aD", t.log);
	/* Nobody's: and nobody else's either. */
	group(40, 1, 1, 1);
	poll_all();
	assert_int_equal(0, t.called);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(t.domain, dev, 1));
	t.not_drained = false;
	assert_int_equal(0, iopf_domain_detach(t.domain, dev, 1));
	assert_string_equal("aD", t.log);
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, 1));
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
errors_are_seen_by_who_polls_page_requests_only(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_EVENTS));
	hw.check = IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(1, stat(IOPF_IOMMU_STAT_RESETS));
}

/*
 * Any sequence of records
 */

#define KEYS	24	/* 2 StreamIDs, 3 PASIDs, 4 indices */
#define MAX_OPEN 20	/* requests, so that slots never run out */

static struct {
	unsigned int partial[KEYS];	/* requests */
	uint64_t pending[KEYS];		/* the id of a taken group */
	unsigned int size[KEYS];	/* of that */
	unsigned int open;
	unsigned int calls, answers, duplicates, discarded;
	unsigned int expected;		/* requests of the group that comes next */
} sim;

static uint32_t
key_sid(unsigned int key)
{
	return key & 1 ? SID2 : SID;
}

static uint32_t
key_pasid(unsigned int key)
{
	static const uint32_t pasids[] = { IOPF_NO_PASID, 1, 2 };

	return pasids[key / 2 % 3];
}

static void
sim_discard(unsigned int key)
{
	sim.discarded += sim.partial[key];
	sim.open -= sim.partial[key];
	sim.partial[key] = 0;
}

static enum iopf_verdict
sim_handler(const struct iopf_group *group)
{
	assert_int_equal(sim.expected, group->nb_faults);
	return t.verdict;
}

static void
sim_request(unsigned int key, bool last)
{
	if (sim.pending[key] == 0 && sim.open >= MAX_OPEN && !last)
		return;
	put(key_sid(key), key_pasid(key), key / 6, 0x1000 * (sim.partial[key] + 1), last ? LAST : 0);
	if (sim.pending[key] != 0) {
		sim.duplicates++;
	} else if (!last) {
		sim.partial[key]++;
		sim.open++;
	} else {
		sim.expected = sim.partial[key] + 1;
		sim.open -= sim.partial[key];
		sim.partial[key] = 0;
		sim.calls++;
		t.verdict = rand() % 3 == 0 && sim.open < MAX_OPEN ? IOPF_TAKEN :
				IOPF_ANSWER(IOPF_SUCCESS);
	}
	poll_all();
	if (last && sim.pending[key] == 0) {
		if (t.verdict == IOPF_TAKEN) {
			sim.pending[key] = t.last_id;
			sim.size[key] = sim.expected;
			sim.open += sim.expected;
		} else {
			sim.answers++;
		}
	}
}

static void
sim_answer(unsigned int key)
{
	if (sim.pending[key] == 0)
		return;
	assert_int_equal(0, iopf_group_respond(sim.pending[key], IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(sim.pending[key], IOPF_SUCCESS));
	sim.pending[key] = 0;
	sim.open -= sim.size[key];
	sim.answers++;
}

static void
any_sequence_of_records_makes_the_groups_it_has_to(void **state)
{
	(void)state;
	memset(&sim, 0, sizeof(sim));
	srand(4);
	quiet(true);
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 2));
	t.in_handler = sim_handler;
	for (unsigned int i = 0; i < 100000; i++) {
		unsigned int key = rand() % KEYS;

		switch (rand() % 16) {
		case 0:
			put_mark(0, 0, IOPF_EVENT_LOST);
			poll_all();
			for (unsigned int k = 0; k < KEYS; k++)
				sim_discard(k);
			break;
		case 1:
			put_mark(key_sid(key), key_pasid(key), IOPF_EVENT_STOP_MARKER);
			poll_all();
			for (unsigned int k = 0; k < KEYS; k++)
				if (key_sid(k) == key_sid(key) && key_pasid(k) == key_pasid(key))
					sim_discard(k);
			break;
		case 2:
		case 3:
			sim_answer(key);
			break;
		default:
			sim_request(key, rand() % 3 == 0);
		}
		assert_int_equal(sim.calls, t.called);
		assert_int_equal(sim.answers, hw.nb_out);
	}
	for (unsigned int k = 0; k < KEYS; k++)
		sim_answer(k);
	assert_int_equal(sim.duplicates, stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(sim.discarded, stat(IOPF_IOMMU_STAT_DISCARDED));
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_CUT));
	assert_int_equal(0, stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_true(sim.calls > 10000 && sim.duplicates > 1000 && sim.discarded > 1000);
}

/*
 * Credits
 */

static void
page_requests_come_out_of_a_budget_and_go_back(void **state)
{
	struct iopf_dev *dev, *greedy;

	(void)state;
	quiet(true);
	/* Of 16 two are left to stop markers, and ten are given out. */
	assert_int_equal(14, iopf_iommu_info(t.iommu)->max_requests);
	assert_int_equal(10, iopf_iommu_requests_granted(t.iommu));
	dev = add_dev(20, (struct iopf_dev_conf){ .pri_requests = 5 });
	assert_non_null(dev);
	assert_int_equal(-ENOSPC, iopf_domain_attach(t.domain, dev, 1));
	assert_int_equal(ENOSPC, rte_errno);
	assert_int_equal(10, iopf_iommu_requests_granted(t.iommu));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev2, 1));
	assert_int_equal(0, iopf_domain_attach(t.domain, dev, 1));
	assert_int_equal(13, iopf_iommu_requests_granted(t.iommu));
	assert_int_equal(-ENOSPC, iopf_domain_attach(t.domain, t.dev2, 1));
	/* Over-committed when asked: of slots others keep their half. */
	greedy = add_dev(21, (struct iopf_dev_conf){ .pri_requests = 100,
			.pri_overcommit = true });
	assert_non_null(greedy);
	assert_int_equal(0, iopf_domain_attach(t.domain, greedy, 1));
	assert_int_equal(100, t.credits);
	assert_int_equal(113, iopf_iommu_requests_granted(t.iommu));
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < SLOTS; i++)
		group(21, 1, i, 1);
	for (unsigned int i = 0; i < 16; i++)
		group(SID, 1, i, 1);
	poll_all();
	assert_int_equal(SLOTS / 2 + 16, t.called);
	assert_int_equal(SLOTS / 2, stat(IOPF_IOMMU_STAT_NO_SLOT));
	/* The size stays, so it may be configured. */
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	assert_int_equal(0, iopf_dev_remove(greedy));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(8, iopf_iommu_requests_granted(t.iommu));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev2, 1));
}

static void
the_queue_is_not_made_smaller_than_what_is_given_out(void **state)
{
	(void)state;
	quiet(true);
	assert_int_equal(-EBUSY, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 8 }));
	assert_int_equal(-EINVAL, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 24 }));
	assert_int_equal(-EINVAL, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 8192 }));
	assert_int_equal(0, iopf_iommu_configure(t.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 64 }));
	assert_int_equal(56, iopf_iommu_info(t.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(14, iopf_iommu_info(t.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	a_group_is_answered_once_after_last(NULL);
}

static void
a_device_that_cannot_be_is_refused(void **state)
{
	struct iopf_pci_ops lacking = ops;
	const uint32_t sid = 30;
	struct iopf_dev_conf conf = {
		.sids = &sid, .nb_sids = 1, .recover = IOPF_PRI, .pci = &lacking, .ctx = &t,
	};

	(void)state;
	quiet(true);
	lacking.pri_drained = NULL;
	assert_null(iopf_dev_add(t.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
	conf.pci = &ops;
	conf.pri_requests = 15;
	assert_null(iopf_dev_add(t.iommu, &conf));
	assert_int_equal(ERANGE, rte_errno);
	conf.recover = IOPF_STALL;
	assert_null(iopf_dev_add(t.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
	conf.recover = IOPF_PRI + 1;
	assert_null(iopf_dev_add(t.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
}

#define T(test)		cmocka_unit_test_setup_teardown(test, setup, teardown)
#define T_PPS(test)	cmocka_unit_test_setup_teardown(test, setup_pps, teardown)

static const struct CMUnitTest tests[] = {
	T(a_group_is_answered_once_after_last),
	T(a_group_may_come_in_many_bursts),
	T(groups_of_devices_pasids_and_indices_interleave),
	T(the_answer_has_the_pasid_that_the_device_wants),
	T_PPS(with_pps_the_answer_has_the_pasid_of_its_request),
	T(what_was_lost_discards_partial_groups_and_no_others),
	T(what_is_done_for_lost_requests_is_invalidated_a_domain_at_a_time),
	T(each_request_of_a_pending_group_is_a_duplicate),
	T(a_last_twice_in_a_burst_is_answered_once),
	T(an_index_is_free_for_another_group_after_its_answer),
	T(a_stop_marker_ends_the_partials_of_its_pasid_without_answer),
	T(nobodys_group_is_answered_once_invalid),
	T(a_record_that_cannot_be_is_counted_and_nothing_else),
	T(without_slots_the_device_is_told_to_ask_again),
	T(a_group_beyond_its_limit_is_cut_and_answered),
	T(a_group_without_last_is_reported_when_it_is_too_old),
	T(a_worker_gets_the_whole_group),
	T(an_answer_during_the_handler_lets_the_index_be_used_again),
	T(an_answer_behind_an_invalidation_goes_out_behind_it),
	T(razwi_is_no_answer_to_a_page_request),
	T(a_recovery_ends_stalls_and_not_page_requests),
	T(a_dead_iommu_carries_no_answers),
	T(a_detach_forgets_partials_and_answers_pending_groups),
	T(a_domain_attached_anew_does_not_see_requests_from_before),
	T(ats_and_pri_go_on_after_the_iommu_and_off_before_it),
	T(ats_and_pri_are_off_while_the_iommu_is_stopped),
	T(pending_groups_are_answered_before_pri_is_drained),
	T(who_waits_for_a_device_drives_a_recovery),
	T(a_device_that_does_not_drain_stays_attached),
	T(a_stop_does_not_wait_for_a_device_for_good),
	T(after_a_response_failure_pri_is_restarted),
	T(a_device_operation_that_fails_undoes_the_attach),
	T(a_device_that_fails_does_not_keep_others_from_starting),
	T(an_attach_does_not_hide_that_pri_is_off),
	T(a_detach_of_one_pasid_waits_for_groups_that_have_begun),
	T(a_pasid_that_does_not_drain_stays_attached_and_cut),
	T(errors_are_seen_by_who_polls_page_requests_only),
	T(any_sequence_of_records_makes_the_groups_it_has_to),
	T(page_requests_come_out_of_a_budget_and_go_back),
	T(the_queue_is_not_made_smaller_than_what_is_given_out),
	T(a_device_that_cannot_be_is_refused),
};

TEST_SUITE(prg, tests, NULL, NULL);
