/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Changes under fire: each change of the configuration while a fault of the device is at each place
 * that it can be at, for stalls and page requests. In each cell: the fault is answered exactly
 * once; after a change that takes the fault's domain or handlers away no handler of it runs; a late
 * answer is -ESTALE; the device's other PASID and another device are served; no slot is left.
 */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "uf_rig.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "test.h"

static const char *const place_names[NB_UF_PLACES] = {
	[UF_PARTIAL] = "partial",
	[UF_QUEUE] = "in the queue",
	[UF_FAST] = "in the fast handler",
	[UF_RING] = "on a worker's queue",
	[UF_WORKER] = "in the deferred handler",
	[UF_TAKEN] = "taken",
	[UF_JOINED] = "joined",
	[UF_STAGED] = "in the response batch",
	[UF_STALLED] = "not reported yet",
};

#define PLACE(place) (1u << (place))

/* What a change does to the fault and the device. */
struct row {
	const char *name;
	int (*change)(void);
	bool keep;		/* the fault goes on, and its handler answers it */
	bool retries;		/* the device tries again in the next domain */
	bool last;		/* the device has no other PASID */
	bool moves_handler;	/* the handlers from before do not run afterwards */
	bool off;		/* the IOMMU is off afterwards */
	bool closed;
	bool silent;		/* the application has stopped polling */
	bool moves_queue;	/* to another poll thread */
	bool requests_only;
	bool writes_entry;	/* the IOMMU's entry of the device is written: see put_at_change() */
	unsigned int waits;	/* places: it waits for the handler there */
	bool waits_for_worker;	/* also for one of another device */
	unsigned int impossible; /* places; the reason is with each row */
};

static int
attach_another_pasid(void)
{
	return iopf_domain_attach(uf.other.domain, uf.dev, 3);
}

static int
detach(void)
{
	return iopf_domain_detach(uf.space.domain, uf.dev, 1);
}

static int
dev_remove(void)
{
	int ret = iopf_dev_remove(uf.dev);

	uf.dev = NULL;
	return ret;
}

static int
pri_restart(void)
{
	return iopf_dev_pri_restart(uf.dev);
}

static int
set_handler(void)
{
	return iopf_domain_set_handler(uf.space.domain, uf_fast, uf_deferred, &uf.spare);
}

static int
replace(void)
{
	return iopf_domain_replace(uf.next.domain, uf.dev, 1);
}

/* Both poll threads run during the move. */
static int
move_poller(void)
{
	uf_poll_begin(1);
	return iopf_poller_move(uf.pollers[1], uf.iommu, IOPF_QUEUE_ALL);
}

/* The way before iopf_poller_move(): for a moment the queues have no poll thread. */
static int
remove_and_add_poller(void)
{
	int ret = iopf_poller_remove(uf.pollers[0], uf.iommu, IOPF_QUEUE_ALL);

	if (ret == 0)
		ret = iopf_poller_add(uf.pollers[1], uf.iommu, IOPF_QUEUE_ALL);
	uf_poll_begin(1);
	return ret;
}

static int
stop(void)
{
	return iopf_iommu_stop(uf.iommu);
}

static int
close_all(void)
{
	int ret = iopf_iommu_close(uf.iommu);

	/* Refused, and nothing has changed. */
	if (ret != -EBUSY)
		return ret;
	ret = iopf_iommu_stop(uf.iommu);
	if (ret == 0)
		ret = dev_remove();
	if (ret == 0)
		ret = iopf_dev_remove(uf.bystander);
	uf.bystander = NULL;
	if (ret == 0)
		ret = iopf_poller_remove(uf.pollers[0], uf.iommu, IOPF_QUEUE_ALL);
	if (ret == 0)
		ret = iopf_iommu_close(uf.iommu);
	uf.iommu = NULL;
	return ret;
}

