/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SOAK_H
#define SOAK_H

/* What the soaks have in common: severities chosen by a seed, and a poll thread that sleeps. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>

#include "smmuv3_model.h"

/*
 * A seed for @p conf, and severities by that seed: HARSH_ALL always, with or without MSIs, and
 * each bit of @p may or not.
 */
void soak_choose(const char *name, uint32_t may, struct smmuv3_model_conf *conf);
/* Print what @p m, made with @p conf, is. */
void soak_print_severities(const char *name, const struct smmuv3_model *m,
		const struct smmuv3_model_conf *conf);

/*
 * A thread that polls. When a pass found nothing it sleeps now and then, until the IOMMU writes
 * to its eventfd. A sleep of 30 s is a wake-up that did not come.
 */
struct soak_poller {
	struct iopf_poller *poller;
	struct iopf_iommu *iommu;
	unsigned int pause_one_in;	/* passes; so that queues fill [never] */
	unsigned int sleep_one_in;	/* passes that found nothing [never] */
	uint32_t seed;

	pthread_t thread;
	_Atomic bool stop;
	int fd;
	uint64_t sleeps, refused;	/* refused: there was something to do */
	uint64_t missed, errors;
};

void soak_poller_start(struct soak_poller *p);
/* A stop or a start of the IOMMU ends a sleep and does not write to the eventfd: this does. */
void soak_poller_wake(struct soak_poller *p);
/* Ends the thread; fails the test if a wake-up was missed. */
void soak_poller_stop(struct soak_poller *p);

/* Between iopf_iommu_stop() and iopf_iommu_start() any access of a register is a SIGSEGV. */
void soak_power_cycle(struct soak_poller *p, struct smmuv3_model *m);

#endif /* SOAK_H */
