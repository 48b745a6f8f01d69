/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The control threads of the soak. Each chooses at random what it does next, and lets the other
 * threads run in between.
 */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include "fire.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "test.h"

/*
 * Devices and seats
 */

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	const struct fire_dev *d = ctx;

	FIRE_CHECK(retry->sid == d->fn.sid, "%s: SID %u", iopf_dev_name(dev), retry->sid);
	fire_count(&fire.n.retries);
}

void
fire_dev_add(struct fire_dev *d)
{
	struct iopf_dev_conf conf = {
		.sids = &d->fn.sid,
		.nb_sids = 1,
		.nb_pasids = FIRE_SEATS,
		.ctx = d,
	};
	struct iopf_dev_limits limits;

	if (d->kind == FIRE_PRI || fire_pick(4) == 0)
		conf.wait_ms = 30 + fire_pick(200);
	/* Sometimes less than a device needs to drain. */
	if (d->kind == FIRE_PRI && fire_pick(4) == 0)
		conf.wait_ms = 1 + fire_pick(3);
	conf.limits = fire_choose_limits(d, &limits);
	conf.merge_events = fire_pick(2) != 0;
	if (d->kind == FIRE_RETRY) {
		conf.recover = IOPF_TERMINATE;
		conf.ops.retry = on_retry;
	} else if (d->kind == FIRE_PRI) {
		conf.recover = IOPF_PRI;
		conf.pri_requests = 24;
		conf.pri_overcommit = true;
		conf.pci = &pcie_fn_ops;
	}
	atomic_store(&d->is_back, false);
	d->fn.dev = iopf_dev_add(fire.iommu, &conf);
	FIRE_CHECK(d->fn.dev != NULL, "SID %u: %s", d->fn.sid, rte_strerror(rte_errno));
}

static void
change_tenure(struct fire_seat *seat, uint32_t owner)
{
	uint64_t nb = (atomic_load(&seat->tenure) >> 32) + 1;

	atomic_store(&seat->tenure, nb << 32 | owner);
	smmuv3_model_dma_owner(seat->dma, owner);
}

/*
 * The call is to be repeated: it took too long, or ATC_INVs failed several times in a row, perhaps
 * since another device's ATC is dead.
 */
static bool
is_to_repeat(const struct fire_dev *d, int ret)
{
	if (ret != -ETIMEDOUT && (ret != -EIO || d->kind != FIRE_PRI))
		return false;
	fire_count(&fire.n.timeouts);
	return true;
}

static void
leave_seat(struct fire_seat *seat)
{
	seat->space = NULL;
	atomic_store(&seat->aim, NULL);
	change_tenure(seat, FIRE_NO_OWNER);
}

/* If the attach fails, the undo may be left: the caller detaches. */
int
fire_attach(struct fire_seat *seat, struct fire_space *s)
{
	int ret;

	if (!fire_space_fits(s, seat))
		return 0;
	change_tenure(seat, atomic_load(&s->owner));
	atomic_store(&seat->aim, s);
	if (s->managed)
		ret = mmem_attach(s->mmem, seat->dev->fn.dev, seat->pasid);
	else
		ret = iopf_domain_attach(s->domain, seat->dev->fn.dev, seat->pasid);
	seat->space = s;
	fire_count(ret == 0 ? &fire.n.attaches : &fire.n.refused);
	return ret;
}

void
fire_detach(struct fire_seat *seat)
{
	struct fire_space *s = seat->space;
	uint64_t begin = rte_rdtsc();
	int ret;

	if (s == NULL)
		return;
	do {
		if (s->managed)
			ret = mmem_detach(s->mmem, seat->dev->fn.dev, seat->pasid);
		else
			ret = iopf_domain_detach(s->domain, seat->dev->fn.dev, seat->pasid);
		if (fire_is_late(begin))
			fire_hang("a detach");
	} while (is_to_repeat(seat->dev, ret));
	FIRE_CHECK(ret == 0, "SID %u PASID %u: %d", seat->dev->fn.sid, seat->pasid, ret);
	leave_seat(seat);
	fire_count(&fire.n.detaches);
}

void
fire_detach_all(void)
{
	for (unsigned int i = 0; i < FIRE_DEVS; i++)
		for (unsigned int k = 0; k < FIRE_SEATS; k++)
			fire_detach(&fire.dev[i].seat[k]);
}