#define HANDLERS (PLACE(UF_FAST) | PLACE(UF_STAGED) | PLACE(UF_WORKER))
#define ON_POLL_THREAD (PLACE(UF_FAST) | PLACE(UF_STAGED))
/* No handler runs that could answer first. */
#define WITHOUT_HANDLER \
	(PLACE(UF_RING) | PLACE(UF_TAKEN) | PLACE(UF_JOINED) | PLACE(UF_STALLED))

static struct row attach_row = {
	.name = "attach of another PASID", .change = attach_another_pasid, .keep = true,
	.writes_entry = true,
};
static struct row detach_row = {
	.name = "detach", .change = detach, .last = true, .writes_entry = true, .waits = HANDLERS,
};
static struct row pasid_row = {
	.name = "PASID stop", .change = detach, .writes_entry = true, .waits = HANDLERS,
};
static struct row remove_row = {
	.name = "removal", .change = dev_remove, .writes_entry = true, .waits = HANDLERS,
};
/* The device waits for the answers to its groups. */
static struct row restart_row = {
	.name = "PRI off and on", .change = pri_restart, .keep = true, .requests_only = true,
	.waits = HANDLERS | PLACE(UF_JOINED), .waits_for_worker = true,
};
static struct row replace_row = {
	.name = "replace", .change = replace, .retries = true, .writes_entry = true,
	.waits = HANDLERS,
};
static struct row handler_row = {
	.name = "handlers replaced", .change = set_handler, .keep = true, .moves_handler = true,
	.waits = HANDLERS,
};
static struct row poller_row = {
	.name = "poller moved", .change = move_poller, .keep = true, .moves_queue = true,
	.waits = ON_POLL_THREAD,
};
static struct row readd_row = {
	.name = "poller removed and added", .change = remove_and_add_poller, .keep = true,
	.moves_queue = true,
	.waits = ON_POLL_THREAD,
};
/*
 * A stop does not wait for deferred handlers. A stall that is not reported is ended by the
 * hardware, and nothing of it reaches the library: model_stall and pmd_bringup.
 */
static struct row stop_row = {
	.name = "stop", .change = stop, .off = true, .waits = ON_POLL_THREAD,
	.impossible = PLACE(UF_STALLED),
};
static struct row close_row = {
	.name = "close", .change = close_all, .off = true, .closed = true, .waits = HANDLERS,
	.waits_for_worker = true, .impossible = PLACE(UF_STALLED),
};
/* A thread inside a fast handler is the poll thread: it has not stopped polling. */
static struct row silent_row = {
	.name = "detach, and the application has stopped polling", .change = detach, .silent = true,
	.writes_entry = true, .waits = PLACE(UF_WORKER), .impossible = ON_POLL_THREAD,
};

static char cell[160];

