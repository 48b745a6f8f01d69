/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Changes under fire on the software SMMUv3, with its oracle: the cells of under_fire that need no
 * second thread. No poll thread runs during a change, as in an application that has stopped
 * polling; the model steps where the driver waits. So each cell is deterministic. In each cell the
 * access ends once, with the status that the change demands; no byte reaches memory of a domain
 * that the device has left; its handler is not called any more; the device's other PASID and
 * another device are served.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_poller.h"
#include "pcie_rig.h"
#include "test.h"

#define SID		8
#define BY_SID		9
#define EVTQ_LOG2	2
#define LATER		8	/* page of accesses after the change */

enum place {
	UNSENT,		/* submitted, and the SMMU has not seen it */
	HELD,		/* the event queue is full: the SMMU holds the stall back [7.4] */
	PARTIAL,	/* two requests of a group are read, and the device sends the others */
	QUEUE,		/* the record is written, and not read */
	TAKEN,
	NB_PLACES,
};

static const char *const place_names[NB_PLACES] = {
	"not sent", "held in the SMMU", "partial", "in the queue", "taken",
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
	unsigned int impossible;
};

static struct pcie r;
static struct pcie_fn fn;
static struct iopf_dev *dev, *bystander;
static struct smmuv3_model_dma *dma, *other_dma, *by_dma;
static struct pcie_space space, other, by, next;
static struct iopf_poller *second;
static unsigned int spare_calls;
static bool requests;
static unsigned int pages;	/* of an access */
static char cell[120];

#define CHECK(what)							\
	do {								\
		if (!(what))						\
			fail_msg("%s: %s", cell, #what);		\
	} while (0)

/*
 * Changes
 */

static int
attach_another_pasid(void)
{
	return iopf_domain_attach(other.domain, dev, 3);
}

static int
detach(void)
{
	return iopf_domain_detach(space.domain, dev, 1);
}

static int
dev_remove(void)
{
	int ret = iopf_dev_remove(dev);

	dev = fn.dev = NULL;
	return ret;
}

static int
replace(void)
{
	return iopf_domain_replace(next.domain, dev, 1);
}

static int
pri_restart(void)
{
	return iopf_dev_pri_restart(dev);
}

static enum iopf_verdict
on_fault_of_spare(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct pcie_space *s = ctx;

	(void)domain;
	spare_calls++;
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		uint64_t page = (group->faults[i]->addr - PCIE_VA) / PCIE_PAGE;
		int ret = pgt_resolve(s->pgt, group->faults[i]->addr,
				(uintptr_t)s->data + page * PCIE_PAGE, s->prot);

		assert_true(ret == 0 || ret == -EALREADY);
	}
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static int
set_handler(void)
{
	return iopf_domain_set_handler(space.domain, on_fault_of_spare, NULL, &space);
}

static int
move_poller(void)
{
	return iopf_poller_move(second, r.iommu, IOPF_QUEUE_ALL);
}

static int
stop(void)
{
	return iopf_iommu_stop(r.iommu);
}

/* pcie_close() does the rest. */
static int
close_all(void)
{
	int ret = iopf_iommu_close(r.iommu);

	if (ret != -EBUSY)
		return ret;
	ret = stop();
	return ret < 0 ? ret : dev_remove();
}

static struct row attach_row = {
	.name = "attach of another PASID", .change = attach_another_pasid, .keeps = true,
};
static struct row detach_row = { .name = "detach", .change = detach, .last = true };
static struct row pasid_row = { .name = "PASID stop", .change = detach };
/* While a removal detaches another PASID, this one is still served: it has only this one. */
static struct row remove_row = { .name = "removal", .change = dev_remove, .last = true };
static struct row replace_row = { .name = "replace", .change = replace, .retries = true };
/* It waits for the answer to a group that is taken: under_fire. */
static struct row restart_row = {
	.name = "PRI off and on", .change = pri_restart, .keeps = true, .restarts = true,
	.impossible = PLACE(TAKEN) | PLACE(HELD),
};
static struct row handler_row = {
	.name = "handlers replaced", .change = set_handler, .keeps = true, .moves_handler = true,
};
static struct row poller_row = { .name = "poller moved", .change = move_poller, .keeps = true };
static struct row stop_row = { .name = "stop", .change = stop, .off = true };
static struct row close_row = { .name = "close", .change = close_all, .off = true };

/*
 * The rig
 */

static struct iopf_dev *
add_stalling_dev(uint32_t sid)
{
	struct iopf_dev *added = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1, .nb_pasids = 8, .wait_ms = 60000 });

	assert_non_null(added);
	return added;
}