void
fire_attach_all(void)
{
	for (unsigned int i = 0; i < FIRE_DEVS; i++)
		for (unsigned int k = 0; k < FIRE_SEATS; k++) {
			struct fire_seat *seat = &fire.dev[i].seat[k];
			int ret = fire_attach(seat, fire_choose_space(seat));

			FIRE_CHECK(ret == 0, "%d", ret);
		}
}

static void
change_seat(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	struct fire_seat *seat = &d->seat[fire_pick(FIRE_SEATS)];
	struct fire_space *s = fire_choose_space(seat);
	int ret;

	pthread_rwlock_rdlock(&d->lock);
	pthread_mutex_lock(&seat->lock);
	fire_detach(seat);
	/* Most of the time a device is attached. */
	if (fire_pick(8) != 0 && !atomic_load(&s->retiring)) {
		ret = fire_attach(seat, s);
		/* A group that no thread answers keeps PRI off until its PASID is detached. */
		FIRE_CHECK(ret == 0 || (d->kind == FIRE_PRI && is_to_repeat(d, ret)),
				"SID %u PASID %u: %d", d->fn.sid, seat->pasid, ret);
		if (ret < 0)
			fire_detach(seat);
	}
	pthread_mutex_unlock(&seat->lock);
	pthread_rwlock_unlock(&d->lock);
}

/* Both handlers and both address spaces are allowed until it returns. */
static void
replace_seat(struct fire_seat *seat, struct fire_space *s)
{
	uint64_t begin = rte_rdtsc();
	int ret;

	atomic_store(&seat->next_owner, atomic_load(&s->owner));
	smmuv3_model_dma_owner(seat->dma, 0);
	do {
		ret = iopf_domain_replace(s->domain, seat->dev->fn.dev, seat->pasid);
		if (fire_is_late(begin))
			fire_hang("a replace");
	} while (is_to_repeat(seat->dev, ret));
	FIRE_CHECK(ret == 0, "SID %u PASID %u: %d", seat->dev->fn.sid, seat->pasid, ret);
	seat->space = s;
	atomic_store(&seat->aim, s);
	change_tenure(seat, atomic_load(&s->owner));
	atomic_store(&seat->next_owner, 0);
	fire_count(&fire.n.replaces);
}

/* Domains of lib/mmem have other addresses: an access of the old domain would abort. */
static void
replace_any(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	struct fire_seat *seat = &d->seat[fire_pick(FIRE_SEATS)];
	struct fire_space *s = &fire.space[fire_pick(FIRE_STAGE1)];

	pthread_rwlock_rdlock(&d->lock);
	pthread_mutex_lock(&seat->lock);
	if (seat->space != NULL && !seat->space->managed && !seat->space->stage2 &&
			!atomic_load(&s->retiring))
		replace_seat(seat, s);
	pthread_mutex_unlock(&seat->lock);
	pthread_rwlock_unlock(&d->lock);
}

void
fire_free_seat(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	struct fire_seat *seat = &d->seat[fire_pick(FIRE_SEATS)];

	pthread_rwlock_rdlock(&d->lock);
	pthread_mutex_lock(&seat->lock);
	fire_detach(seat);
	pthread_mutex_unlock(&seat->lock);
	pthread_rwlock_unlock(&d->lock);
}

static void
change_dev(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	uint64_t begin = rte_rdtsc();
	int ret;

	pthread_rwlock_wrlock(&d->lock);
	do {
		ret = iopf_dev_remove(d->fn.dev);
		if (fire_is_late(begin))
			fire_hang("a removal");
	} while (is_to_repeat(d, ret));
	FIRE_CHECK(ret == 0, "SID %u: %d", d->fn.sid, ret);
	for (unsigned int k = 0; k < FIRE_SEATS; k++)
		leave_seat(&d->seat[k]);
	if (fire_pick(2) == 0)
		usleep(fire_pick(2000));
	fire_dev_add(d);
	pthread_rwlock_unlock(&d->lock);
	fire_count(&fire.n.removals);
}

void
fire_renew_devs(void)
{
	for (unsigned int i = 0; i < FIRE_DEVS; i++) {
		FIRE_CHECK(iopf_dev_remove(fire.dev[i].fn.dev) == 0, "%u", i);
		fire_dev_add(&fire.dev[i]);
	}
}

