/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_FRAMES_H
#define SMMUV3_MODEL_FRAMES_H

/*
 * Page frames as the oracle knows them. The front end only reports its accesses to queues
 * and its MSI writes.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model_log.h"

#define SMMUV3_FRAME_BUCKETS 4096

struct smmuv3_frame_chunk;

struct smmuv3_frames {
	_Atomic(struct smmuv3_frame_chunk *) bucket[SMMUV3_FRAME_BUCKETS];
	atomic_bool used;	/* a frame was given */
	pthread_mutex_t lock;	/* taken to add a chunk */
	struct smmuv3_log *log;	/* the oracle's */
};

struct smmuv3_frame_use {
	const char *what;
	uint64_t va;
	uint32_t sid;
	uint32_t owner;		/* 0: not known */
	bool bypass;		/* not translated: SMMUEN is 0 */
};

void smmuv3_frames_init(struct smmuv3_frames *fs, struct smmuv3_log *log);
void smmuv3_frames_fini(struct smmuv3_frames *fs);
void smmuv3_frames_check(struct smmuv3_frames *fs, const struct smmuv3_frame_use *use,
		uint64_t addr, uint64_t len);
void smmuv3_frames_check_smmu_slow(struct smmuv3_frames *fs, const char *what, uint32_t sid,
		uint64_t va, uint64_t addr, uint64_t len) __attribute__((cold));

static inline bool
smmuv3_frames_are_used(const struct smmuv3_frames *fs)
{
	return __builtin_expect(atomic_load_explicit(&fs->used, memory_order_relaxed), 0);
}

/* Check an access of the SMMU itself to [addr, addr + len), before the access. */
static inline void
smmuv3_frames_check_smmu(struct smmuv3_frames *fs, const char *what, uint32_t sid, uint64_t va,
		uint64_t addr, uint64_t len)
{
	if (smmuv3_frames_are_used(fs))
		smmuv3_frames_check_smmu_slow(fs, what, sid, va, addr, len);
}

#endif /* SMMUV3_MODEL_FRAMES_H */
