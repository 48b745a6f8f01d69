/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_pause.h>

#include "iommu.h"
#include "iopf_iommu.h"
#include "iopf_poller.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "soak.h"
#include "test.h"

#define MAX_SLEEP_MS 30000
/* Idle passes before the poll thread yields. */
#define YIELD_PASSES 16
/* Idle passes before iopf_poller_run() sleeps. */
#define LIBRARY_PASSES 4

/*
 * Severities
 */

static bool
coin(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 63;
}

void
soak_choose(const char *name, uint32_t may, struct smmuv3_model_conf *conf)
{
	conf->seed = test_seed(name);
	soak_choose_by_seed(may, conf);
}

void
soak_choose_by_seed(uint32_t may, struct smmuv3_model_conf *conf)
{
	uint64_t x = conf->seed * UINT64_C(0xd1342543de82ef95) + 1;

	/* The first values of a small seed are too similar. */
	for (unsigned int i = 0; i < 8; i++)
		coin(&x);
	conf->harsh |= SMMUV3_MODEL_HARSH_ALL;
	for (uint32_t bit = 1; bit <= may && bit != 0; bit <<= 1)
		if (may & bit && coin(&x))
			conf->harsh |= bit;
	if (coin(&x))
		conf->no_features |= SMMUV3_MODEL_NO_MSI;
}

void
soak_print_severities(const char *name, const struct smmuv3_model *m,
		const struct smmuv3_model_conf *conf)
{
	uint32_t harsh = smmuv3_model_harsh(m);

	print_message("%s: STAGs %s, interrupts %s%s%s\n", name,
			harsh & SMMUV3_MODEL_HARSH_STAG_LIFO ? "last in first out" :
			harsh & SMMUV3_MODEL_HARSH_STAG_RANDOM ? "at random" : "in order",
			conf->no_features & SMMUV3_MODEL_NO_MSI ? "wired alone" : "MSIs or wired",
			harsh & SMMUV3_MODEL_HARSH_LEVEL_IRQ ? ", levels" : ", edges",
			harsh & SMMUV3_MODEL_HARSH_GBPA ? ", GBPA cannot abort" : "");
}

void
soak_be_patient(struct iopf_iommu *iommu)
{
	struct smmuv3 *s = iommu->priv;

	s->timeout *= 60;
}

/*
 * The poll thread
 */

static void
leave_sleep(struct soak_poller *p)
{
	int ret = iopf_iommu_idle(p->iommu, -1);
	uint64_t n;

	/* -EINVAL: the IOMMU was stopped meanwhile. */
	p->errors += ret < 0 && ret != -EINVAL;
	/* The IOMMU may not have written. */
	if (read(p->fd, &n, sizeof(n)) < 0)
		return;
}

static void
sleep_once(struct soak_poller *p)
{
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
	int ret = iopf_iommu_idle(p->iommu, p->fd);

	if (ret == 0) {
		p->sleeps++;
		p->missed += poll(&pfd, 1, MAX_SLEEP_MS) != 1;
	}
	p->refused += ret == 1;
	p->errors += ret < 0 && ret != -EINVAL;
	leave_sleep(p);
}

static bool
one_in(struct soak_poller *p, unsigned int n)
{
	return n != 0 && (unsigned int)rand_r(&p->seed) % n == 0;
}

static void *
poll_thread(void *arg)
{
	struct soak_poller *p = arg;
	unsigned int idle = 0;

	if (p->is_library) {
		iopf_poller_run(p->poller);
		return NULL;
	}
	while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
		if (atomic_load_explicit(&p->halted, memory_order_relaxed)) {
			usleep(100);
			continue;
		}
		if (iopf_poll(p->poller) != 0)
			idle = 0;
		/* The mover sets awake, moves a queue, and writes to the eventfd. */
		else if (p->missed == 0 && one_in(p, p->sleep_one_in) &&
				!atomic_load(&p->awake))
			sleep_once(p);
		else if (++idle % YIELD_PASSES == 0)
			sched_yield();
		else
			rte_pause();
		if (one_in(p, p->pause_one_in))
			usleep((unsigned int)rand_r(&p->seed) % 200);
	}
	return NULL;
}

struct iopf_poller *
soak_poller_create(void)
{
	return iopf_poller_create(&(struct iopf_poller_conf){ .name = "soak",
			.idle = IOPF_IDLE_SLEEP, .idle_passes = LIBRARY_PASSES });
}

void
soak_poller_start(struct soak_poller *p)
{
	p->is_library = p->seed % 2 && p->pause_one_in == 0;
	p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(p->fd >= 0);
	atomic_init(&p->stop, false);
	assert_int_equal(pthread_create(&p->thread, NULL, poll_thread, p), 0);
}

void
soak_poller_wake(struct soak_poller *p)
{
	const uint64_t one = 1;

	assert_int_equal(write(p->fd, &one, sizeof(one)), sizeof(one));
}

void
soak_poller_stop(struct soak_poller *p)
{
	atomic_store(&p->stop, true);
	soak_poller_wake(p);
	if (p->is_library)
		iopf_poller_stop(p->poller);
	pthread_join(p->thread, NULL);
	close(p->fd);
	if (p->is_library) {
		p->sleeps = iopf_poller_stat(p->poller, IOPF_POLLER_STAT_SLEEPS);
		p->refused = iopf_poller_stat(p->poller, IOPF_POLLER_STAT_REFUSED);
	}
	print_message("%s: %llu sleeps, %llu refused\n",
			p->is_library ? "iopf_poller_run()" : "poll thread of the soak",
			(unsigned long long)p->sleeps, (unsigned long long)p->refused);
	assert_int_equal(0, p->missed);
	assert_int_equal(0, p->errors);
}

void
soak_power_cycle(struct soak_poller *p, struct smmuv3_model *m)
{
	assert_int_equal(iopf_iommu_stop(p->iommu), 0);
	assert_int_equal(smmuv3_model_power_off(m), 0);
	/* Time in which another thread could access a register. */
	usleep((unsigned int)rand() % 200);
	assert_int_equal(smmuv3_model_power_on(m), 0);
	assert_int_equal(iopf_iommu_start(p->iommu), 0);
	soak_poller_wake(p);
}