/* The endpoint's ATC does not answer until the driver of the device resets it. */
static void
kill_atc(void)
{
	struct fire_dev *d = &fire.dev[FIRE_FIRST_PRI + fire_pick(FIRE_NB_PRI)];

	if (pthread_mutex_trylock(&fire.power) != 0)
		return;
	pthread_rwlock_wrlock(&d->lock);
	smmuv3_model_dma_quirks(d->fn.dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	for (unsigned int k = 0; k < FIRE_SEATS; k++)
		if (d->seat[k].space != NULL)
			fire_space_unmap(d->seat[k].space, false);
	smmuv3_model_dma_reset(d->fn.dma[0]);
	smmuv3_model_dma_quirks(d->fn.dma[0], 0, 0);
	for (unsigned int k = 0; k < FIRE_SEATS; k++)
		fire_detach(&d->seat[k]);
	/* The next attach switches its PRI on, and the end of a quarantine need not. */
	atomic_store(&d->is_back, false);
	pthread_rwlock_unlock(&d->lock);
	pthread_mutex_unlock(&fire.power);
	fire_count(&fire.n.cuts);
}

static void
restart_pri(void)
{
	struct fire_dev *d = &fire.dev[FIRE_FIRST_PRI + fire_pick(FIRE_NB_PRI)];
	int ret;

	if (!smmuv3_model_dma_pri_failed(d->fn.dma[0]))
		return;
	pthread_rwlock_rdlock(&d->lock);
	ret = iopf_dev_pri_restart(d->fn.dev);
	/* -EBUSY: it is quarantined. */
	FIRE_CHECK(ret == 0 || ret == -ENOTCONN || ret == -ETIMEDOUT || ret == -EIO ||
			ret == -EBUSY, "%d", ret);
	pthread_rwlock_unlock(&d->lock);
	if (ret == 0)
		fire_count(&fire.n.pri_restarts);
}

/*
 * Spaces
 */

static void
unmap_space(void)
{
	fire_space_unmap(&fire.space[fire_pick(FIRE_SPACES)], true);
}

static void
change_space(void)
{
	struct fire_space *s = &fire.space[fire_pick(FIRE_SPACES)];

	if (atomic_exchange(&s->retiring, true))
		return;
	/* An attach under a seat's lock has ended before, or finds retiring. */
	for (unsigned int i = 0; i < FIRE_DEVS; i++) {
		struct fire_dev *d = &fire.dev[i];

		pthread_rwlock_rdlock(&d->lock);
		for (unsigned int k = 0; k < FIRE_SEATS; k++) {
			pthread_mutex_lock(&d->seat[k].lock);
			if (d->seat[k].space == s)
				fire_detach(&d->seat[k]);
			pthread_mutex_unlock(&d->seat[k].lock);
		}
		pthread_rwlock_unlock(&d->lock);
	}
	pthread_rwlock_wrlock(&s->life);
	fire_space_destroy(s);
	fire_space_create(s);
	pthread_rwlock_unlock(&s->life);
	atomic_store(&s->retiring, false);
	fire_count(&fire.n.spaces);
}

/*
 * Threads of the application that stop, and pollers
 */

static void
move_queue(void)
{
	unsigned int q = fire_pick(2), from, to;
	int ret;

	pthread_mutex_lock(&fire.moving);
	from = fire.poller_of[q];
	to = 1 - from;
	/* Only a thread with all queues may sleep: an IOMMU has one eventfd. */
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		atomic_store(&fire.poller[i].awake, true);
	ret = iopf_poller_remove(fire.poller[from].poller, fire.iommu, q);
	FIRE_CHECK(ret == 0, "%d", ret);
	if (fire_pick(4) == 0)
		usleep(fire_pick(500));
	ret = iopf_poller_add(fire.poller[to].poller, fire.iommu, q);
	FIRE_CHECK(ret == 0, "%d", ret);
	fire.poller_of[q] = to;
	if (fire.poller_of[0] == fire.poller_of[1])
		atomic_store(&fire.poller[to].awake, false);
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		soak_poller_wake(&fire.poller[i]);
	pthread_mutex_unlock(&fire.moving);
	fire_count(&fire.n.moves);
}

static void
hold_for_a_while(_Atomic bool *flag, unsigned int us)
{
	atomic_store(flag, true);
	usleep(fire_pick(us));
	atomic_store(flag, false);
}

static void
halt_poller(void)
{
	hold_for_a_while(&fire.poller[fire_pick(FIRE_POLLERS)].halted, 30000);
	fire_count(&fire.n.halts);
}

static void
hold_worker(void)
{
	hold_for_a_while(&fire.hold, 30000);
	fire_count(&fire.n.holds);
}

/*
 * Storms
 */

static void
begin_storm(void)
{
	unsigned int i = fire_pick(FIRE_DEVS + FIRE_GHOSTS);

	if (i < FIRE_DEVS)
		hold_for_a_while(&fire.dev[i].seat[fire_pick(FIRE_SEATS)].storm, 20000);
	else
		hold_for_a_while(&fire.ghost[i - FIRE_DEVS].storm, 20000);
	fire_count(&fire.n.storms);
}

static void
begin_hog(void)
{
	hold_for_a_while(&fire.space[fire_pick(FIRE_OWN)].hog, 10000);
	fire_count(&fire.n.hogs);
}

/*
 * The SMMU
 */

static void
lose_records(void)
{
	smmuv3_model_knob(fire.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1 + fire_pick(3));
	fire_count(&fire.n.losses);
}

static void
abort_writes(void)
{
	smmuv3_model_knob(fire.m, fire_pick(2) != 0 ? SMMUV3_MODEL_KNOB_PRIQ_ABORT :
			SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	fire_count(&fire.n.aborts);
}

static bool
has_pri_drained(void)
{
	for (unsigned int i = FIRE_FIRST_PRI; i < FIRE_FIRST_PRI + FIRE_NB_PRI; i++)
		if (!smmuv3_model_dma_pri_drained(fire.dev[i].fn.dma[0]))
			return false;
	return true;
}

static void
cycle_power(void)
{
	/* After the power is on, and before the start, accesses bypass the SMMU. */
	atomic_store(&fire.quiet, true);
	for (unsigned int i = FIRE_OWN; i < FIRE_SPACES; i++)
		fire_space_wait(&fire.space[i]);
	/* A stop waits for a second only: with less time groups may be left. */
	if (has_pri_drained()) {
		FIRE_CHECK(smmuv3_model_power_off(fire.m) == 0, "off");
		usleep(fire_pick(500));
		FIRE_CHECK(smmuv3_model_power_on(fire.m) == 0, "on");
		fire_count(&fire.n.cycles);
	}
}

static void
stop_and_start(void)
{
	int ret;

	if (pthread_mutex_trylock(&fire.power) != 0)
		return;
	ret = iopf_iommu_stop(fire.iommu);
	FIRE_CHECK(ret == 0, "%d", ret);
	if (fire_pick(2) == 0)
		cycle_power();
	else
		usleep(fire_pick(500));
	ret = iopf_iommu_start(fire.iommu);
	FIRE_CHECK(ret == 0, "%d", ret);
	atomic_store(&fire.quiet, false);
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		soak_poller_wake(&fire.poller[i]);
	pthread_mutex_unlock(&fire.power);
	fire_count(&fire.n.stops);
}

static void
dump_iommu(void)
{
	FILE *f = fopen("/dev/null", "w");

	if (f == NULL)
		return;
	iopf_iommu_dump(fire.iommu, f);
	fclose(f);
}

/* What a control thread does, and how often among the others. */
static const struct {
	void (*run)(void);
	unsigned int weight;
} deeds[] = {
	{ unmap_space, 200 },
	{ change_seat, 200 },
	{ replace_any, 100 },
	{ fire_bypass, 40 },
	{ fire_rearm, 100 },
	{ fire_quarantine, 5 },
	{ fire_set_handler, 40 },
	{ fire_listen_to_dev, 5 },
	{ change_dev, 15 },
	{ change_space, 10 },
	{ move_queue, 20 },
	{ halt_poller, 3 },
	{ hold_worker, 3 },
	{ begin_storm, 10 },
	{ begin_hog, 3 },
	{ lose_records, 5 },
	{ abort_writes, 5 },
	{ restart_pri, 10 },
	{ kill_atc, 3 },
	{ stop_and_start, 3 },
	{ dump_iommu, 2 },
};

void *
fire_control(void *arg)
{
	/* The first thread begins with all of them, so that each round has each. */
	unsigned int sum = 0, first = arg != NULL ? RTE_DIM(deeds) : 0;

	for (unsigned int i = 0; i < RTE_DIM(deeds); i++)
		sum += deeds[i].weight;
	while (!atomic_load(&fire.stop_control)) {
		unsigned int n = fire_pick(sum), i = 0;

		for (; n >= deeds[i].weight; i++)
			n -= deeds[i].weight;
		if (first < RTE_DIM(deeds))
			i = first++;
		deeds[i].run();
		if (fire_pick(8) == 0)
			usleep(fire_pick(200));
		else
			sched_yield();
	}
	return NULL;
}
