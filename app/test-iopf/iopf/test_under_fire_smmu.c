/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Changes under fire on the software SMMUv3, with its oracle. No poll thread runs during a change,
 * as in an application that has stopped polling, and the model steps where the driver waits: so
 * each cell is deterministic. Faults in a fast handler or in its batch need a poll thread: they are
 * in under_fire alone. In each cell the access ends once, with the status that the change demands;
 * no byte reaches memory of a domain that the device has left; its handlers are not called any
 * more; the device's other PASID and another device are served.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"
#include "uf_smmu.h"

#define LATER		8	/* page of accesses after the change */

static const char *const place_names[NB_SM_PLACES] = {
	[SM_UNSENT] = "not sent",
	[SM_HELD] = "held in the SMMU",
	[SM_PARTIAL] = "partial",
	[SM_QUEUE] = "in the queue",
	[SM_RING] = "on a worker's queue",
	[SM_WORKER] = "in the deferred handler",
	[SM_TAKEN] = "taken",
	[SM_JOINED] = "joined",
};

#define PLACE(place) (1u << (place))

struct row {
	const char *name;
	int (*change)(void);
	bool keeps;		/* the domain and its handlers serve the access */
	bool retries;		/* the next domain serves it */
	bool off;
	bool last;		/* no other PASID is attached */
	bool moves_handler;
	bool restarts;		/* ATS goes off for a moment: the access may abort */
	/* Places in which the change waits for the handler, which returns when ... */
	unsigned int answers;	/* ... the change has answered the fault */
	unsigned int waits;	/* ... the change has begun */
};

static char cell[120];

