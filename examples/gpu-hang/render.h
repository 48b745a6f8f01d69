/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RENDER_H
#define RENDER_H

/*
 * The context that hangs. Its shader has many lanes, each of which writes one pixel, all at once.
 * With a wrong pointer all of them fault.
 */

#include <stdbool.h>
#include <stdint.h>

#include "gpu.h"
#include "vm.h"

struct render;

struct render_conf {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct smmuv3_model *model;
	uint32_t sid;
	uint32_t pasid;
	uint32_t lanes;
	uint32_t breaker;	/* as of struct vm_conf */
};

struct render_stats {
	uint64_t frames;
	uint64_t wrong;		/* pixels that the CPU found wrong */
	struct vm_stats vm;
};

/* Returns NULL after one line on stderr. */
struct render *render_open(const struct render_conf *conf);

/* After an access that never ends: stop the IOMMU first. */
void render_close(struct render *render);

/* Begin a frame, after the end of the one before it. */
void render_begin(struct render *render);

/*
 * Begin a frame whose shader has a wrong pointer. With @p replay each lane tries again and again
 * until render_kill().
 */
void render_begin_wrong(struct render *render, bool replay);
void render_kill(struct render *render);

/* Work a little. Returns the accesses that have ended. */
unsigned int render_poll(struct render *render);

/* The frame has ended, and the CPU has checked its pixels. */
bool render_is_idle(const struct render *render);

/* The GPU and its runtime have found that the context hangs. */
bool render_is_hung(const struct render *render);

/* The context's address space, for its reset after a frame that hung and ended. */
struct vm *render_vm(const struct render *render);

void render_get_stats(const struct render *render, struct render_stats *stats);
const struct gpu_stats *render_gpu_stats(const struct render *render);

#endif /* RENDER_H */
