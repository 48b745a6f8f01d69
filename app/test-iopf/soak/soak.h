/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SOAK_H
#define SOAK_H

/*
 * Helpers that the soaks share: severities of the model chosen by a seed, and a poll thread that
 * sleeps.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>

#include "smmuv3_model.h"

/*
 * Choose a seed for @p conf, and severities by that seed: always HARSH_ALL, MSIs or not, and each
 * bit of @p may or not.
 */
void soak_choose(const char *name, uint32_t may, struct smmuv3_model_conf *conf);
/* The same with the seed in @p conf. */
void soak_choose_by_seed(uint32_t may, struct smmuv3_model_conf *conf);
/* Print the severities of @p m, which was created with @p conf. */
void soak_print_severities(const char *name, const struct smmuv3_model *m,
		const struct smmuv3_model_conf *conf);

/*
 * Have the driver wait a minute for the SMMU instead of a second. On a machine under load the
 * model's thread can be without a processor for more than a second.
 */
void soak_be_patient(struct iopf_iommu *iommu);

/*
 * A poll thread. After some passes that found nothing it sleeps until the IOMMU writes to its
 * eventfd. A sleep of 30 s counts as a missed wake-up. With an odd seed and without pauses it is
 * iopf_poller_run() that polls and sleeps; a missed wake-up is then a soak that hangs.
 */
struct soak_poller {
	struct iopf_poller *poller;
	struct iopf_iommu *iommu;
	bool is_library;		/* iopf_poller_run(); set by soak_poller_start() */
	unsigned int pause_one_in;	/* passes; so that queues fill [never] */
	unsigned int sleep_one_in;	/* passes that found nothing [never] */
	uint32_t seed;
	_Atomic bool awake;		/* it must not sleep: it may not have all queues */
	_Atomic bool halted;		/* it does not poll */

	pthread_t thread;
	_Atomic bool stop;
	int fd;
	uint64_t sleeps, refused;	/* refused: there was work to do */
	uint64_t missed, errors;
};

/* A poller for both kinds of thread. */
struct iopf_poller *soak_poller_create(void);
void soak_poller_start(struct soak_poller *p);
/* Write to the eventfd: a stop or a start of the IOMMU ends a sleep and does not write. */
void soak_poller_wake(struct soak_poller *p);
/* End the thread. Fail the test if a wake-up was missed. */
void soak_poller_stop(struct soak_poller *p);

/*
 * Cycle the power between iopf_iommu_stop() and iopf_iommu_start(). Without power an access to a
 * register is a SIGSEGV.
 */
void soak_power_cycle(struct soak_poller *p, struct smmuv3_model *m);

#endif /* SOAK_H */