#define CHECK(what)							\
	do {								\
		if (!(what))						\
			fail_msg("%s: %s", cell, #what);		\
	} while (0)

static int
attach_another_pasid(void)
{
	return iopf_domain_attach(sm.other.space.domain, sm.dev, 3);
}

static int
detach(void)
{
	return iopf_domain_detach(sm.space.space.domain, sm.dev, 1);
}

static int
dev_remove(void)
{
	int ret = iopf_dev_remove(sm.dev);

	sm.dev = sm.fn.dev = NULL;
	return ret;
}

static int
replace(void)
{
	return iopf_domain_replace(sm.next.space.domain, sm.dev, 1);
}

static int
pri_restart(void)
{
	return iopf_dev_pri_restart(sm.dev);
}

static int
set_handler(void)
{
	return iopf_domain_set_handler(sm.space.space.domain, sm_fast, sm_deferred, &sm.spare);
}

static int
move_poller(void)
{
	return iopf_poller_move(sm.second, sm.r.iommu, IOPF_QUEUE_ALL);
}

static int
stop(void)
{
	return iopf_iommu_stop(sm.r.iommu);
}

/* sm_close() does the rest. */
static int
close_all(void)
{
	int ret = iopf_iommu_close(sm.r.iommu);

	if (ret != -EBUSY)
		return ret;
	ret = stop();
	return ret < 0 ? ret : dev_remove();
}

static struct row attach_row = {
	.name = "attach of another PASID", .change = attach_another_pasid, .keeps = true,
};
static struct row detach_row = {
	.name = "detach", .change = detach, .last = true, .answers = PLACE(SM_WORKER),
};
static struct row pasid_row = {
	.name = "PASID stop", .change = detach, .answers = PLACE(SM_WORKER),
};
/* While a removal detaches another PASID, this one is still served: it has only this one. */
static struct row remove_row = {
	.name = "removal", .change = dev_remove, .last = true, .answers = PLACE(SM_WORKER),
};
static struct row replace_row = {
	.name = "replace", .change = replace, .retries = true, .answers = PLACE(SM_WORKER),
};
/* It waits for the answers to the device's groups. */
static struct row restart_row = {
	.name = "PRI off and on", .change = pri_restart, .keeps = true, .restarts = true,
	.waits = PLACE(SM_RING) | PLACE(SM_WORKER) | PLACE(SM_TAKEN) | PLACE(SM_JOINED),
};
static struct row handler_row = {
	.name = "handlers replaced", .change = set_handler, .keeps = true, .moves_handler = true,
	.waits = PLACE(SM_WORKER),
};
static struct row poller_row = { .name = "poller moved", .change = move_poller, .keeps = true };
static struct row stop_row = { .name = "stop", .change = stop, .off = true };
/* Its removal waits for the deferred handler, as a removal does. */
static struct row close_row = {
	.name = "close", .change = close_all, .off = true, .answers = PLACE(SM_WORKER),
};

/*
 * The handler returns, or the application answers.
 */

static void
let_go(const struct row *row)
{
	bool taken = sm.place == SM_TAKEN || sm.place == SM_JOINED;

	sm.space.hold = false;
	sm.by.hold = false;
	if (taken && row->keeps) {
		sm_map_first(&sm.space);
		CHECK(iopf_group_respond(sm.space.id, IOPF_SUCCESS) == 0);
	}
}

static void *
let_go_later(void *arg)
{
	const struct row *row = arg;
	struct iopf_domain *domain = sm.space.space.domain;

	if (row->waits & PLACE(sm.place))
		usleep(2000);
	else
		while (iopf_domain_stat(domain, IOPF_STAT_CANCELLED) +
				iopf_domain_stat(domain, IOPF_STAT_RETRIED) +
				iopf_domain_stat(domain, IOPF_STAT_TERMINATED) == 0)
			usleep(50);
	let_go(row);
	return NULL;
}

static void
make_change(const struct row *row)
{
	bool waits = (row->waits | row->answers) & PLACE(sm.place);
	pthread_t other;

	if (waits)
		pthread_create(&other, NULL, let_go_later, (void *)(uintptr_t)row);
	CHECK(row->change() == 0);
	/* It has waited until the handler returned. */
	if (waits)
		CHECK(sm.space.deferred_ends == sm.space.deferred_calls);
	if (waits)
		pthread_join(other, NULL);
}

static void
check_access(const struct row *row)
{
	bool served = row->keeps || row->retries, taken = sm.place == SM_TAKEN;
	/* A stop lets the handler serve the groups that the device still sends. */
	bool may_be_served = row->restarts || (row->off && sm.requests &&
			(PLACE(sm.place) & (PLACE(SM_UNSENT) | PLACE(SM_PARTIAL) |
			PLACE(SM_QUEUE))));
	enum smmuv3_model_status status = sm_take_end(sm.dma);

	/* The change has read the record: one that was left would have no domain. */
	if (sm.place == SM_QUEUE)
		CHECK(pcie_stat(&sm.r, IOPF_IOMMU_STAT_NO_DOMAIN) +
			pcie_stat(&sm.r, IOPF_IOMMU_STAT_UNKNOWN_SID) == 0);
	if (!may_be_served)
		CHECK(status == (served ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED));
	if (!row->keeps && !may_be_served)
		CHECK(sm_is_untouched(&sm.space));
	if (row->retries)
		pcie_expect_pattern(&sm.r, &sm.next.space, 0, sm.pages);
	else if (row->keeps && status == SMMUV3_MODEL_OK)
		pcie_expect_pattern(&sm.r, &sm.space.space, 0, sm.pages);
	/* A replace sends back what it finds of the old domain. */
	if (row->retries && sm.place >= SM_QUEUE)
		CHECK(iopf_domain_stat(sm.space.space.domain, IOPF_STAT_RETRIED) +
			iopf_domain_stat(sm.next.space.domain, IOPF_STAT_RETRIED) == 1);
	if (taken && !row->keeps)
		CHECK(iopf_group_respond(sm.space.id, IOPF_SUCCESS) == -ESTALE);
}

/* Accesses of the bystander that were under way: the change does not concern them. */
static void
check_bystander(const struct row *row)
{
	enum smmuv3_model_status status = row->off ? SMMUV3_MODEL_ABORTED : SMMUV3_MODEL_OK;

	if (sm.place == SM_HELD)
		while (smmuv3_model_dma_outstanding(sm.by_dma) > 0)
			pcie_expect_end(sm.by_dma, status);
	if (sm.place == SM_RING)
		CHECK(sm_take_end(sm.by_dma) == status);
	if (sm.place == SM_JOINED) {
		if (!row->keeps) {
			sm_map_first(&sm.space);
			CHECK(iopf_group_respond(sm.space.id, IOPF_SUCCESS) ==
				(row->off ? -ESTALE : 0));
		}
		CHECK(sm_take_end(sm.leader_dma) == status);
	}
}

static void
check_later(const struct row *row)
{
	bool serves = row->keeps || row->retries || row->off;

	CHECK(sm_access(sm.dma, LATER) == (serves ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED));
	if (!row->last)
		CHECK(sm_access(sm.other_dma, LATER) == SMMUV3_MODEL_OK);
	CHECK(sm_access(sm.by_dma, LATER) == SMMUV3_MODEL_OK);
	if (row->moves_handler)
		CHECK(sm.spare.calls != 0);
	if (row->moves_handler && sm.place == SM_RING)
		CHECK(sm.spare.deferred_calls == 1);
}

static void
run_cell(const struct row *row, enum sm_place place, bool requests)
{
	unsigned int calls, deferred_calls;

	snprintf(cell, sizeof(cell), "%s, %s, %s", row->name, requests ? "page requests" : "stall",
			place_names[place]);
	sm_open(place, requests, !row->last);
	sm_put_in_place();
	make_change(row);
	calls = sm.space.calls;
	deferred_calls = sm.space.deferred_calls;
	if (!((row->waits | row->answers) & PLACE(place)))
		let_go(row);
	check_access(row);
	check_bystander(row);
	if (row->change == stop)
		CHECK(iopf_iommu_start(sm.r.iommu) == 0);
	if (row->change != close_all)
		check_later(row);
	if ((!row->keeps && !row->off) || row->moves_handler)
		CHECK(sm.space.calls == calls && sm.space.deferred_calls == deferred_calls);
	if (place == SM_TAKEN)
		CHECK(iopf_group_respond(sm.space.id, IOPF_SUCCESS) == -ESTALE);
	sm_close();
}

static void
run_row(void **state)
{
	const struct row *row = *state;

	for (unsigned int requests = row->restarts; requests < 2; requests++)
		for (enum sm_place place = 0; place < NB_SM_PLACES; place++)
			/* A stall is one record. A full PRIQ does not hold requests back. */
			if (place != (requests ? SM_HELD : SM_PARTIAL))
				run_cell(row, place, requests);
}

#define ROW(name) { #name, run_row, NULL, NULL, &name ## _row }

static const struct CMUnitTest tests[] = {
	ROW(attach),
	ROW(detach),
	ROW(pasid),
	ROW(remove),
	ROW(replace),
	ROW(restart),
	ROW(handler),
	ROW(poller),
	ROW(stop),
	ROW(close),
};

TEST_SUITE(under_fire_smmu, tests, NULL, NULL);
