/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ARRAYS_WORLD_H
#define ARRAYS_WORLD_H

/*
 * A random world for invalidation arrays: a model whose commands are traced, the driver on it, a
 * domain, and endpoints with ATCs attached to it. Half of the models have a thread, and then there
 * is another thread that invalidates without pause in a domain of its own.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ats_rig.h"
#include "cmd_trace.h"
#include "inval_check.h"

#define MAX_DEVS 5

struct endpoint {
	void *dev;
	struct iopf_dev *named;
	struct smmuv3_model_dma *dma;
	uint32_t sid;
	unsigned int nb_pasids;
	bool dead;		/* it answers no ATC_INV */
	bool cut;		/* the driver has cut it off */
};

struct arrays_world {
	struct pmd p;
	struct smmuv3_model_conf conf;
	struct cmd_trace trace;
	struct check_domain check;
	void *domain;
	void *parent;		/* of a nested domain; or NULL */
	struct endpoint ep[MAX_DEVS];
	unsigned int nb_eps;
	bool ats, threaded;
	uint64_t seed;		/* of all choices */
};
extern struct arrays_world w;

/* Below @p n. */
unsigned int pick(unsigned int n);
bool one_in(unsigned int n);

void world_open(uint32_t seed);
void world_close(void);
/* The device driver resets an endpoint that was cut off, and attaches it again. */
void world_revive(struct endpoint *e);
/* For a message: what is needed to have this world again. */
const char *world_describe(void);
unsigned int endpoint_count_pasids(const struct endpoint *e);
uint32_t endpoint_get_pasid(const struct endpoint *e, unsigned int i);

#endif /* ARRAYS_WORLD_H */
