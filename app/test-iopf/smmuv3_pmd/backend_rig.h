/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BACKEND_RIG_H
#define BACKEND_RIG_H

/*
 * A model, and the device string that opens the driver on it: "model=NAME", or with
 * IOPF_TEST_BACKEND=page in the environment "page=FILE", so that driver and model share nothing but
 * a page file. A model without a thread steps in the driver's waits in both cases: where the driver
 * lets the other process run, by sched_yield(), this process steps the model.
 * With IOPF_TEST_BACKEND=relay the page file is that of a virtual SMMU, and the model is the host's:
 * see relay_rig.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smmuv3_model.h"
#include "smmuv3_model_page.h"

struct backend_rig {
	struct smmuv3_model *m;
	char devstr[64];		/* without the driver's name */
	bool is_page;
	struct smmuv3_model_page page;
	void *memory;
	struct relay_rig *relay;
};

/* Functions of relay_rig.h, where it is linked. */
struct backend_rig_relay {
	const char *(*find_missing)(const struct smmuv3_model_conf *conf);
	struct smmuv3_model_conf (*make_host_conf)(const struct smmuv3_model_conf *conf);
	struct relay_rig *(*create)(struct smmuv3_model *m, const struct smmuv3_model_conf *conf,
			const struct smmuv3_model_page *page);
	void (*destroy)(struct relay_rig *r);
	/* Let the virtual SMMU of this model run, if it has one. */
	void (*yield)(struct smmuv3_model *m);
};
extern const struct backend_rig_relay *backend_rig_relay;

/* IOPF_TEST_BACKEND=relay. */
bool backend_rig_is_relay(void);
/* Would a test with this SMMU be skipped? For tests of many SMMUs. */
bool backend_rig_lacks(const struct smmuv3_model_conf *conf);

/* @p name: the model's, or NULL for a new one. */
struct smmuv3_model *backend_rig_create(struct backend_rig *r, const struct smmuv3_model_conf *conf,
		const char *name);
/* After the open of the driver: zeroed memory that iopf_dma_map() accepts, once. 64 KiB aligned. */
void *backend_rig_alloc(struct backend_rig *r, size_t len);
/* Destroy the model, after the close of the driver. */
void backend_rig_destroy(struct backend_rig *r);

/* Skip a test of what page files do not have: @p why. */
void backend_rig_skip_page(const char *why);

#endif /* BACKEND_RIG_H */
