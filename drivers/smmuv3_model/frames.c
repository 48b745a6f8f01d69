/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page frames as the oracle knows them: given to an owner, or freed. A frame that was never
 * given is not checked.
 *
 * Allocators write the states (any thread), the stepping thread reads them. An allocator
 * gives a frame before a descriptor points at it and frees it after a SYNC completed. The
 * releases and acquires of descriptors and CONS therefore order the states as well.
 */

#include <errno.h>
#include <stdlib.h>

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_frames.h"
#include "model_log.h"

#define CHUNK_LOG2	9	/* frames of one chunk: 2 MiB */
#define CHUNK_FRAMES	(UINT64_C(1) << CHUNK_LOG2)

/* The state of a frame. 0: never given. */
#define FRAME_FREED	UINT64_C(1)
#define FRAME_GIVEN	UINT64_C(2)
#define FRAME_OWNER	32	/* shift of the owner, which a freed frame keeps */

struct smmuv3_frame_chunk {
	struct smmuv3_frame_chunk *next;
	uint64_t number;		/* frame number >> CHUNK_LOG2 */
	_Atomic uint64_t state[CHUNK_FRAMES];
};

static _Atomic(struct smmuv3_frame_chunk *) *
bucket_of(struct smmuv3_frames *fs, uint64_t number)
{
	return &fs->bucket[number % SMMUV3_FRAME_BUCKETS];
}

static struct smmuv3_frame_chunk *
chunk_find(struct smmuv3_frames *fs, uint64_t number)
{
	/* Pairs with the release in chunk_get(): the chunk is initialized. */
	struct smmuv3_frame_chunk *c = atomic_load_explicit(bucket_of(fs, number),
			memory_order_acquire);

	while (c != NULL && c->number != number)
		c = c->next;
	return c;
}

static struct smmuv3_frame_chunk *
chunk_get(struct smmuv3_frames *fs, uint64_t number)
{
	_Atomic(struct smmuv3_frame_chunk *) *bucket = bucket_of(fs, number);
	struct smmuv3_frame_chunk *c;

	pthread_mutex_lock(&fs->lock);
	c = chunk_find(fs, number);
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c != NULL) {
			c->number = number;
			c->next = atomic_load_explicit(bucket, memory_order_relaxed);
			/* Pairs with the acquire in chunk_find(). */
			atomic_store_explicit(bucket, c, memory_order_release);
			atomic_store_explicit(&fs->used, true, memory_order_release);
		}
	}
	pthread_mutex_unlock(&fs->lock);
	return c;
}

void
smmuv3_frames_init(struct smmuv3_frames *fs, struct smmuv3_log *log)
{
	fs->log = log;
	pthread_mutex_init(&fs->lock, NULL);
}

void
smmuv3_frames_fini(struct smmuv3_frames *fs)
{
	for (unsigned int i = 0; i < SMMUV3_FRAME_BUCKETS; i++) {
		struct smmuv3_frame_chunk *c, *next;

		c = atomic_load_explicit(&fs->bucket[i], memory_order_relaxed);
		for (; c != NULL; c = next) {
			next = c->next;
			free(c);
		}
	}
	pthread_mutex_destroy(&fs->lock);
}

void
smmuv3_frames_check(struct smmuv3_frames *fs, const struct smmuv3_frame_use *use, uint64_t addr,
		uint64_t len)
{
	uint64_t last = (addr + len - 1) >> SMMUV3_PAGE_SHIFT;

	for (uint64_t n = addr >> SMMUV3_PAGE_SHIFT; n <= last; n++) {
		struct smmuv3_frame_chunk *c = chunk_find(fs, n >> CHUNK_LOG2);
		uint64_t state;
		uint32_t owner;

		if (c == NULL)
			continue;
		/* Pairs with the release in change_frames(). */
		state = atomic_load_explicit(&c->state[n % CHUNK_FRAMES], memory_order_acquire);
		owner = (uint32_t)(state >> FRAME_OWNER);
		if (state & FRAME_FREED)
			smmuv3_log_add(fs->log, "%s of SID %u at VA 0x%llx reached frame 0x%llx, "
					"which owner %u freed before", use->what, use->sid,
					(unsigned long long)use->va,
					(unsigned long long)(n << SMMUV3_PAGE_SHIFT), owner);
		else if (state & FRAME_GIVEN && use->bypass)
			smmuv3_log_add(fs->log, "%s of SID %u reached frame 0x%llx of owner %u "
					"untranslated, while SMMUEN is 0", use->what, use->sid,
					(unsigned long long)(n << SMMUV3_PAGE_SHIFT), owner);
		else if (state & FRAME_GIVEN && use->owner != 0 && owner != 0 &&
				use->owner != owner)
			smmuv3_log_add(fs->log, "%s of SID %u at VA 0x%llx, for owner %u, reached "
					"frame 0x%llx of owner %u", use->what, use->sid,
					(unsigned long long)use->va, use->owner,
					(unsigned long long)(n << SMMUV3_PAGE_SHIFT), owner);
	}
}

void
smmuv3_frames_check_smmu_slow(struct smmuv3_frames *fs, const char *what, uint32_t sid, uint64_t va,
		uint64_t addr, uint64_t len)
{
	smmuv3_frames_check(fs, &(struct smmuv3_frame_use){ .what = what, .sid = sid, .va = va },
			addr, len);
}

/* Change the state of all frames if each is (@p was) given, or each is not (0). */
static int
change_frames(struct smmuv3_frames *fs, uint64_t addr, uint64_t len, uint64_t was, uint64_t state)
{
	uint64_t first = addr >> SMMUV3_PAGE_SHIFT, end = (addr + len) >> SMMUV3_PAGE_SHIFT;

	for (int write = 0; write < 2; write++)
		for (uint64_t n = first; n < end; n++) {
			struct smmuv3_frame_chunk *c = chunk_find(fs, n >> CHUNK_LOG2);
			_Atomic uint64_t *s;
			uint64_t old;

			if (c == NULL)
				c = chunk_get(fs, n >> CHUNK_LOG2);
			if (c == NULL)
				return -ENOMEM;
			s = &c->state[n % CHUNK_FRAMES];
			old = atomic_load_explicit(s, memory_order_relaxed);
			if (!write && (old & FRAME_GIVEN) != was)
				return was ? -ENOENT : -EEXIST;
			if (write)
				atomic_store_explicit(s, state == FRAME_FREED ?
						(old & ~FRAME_GIVEN) | FRAME_FREED : state,
						memory_order_release);
		}
	return 0;
}

static bool
are_whole_frames(uint64_t addr, size_t len)
{
	return len != 0 && ((addr | len) & SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0)) == 0 &&
		addr + len > addr;
}

int
smmuv3_model_frame_give(struct smmuv3_model *m, uint64_t addr, size_t len, uint32_t owner)
{
	if (m == NULL || !are_whole_frames(addr, len))
		return -EINVAL;
	return change_frames(&m->frames, addr, len, 0,
			FRAME_GIVEN | (uint64_t)owner << FRAME_OWNER);
}

int
smmuv3_model_frame_free(struct smmuv3_model *m, uint64_t addr, size_t len)
{
	if (m == NULL || !are_whole_frames(addr, len))
		return -EINVAL;
	return change_frames(&m->frames, addr, len, FRAME_GIVEN, FRAME_FREED);
}

void
smmuv3_model_dma_owner(struct smmuv3_model_dma *dma, uint32_t owner)
{
	if (dma != NULL)
		atomic_store_explicit(&dma->owner, owner, memory_order_release);
}