static struct smmuv3_model_dma *
create_stalling_engine(uint32_t sid, uint32_t pasid)
{
	struct smmuv3_model_dma *created = smmuv3_model_dma_create(r.m,
			&(struct smmuv3_model_dma_conf){ .sid = sid, .has_ssid = true,
			.ssid = pasid });

	assert_non_null(created);
	return created;
}

static void
cell_open(const struct row *row)
{
	pcie_mute_log(true);
	pcie_open(&r, &(struct smmuv3_model_conf){ .evtq_log2 = EVTQ_LOG2,
			.choices = SMMUV3_MODEL_TORN_FETCH }, NULL);
	pcie_create_space(&r, &space);
	pcie_create_space(&r, &other);
	pcie_create_space(&r, &by);
	pcie_create_space(&r, &next);
	pages = requests ? 4 : 1;
	spare_calls = 0;
	if (requests) {
		pcie_add_fn(&r, &fn, SID, &(struct iopf_dev_conf){ .nb_pasids = 8,
				.wait_ms = 60000 });
		dev = fn.dev;
		dma = pcie_create_pasid_engine(&r, &fn, 1, 4, 0, false);
		other_dma = pcie_create_pasid_engine(&r, &fn, 2, 4, 0, false);
	} else {
		dev = add_stalling_dev(SID);
		dma = create_stalling_engine(SID, 1);
		other_dma = create_stalling_engine(SID, 2);
	}
	bystander = add_stalling_dev(BY_SID);
	by_dma = create_stalling_engine(BY_SID, 1);
	assert_int_equal(0, iopf_domain_attach(space.domain, dev, 1));
	if (!row->last)
		assert_int_equal(0, iopf_domain_attach(other.domain, dev, 2));
	assert_int_equal(0, iopf_domain_attach(by.domain, bystander, 1));
	second = iopf_poller_create(NULL);
	assert_non_null(second);
}

static void
cell_close(void)
{
	if (!requests) {
		assert_int_equal(0, iopf_dev_remove(dev));
		smmuv3_model_dma_destroy(dma);
		smmuv3_model_dma_destroy(other_dma);
	}
	assert_int_equal(0, iopf_dev_remove(bystander));
	smmuv3_model_dma_destroy(by_dma);
	assert_int_equal(0, iopf_poller_destroy(second));
	/* The oracle and the log of driver errors are checked there. */
	pcie_close(&r);
	pcie_mute_log(false);
}

static void
put_in_place(enum place place)
{
	switch (place) {
	case UNSENT:
		pcie_write(&r, dma, 0, pages);
		break;
	case HELD:
		for (unsigned int i = 0; i < 1u << EVTQ_LOG2; i++)
			pcie_write(&r, by_dma, i, 1);
		pcie_run_model(&r);
		CHECK(pcie_model_stat(&r, SMMUV3_MODEL_STAT_STALLS) == 1u << EVTQ_LOG2);
		pcie_write(&r, dma, 0, pages);
		pcie_run_model(&r);
		CHECK(pcie_model_stat(&r, SMMUV3_MODEL_STAT_STALLS) == 1u << EVTQ_LOG2);
		CHECK(pcie_model_stat(&r, SMMUV3_MODEL_STAT_STALLS_HELD) == 1);
		break;
	case PARTIAL:
		pcie_write(&r, dma, 0, pages);
		pcie_run_until_sent(&r, 2);
		CHECK(pcie_poll(&r) == 2);
		CHECK(space.calls == 0);
		break;
	case QUEUE:
		pcie_write(&r, dma, 0, pages);
		pcie_run_model(&r);
		break;
	default:
		space.verdict = IOPF_TAKEN;
		space.leave_unmapped = true;
		pcie_write(&r, dma, 0, pages);
		pcie_run(&r);
		CHECK(space.calls == 1);
		space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		space.leave_unmapped = false;
	}
}

/* Both poll threads' passes, until the model rests. */
static void
run(void)
{
	do {
		pcie_run(&r);
	} while (iopf_poll(second) != 0);
}