#define CHECK(what)							\
	do {								\
		if (!(what))						\
			fail_msg("%s: %s", cell, #what);		\
	} while (0)
#define CHECK_AWAIT(what)						\
	do {								\
		for (unsigned int i_ = 0; i_ < 100000 && !(what); i_++)	\
			usleep(50);					\
		CHECK(what);						\
	} while (0)

/* No handler that held the fault holds it any more. The change does not need that. */
static void
release_all(void)
{
	uf.release_fast = true;
	uf.space.hold_deferred = false;
	uf.by.hold_deferred = false;
}

/* The change is under way: the fault goes on. */
static void
go_on(const struct row *row)
{
	bool waits = row->waits & PLACE(uf.place);

	if (uf.place == UF_QUEUE && !row->silent)
		uf_poll_begin(0);
	if (uf.place == UF_PARTIAL)
		uf_put_last();
	if (uf.place == UF_STALLED && !row->writes_entry) {
		hw.on_attach = NULL;
		uf_put(uf.dev, 1, TOKEN);
	}
	if (waits && row->moves_queue)
		uf_put(uf.bystander, 1, TOKEN_QUEUED);
	if (waits) {
		usleep(1000);
		CHECK(!uf.changed);
		/* The queue has one poll thread at a time. */
		CHECK(uf_answers(TOKEN_QUEUED, NULL) == 0);
		/* The pass under way still uses the driver. */
		if (row->off && (PLACE(uf.place) & ON_POLL_THREAD))
			CHECK(hw.knobs[ARRAY_STOP].calls == 0);
	}
	/* A change that waits for no worker ends while the worker's thread has a group. */
	if (uf.place != UF_WORKER || waits)
		uf.space.hold_deferred = false;
	if (row->waits_for_worker)
		uf.by.hold_deferred = false;
	uf.release_fast = true;
	if (uf.place == UF_TAKEN && row->keep)
		CHECK(iopf_group_respond(uf.space.id, IOPF_SUCCESS) == 0);
	if (uf.place == UF_JOINED && row->keep)
		CHECK(iopf_group_respond(uf.space.leader_id, IOPF_SUCCESS) == 0);
}

/* All faults from before the stop: each has an answer, or the IOMMU has ended it. */
static void
check_off(void)
{
	unsigned int n = uf_answers(TOKEN, NULL) + uf_answers(TOKEN_BEHIND, NULL) +
		iopf_domain_stat(uf.space.domain, IOPF_STAT_TERMINATED);

	if (uf.requests)	/* PRI went off first: the groups were answered */
		n = uf_answers(TOKEN, NULL) + uf_answers(TOKEN_BEHIND, NULL);
	if (PLACE(uf.place) & (PLACE(UF_PARTIAL) | PLACE(UF_QUEUE)))
		CHECK(n <= 1);
	else if (uf.place == UF_STAGED || (uf.place == UF_JOINED && !uf.requests))
		CHECK(n == 2);	/* the leader is ended, too */
	else
		CHECK(n == 1);
	if (uf.place == UF_RING)
		CHECK(uf_answers(TOKEN_RING, NULL) +
			iopf_domain_stat(uf.by.domain, IOPF_STAT_TERMINATED) == 1);
}

static void
check_answered(const struct row *row)
{
	enum iopf_code code = IOPF_FAILURE;

	CHECK_AWAIT(uf_answers(TOKEN, &code) == 1);
	if (row->keep || row->retries)
		CHECK(code == IOPF_SUCCESS);
	else if (PLACE(uf.place) & WITHOUT_HANDLER)
		CHECK(code == IOPF_INVALID);
	else
		CHECK(code == IOPF_INVALID || code == IOPF_SUCCESS);
	if (uf.place == UF_STAGED)
		CHECK_AWAIT(uf_answers(TOKEN_BEHIND, NULL) == 1);
	if (row->moves_queue && (row->waits & PLACE(uf.place)))
		CHECK_AWAIT(uf_answers(TOKEN_QUEUED, NULL) == 1);
	/* The change has found the fault: a record that was left would have no domain. */
	if (uf.place == UF_QUEUE || uf.place == UF_STALLED)
		CHECK(iopf_iommu_stat(uf.iommu, IOPF_IOMMU_STAT_NO_DOMAIN) +
			iopf_iommu_stat(uf.iommu, IOPF_IOMMU_STAT_UNKNOWN_SID) == 0);
	if (uf.place == UF_RING)
		CHECK_AWAIT(uf_answers(TOKEN_RING, NULL) == 1);
	if (row->retries && (PLACE(uf.place) & WITHOUT_HANDLER))
		CHECK(iopf_domain_stat(uf.space.domain, IOPF_STAT_RETRIED) +
			iopf_domain_stat(uf.next.domain, IOPF_STAT_RETRIED) == 1);
}

/* The fault's leader is another device's, which the change does not concern. */
static void
answer_leader(const struct row *row)
{
	if (!row->keep)
		CHECK(iopf_group_respond(uf.space.leader_id, IOPF_SUCCESS) ==
			(row->off ? -ESTALE : 0));
	if (!row->off)
		CHECK_AWAIT(uf_answers(TOKEN_LEADER, NULL) == 1);
}

/* Faults after the change. */
static void
check_later(const struct row *row)
{
	bool stays = row->keep || row->off || row->retries;
	unsigned int next_calls = uf.next.calls;
	enum iopf_code code;

	uf.space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	uf_put(uf.dev, 1, TOKEN_LATER);
	CHECK_AWAIT(uf_answers(TOKEN_LATER, &code) == 1);
	CHECK(code == (stays ? IOPF_SUCCESS : IOPF_INVALID));
	CHECK(uf.next.calls - next_calls == row->retries);
	if (!row->last) {
		uf_put(uf.dev, 2, TOKEN_OTHER_PASID);
		CHECK_AWAIT(uf_answers(TOKEN_OTHER_PASID, &code) == 1);
		CHECK(code == (uf.dev != NULL ? IOPF_SUCCESS : IOPF_INVALID));
	}
	uf_put(uf.bystander, 1, TOKEN_BYSTANDER);
	CHECK_AWAIT(uf_answers(TOKEN_BYSTANDER, &code) == 1);
	CHECK(code == IOPF_SUCCESS);
	for (uint16_t token = 0; token < NB_TOKENS; token++)
		CHECK(uf_answers(token, NULL) <= 1);
}

static void
run_cell(const struct row *row, enum uf_place place, bool requests)
{
	snprintf(cell, sizeof(cell), "%s, %s, %s", row->name, requests ? "page requests" : "stall",
			place_names[place]);
	uf_open(place, requests, !row->last);
	/* A removal detaches the PASID of the fault last: the bystander's is left. */
	uf.put_at = row->change == dev_remove;
	uf_put_in_place();
	if (row->silent)
		uf_poll_end(0);
	uf_change_begin(row->change);
	go_on(row);
	CHECK(uf_change_end() == 0);
	/* No handler of the domain, or no former one, has the fault or gets it. */
	if ((!row->keep && !row->off) || row->moves_handler || row->closed) {
		CHECK(uf.space.running == 0);
		uf.space.over = true;
	}
	if (!row->keep && uf.space.id != 0) {
		CHECK(iopf_group_respond(uf.space.id, IOPF_SUCCESS) == -ESTALE);
		CHECK(iopf_group_defer(uf.space.id) == -ESTALE);
	}
	if (row->silent)
		uf_poll_begin(0);
	if (row->off)
		check_off();
	release_all();
	if (place == UF_JOINED)
		answer_leader(row);
	if (row->off && !row->closed)
		CHECK(iopf_iommu_start(uf.iommu) == 0);
	if (!row->off)
		check_answered(row);
	if (!row->closed)
		check_later(row);
	if (uf.space.id != 0)
		CHECK(iopf_group_respond(uf.space.id, IOPF_SUCCESS) == -ESTALE);
	if (row->moves_handler && place == UF_RING)
		CHECK(uf.spare.deferred_calls == 1);
	uf_close();
}

static void
run_row(void **state)
{
	const struct row *row = *state;

	for (int requests = row->requests_only; requests < 2; requests++)
		for (enum uf_place place = 0; place < NB_UF_PLACES; place++) {
			/* A stall is one record: it is never partial. */
			if ((place == UF_PARTIAL && !requests) ||
					row->impossible & PLACE(place))
				continue;
			run_cell(row, place, requests);
			/* The change meets a burst that is read, and not dispatched. */
			array_slow_poll = PLACE(place) & (PLACE(UF_QUEUE) | PLACE(UF_STALLED));
			if (array_slow_poll)
				run_cell(row, place, requests);
			array_slow_poll = false;
		}
}

/* A failed cell leaves its threads. */
static int
teardown(void **state)
{
	(void)state;
	array_slow_poll = false;
	release_all();
	uf_poll_end(0);
	uf_poll_end(1);
	return 0;
}

#define ROW(name) { #name, run_row, NULL, teardown, &name ## _row }

static const struct CMUnitTest tests[] = {
	ROW(attach),
	ROW(detach),
	ROW(pasid),
	ROW(remove),
	ROW(replace),
	ROW(restart),
	ROW(handler),
	ROW(poller),
	ROW(readd),
	ROW(stop),
	ROW(close),
	ROW(silent),
};

TEST_SUITE(under_fire, tests, NULL, NULL);