/* The access of the cell has ended; returns its status. */
static enum smmuv3_model_status
take_end(struct smmuv3_model_dma *d)
{
	struct smmuv3_model_done done;

	CHECK(smmuv3_model_dma_poll(d, &done, 1) == 1);
	CHECK(smmuv3_model_dma_outstanding(d) == 0);
	return done.status;
}

static enum smmuv3_model_status
access_later(struct smmuv3_model_dma *d)
{
	pcie_write(&r, d, LATER, pages);
	run();
	return take_end(d);
}

static bool
is_untouched(const struct pcie_space *s)
{
	static const uint8_t zeros[PCIE_PAGE];

	for (unsigned int i = 0; i < PCIE_PAGES; i++)
		if (memcmp(s->data + (size_t)i * PCIE_PAGE, zeros, PCIE_PAGE) != 0)
			return false;
	return true;
}

static void
check_access(const struct row *row, enum place place)
{
	bool served = row->keeps || row->retries;
	/* A stop lets the handler serve the groups that the device still sends. */
	bool may_be_served = row->restarts || (row->off && requests && place != TAKEN);
	enum smmuv3_model_status status;

	run();
	status = take_end(dma);
	/* The change has read the record: one that was left would have no domain. */
	if (place == QUEUE)
		CHECK(pcie_stat(&r, IOPF_IOMMU_STAT_NO_DOMAIN) +
			pcie_stat(&r, IOPF_IOMMU_STAT_UNKNOWN_SID) == 0);
	if (!may_be_served)
		CHECK(status == (served ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED));
	if (!row->keeps && !may_be_served)
		CHECK(is_untouched(&space));
	if (row->retries)
		pcie_expect_pattern(&r, &next, 0, pages);
	else if (row->keeps && status == SMMUV3_MODEL_OK)
		pcie_expect_pattern(&r, &space, 0, pages);
	/* A replace sends back what it finds of the old domain. */
	if (row->retries && (place == TAKEN || place == QUEUE))
		CHECK(iopf_domain_stat(space.domain, IOPF_STAT_RETRIED) +
			iopf_domain_stat(next.domain, IOPF_STAT_RETRIED) == 1);
	if (place == HELD)
		while (smmuv3_model_dma_outstanding(by_dma) > 0)
			pcie_expect_end(by_dma, row->off ? SMMUV3_MODEL_ABORTED :
					SMMUV3_MODEL_OK);
}

static void
check_later(const struct row *row)
{
	bool serves = row->keeps || row->retries || row->off;

	CHECK(access_later(dma) == (serves ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED));
	if (!row->last)
		CHECK(access_later(other_dma) == SMMUV3_MODEL_OK);
	pages = 1;
	CHECK(access_later(by_dma) == SMMUV3_MODEL_OK);
	if (row->moves_handler)
		CHECK(spare_calls != 0);
}

static void
run_cell(const struct row *row, enum place place)
{
	unsigned int calls;

	snprintf(cell, sizeof(cell), "%s, %s, %s", row->name, requests ? "page requests" : "stall",
			place_names[place]);
	cell_open(row);
	put_in_place(place);
	CHECK(row->change() == 0);
	calls = space.calls;
	if (place == TAKEN)
		CHECK(iopf_group_respond(space.group.id, IOPF_SUCCESS) ==
			(row->keeps ? 0 : -ESTALE));
	check_access(row, place);
	if (!row->off || row->change == stop) {
		if (row->off)
			CHECK(iopf_iommu_start(r.iommu) == 0);
		check_later(row);
	}
	if ((!row->keeps && !row->off) || row->moves_handler)
		CHECK(space.calls == calls);
	if (place == TAKEN)
		CHECK(iopf_group_respond(space.group.id, IOPF_SUCCESS) == -ESTALE);
	cell_close();
}

static void
run_row(void **state)
{
	const struct row *row = *state;

	for (unsigned int kind = row->restarts; kind < 2; kind++)
		for (enum place place = 0; place < NB_PLACES; place++) {
			requests = kind;
			/* A stall is one record. A full PRIQ does not hold requests back. */
			if (place == (requests ? HELD : PARTIAL) ||
					row->impossible & PLACE(place))
				continue;
			run_cell(row, place);
		}
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
