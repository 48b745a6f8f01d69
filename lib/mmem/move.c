/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Moves a region to other frames: mmem_move.h, mmem_frame.h.
 *
 * A handler reads the chunk's device address and then swaps the entry. So the entries are opened
 * only after the address has changed and iopf_quiesce() has returned: a handler that read the old
 * address before met a closed entry. And the copy begins only after the entries are closed and
 * iopf_quiesce() has returned: no handler zeroes a page (access.c) behind the copy.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_cpu_move.h"
#include "mmem_fetch.h"
#include "mmem_frame.h"
#include "mmem_move.h"
#include "mmem_pager.h"
#include "mmem_populate.h"
#include "mmem_space.h"
#include "mmem_sync.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

struct mover {
	struct mmem_region *region;
	struct mmem_space *space;
	struct mmem_pool *pool;
	size_t chunk;			/* that moves */
	size_t spare;			/* whose frame it gets */
	int node;
	uint8_t *staged;		/* a mapping of that frame for the CPU's view, or NULL */
};

/* No thread uses the memory of the region's chunk, or will: moving is set. Under pool->lock. */
static bool
chunk_is_quiet(const struct mover *m)
{
	return m->region->nb_open == 0 && m->region->nb_threads == 0 &&
		m->region->nb_leaving == 0 &&
		!(atomic_load_explicit(&m->pool->chunks[m->chunk].state, memory_order_relaxed) &
		CHUNK_BUSY);
}

/*
 * Step 1. Under space->lock, which is released meanwhile; the region stays, as it is syncing.
 * Returns 0, -ETIMEDOUT or -ECANCELED.
 */
static int
chunk_reserve(struct mover *m)
{
	struct timespec until = mmem_ns_to_timespec(mmem_now_ns() +
			m->space->wait_ms * UINT64_C(1000000));
	struct mmem_pool *pool = m->pool;
	int rc = 0;

	mmem_space_unlock(m->space);
	pthread_mutex_lock(&pool->lock);
	m->region->moving = true;
	mmem_region_update_ready(pool, m->region);
	while (!chunk_is_quiet(m) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->changed_cond, &pool->lock, &until);
	rc = chunk_is_quiet(m) ? 0 : -ETIMEDOUT;
	if (rc == 0)
		atomic_fetch_or_explicit(&pool->chunks[m->chunk].state, CHUNK_BUSY | CHUNK_MOVING,
				memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	pthread_mutex_lock(&m->space->lock);
	/* A free begins with this, under space->lock. */
	return rc == 0 && m->region->hidden ? -ECANCELED : rc;
}

/* The end of step 1, in any case. Threads that wait for the chunk continue. */
static void
chunk_unreserve(struct mover *m)
{
	struct mmem_pool *pool = m->pool;
	struct mmem_chunk *chunk = &pool->chunks[m->chunk];

	pthread_mutex_lock(&pool->lock);
	/* Otherwise it is busy for another thread. */
	if (atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_MOVING)
		atomic_fetch_and_explicit(&chunk->state, ~(uint32_t)(CHUNK_BUSY | CHUNK_MOVING),
				memory_order_release);
	m->region->moving = false;
	mmem_region_start_fetches(pool, m->region);
	pthread_cond_broadcast(&pool->changed_cond);
	pthread_mutex_unlock(&pool->lock);
	mmem_cpu_wake(pool, (uint64_t)m->chunk << MMEM_CHUNK_LOG2, MMEM_CHUNK_SIZE);
}

/* From the end, where no region looks first. Returns 0 or -ENOMEM. */
static int
spare_take(struct mover *m)
{
	struct mmem_pool *pool = m->pool;
	size_t i = pool->nb_chunks;
	uint32_t state = 0;

	pthread_mutex_lock(&pool->lock);
	for (; i > 0; i--) {
		state = atomic_load_explicit(&pool->chunks[i - 1].state, memory_order_relaxed);
		if (!(state & CHUNK_TAKEN))
			break;
	}
	if (i > 0)
		atomic_fetch_or_explicit(&pool->chunks[i - 1].state, CHUNK_TAKEN,
				memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	if (i == 0)
		return -ENOMEM;
	m->spare = i - 1;
	/* Pages without contents must have no memory. */
	if (state & CHUNK_DIRTY)
		mmem_zero_chunks(pool, m->spare, 1);
	return 0;
}

/* Return a chunk whose memory is of no use. */
static void
spare_return(struct mover *m)
{
	struct mmem_pool *pool = m->pool;

	mmem_zero_chunks(pool, m->spare, 1);
	mmem_prefer_node(mmem_off_to_dev(pool, (uint64_t)m->spare << MMEM_CHUNK_LOG2),
			MMEM_CHUNK_SIZE, pool->node);
	pthread_mutex_lock(&pool->lock);
	atomic_store_explicit(&pool->chunks[m->spare].state, 0, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
}

/* Is the memory of a page on the node? Returns 0 or -ENOMEM. */
static int
page_check_node(uint8_t *page, int node)
{
	void *pages[1] = { page };
	int status = -1;

	if (node < 0)
		return 0;
	/* Without nodes it only tells. */
	if (syscall(SYS_move_pages, 0, 1ul, pages, NULL, &status, 0) < 0)
		return errno == ENOSYS && node == 0 ? 0 : -errno;
	return status == node ? 0 : -ENOMEM;
}

/* The next part of the chunk that has memory, from *off on. False: there is none. */
static bool
find_part(const struct mover *m, uint64_t *off, size_t *len)
{
	const struct mmem_region *region = m->region;
	uint64_t end = RTE_MIN(((uint64_t)m->chunk + 1) << MMEM_CHUNK_LOG2,
			mmem_region_off(region) + region->size);
	bool has_memory;
	size_t block;

	/* A CPU's write gives a page memory, and the chunk's state does not tell. */
	if (region->blocks == NULL) {
		*len = end - *off;
		return *off < end;
	}
	/* Neither a fetch nor an eviction of the region is under way. */
	for (; *off < end; *off += *len) {
		block = mmem_region_get_block(region, *off);
		*len = mmem_block_len(region, block);
		pthread_mutex_lock(&m->pool->lock);
		has_memory = region->blocks[block].state & BLOCK_RESIDENT;
		pthread_mutex_unlock(&m->pool->lock);
		if (has_memory)
			return true;
	}
	return false;
}

/* Memory for what the chunk has, before anything stops. Returns 0 or -errno. */
static int
spare_populate(struct mover *m)
{
	uint64_t start = (uint64_t)m->chunk << MMEM_CHUNK_LOG2, off = start;
	uint64_t spare = (uint64_t)m->spare << MMEM_CHUNK_LOG2;
	int rc = m->node == MMEM_ANY_NODE ? 0 : mmem_prefer_node(mmem_off_to_dev(m->pool, spare),
			MMEM_CHUNK_SIZE, MMEM_NODE(m->node));
	size_t len;

	for (; rc == 0 && find_part(m, &off, &len); off += len) {
		rc = mmem_populate(m->pool, spare + (off - start), len);
		if (rc == 0)
			rc = page_check_node(mmem_off_to_dev(m->pool, spare + (off - start)),
					m->node);
	}
	return rc;
}

static void
contents_copy(struct mover *m)
{
	uint64_t start = (uint64_t)m->chunk << MMEM_CHUNK_LOG2, off = start;
	uint64_t spare = (uint64_t)m->spare << MMEM_CHUNK_LOG2;
	size_t len;

	for (; find_part(m, &off, &len); off += len)
		memcpy(mmem_off_to_dev(m->pool, spare + (off - start)),
				mmem_off_to_dev(m->pool, off), len);
}

/* Exchange the frames of the two chunks. */
static void
frames_exchange(struct mover *m)
{
	struct mmem_pool *pool = m->pool;
	uint32_t frame = mmem_chunk_get_frame(pool, m->chunk);
	uint32_t spare = mmem_chunk_get_frame(pool, m->spare);

	pthread_mutex_lock(&pool->lock);
	atomic_store_explicit(&pool->frames[m->chunk], spare, memory_order_relaxed);
	atomic_store_explicit(&pool->frames[m->spare], frame, memory_order_relaxed);
	atomic_store_explicit(&pool->chunks[m->chunk].dma, pool->frame_dma[spare],
			memory_order_relaxed);
	atomic_store_explicit(&pool->chunks[m->spare].dma, pool->frame_dma[frame],
			memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
}

/* Give both chunks' places in the CPU's view the other frame. Returns 0 or -errno. */
static int
views_exchange(struct mover *m)
{
	struct mmem_pool *pool = m->pool;
	uint8_t *frame = mmem_off_to_dev(pool, (uint64_t)m->chunk << MMEM_CHUNK_LOG2);
	uint8_t *spare = mmem_off_to_dev(pool, (uint64_t)m->spare << MMEM_CHUNK_LOG2);
	uint8_t *place = pool->mem + (m->spare << MMEM_CHUNK_LOG2);

	/* No region has the spare chunk. */
	if (mremap(frame, 0, MMEM_CHUNK_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED)
		return -errno;
	if (mmem_cpu_place(pool, m->region, (uint64_t)m->chunk << MMEM_CHUNK_LOG2,
			m->staged) == 0) {
		m->staged = NULL;
		return 0;
	}
	if (mremap(spare, 0, MMEM_CHUNK_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED)
		/* It is no region's any more. */
		m->spare = m->pool->nb_chunks;
	return -ENOMEM;
}

/* Steps 2 to 5. Under space->lock. Returns 0 or -errno: the chunk is as before. */
static int
chunk_exchange(struct mover *m)
{
	uint64_t off = (uint64_t)m->chunk << MMEM_CHUNK_LOG2, va = mmem_off_to_va(m->space, off);
	size_t len = RTE_MIN(mmem_region_off(m->region) + m->region->size - off, MMEM_CHUNK_SIZE);
	struct mmem_pool *pool = m->pool;
	int rc, rc_quiesce;

	rc = mmem_range_close(m->space, m->region, va, len);
	if (rc == 0)
		rc = iopf_quiesce();
	if (rc == 0)
		rc = mmem_cpu_hold(pool, m->region, off);
	if (rc == 0) {
		contents_copy(m);
		rc = views_exchange(m);
		if (rc == 0)
			frames_exchange(m);
		else
			mmem_cpu_unhold(pool, m->region, off);
	}
	rc_quiesce = iopf_quiesce();
	pgt_open(m->space->pgt, va, len);
	return rc < 0 ? rc : rc_quiesce;
}

/* Under space->lock, which is released meanwhile. */
static int
chunk_move(struct mover *m)
{
	struct mmem_pool *pool = m->pool;
	int rc;

	rc = chunk_reserve(m);
	if (rc == 0)
		rc = spare_take(m);
	if (rc == 0) {
		rc = spare_populate(m);
		if (rc == 0)
			rc = mmem_cpu_stage(pool, m->region, mmem_off_to_dev(pool,
					(uint64_t)m->spare << MMEM_CHUNK_LOG2), &m->staged);
		if (rc == 0)
			rc = chunk_exchange(m);
		if (m->staged != NULL)
			munmap(m->staged, MMEM_CHUNK_SIZE);
		m->staged = NULL;
		if (m->spare < pool->nb_chunks)
			spare_return(m);
	}
	chunk_unreserve(m);
	return rc;
}

/* Returns 0, or the reason for which no region of the pool can move, logged. */
static int
check_pool(struct mmem_space *space, int node)
{
	int rc;

	if (node < MMEM_ANY_NODE || node >= MMEM_MAX_NODES) {
		MMEM_LOG_LIMITED(space, "node %d of mmem_move(): use a NUMA node, or "
				"MMEM_ANY_NODE", node);
		return -EINVAL;
	}
	if (space->pool->hugepages || space->pool->dev == space->pool->mem) {
		MMEM_LOG_LIMITED(space, "regions of pool %s cannot move: %s", space->pool->name,
				space->pool->hugepages ?
				"it has hugepages: set no_hugepages in its mmem_pool_conf" :
				"allow twice the pool's size of address space and locked memory "
				"(ulimit -v, -l)");
		return -ENOTSUP;
	}
	/* Its threads are woken also if nothing moves. */
	rc = mmem_cpu_start(space->pool);
	if (rc < 0)
		MMEM_LOG_LIMITED(space, "regions of pool %s cannot move: the CPU's accesses cannot "
				"be watched: %s: allow three more descriptors and a thread "
				"(ulimit -n, -u)", space->pool->name, rte_strerror(-rc));
	return rc;
}

int
mmem_move(struct mmem_space *space, void *ptr, size_t len, int node)
{
	struct mmem_region *region;
	struct mover m;
	uint64_t off;
	size_t end;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc == 0 && mmem_self.paging != NULL)
		rc = -EDEADLK;
	if (rc == 0)
		rc = check_pool(space, node);
	if (rc < 0)
		return mmem_ret(rc);
	off = (uintptr_t)ptr - (uintptr_t)space->mem;
	pthread_mutex_lock(&space->lock);
	region = mmem_region_find_range(space, ptr, len);
	while (region != NULL && region->syncing) {
		mmem_sync_wait(space);
		region = mmem_region_find_range(space, ptr, len);
	}
	if (region == NULL) {
		mmem_space_unlock(space);
		return mmem_ret(-EINVAL);
	}
	mmem_region_set_syncing(region, true);
	m = (struct mover){ .region = region, .space = space, .pool = space->pool, .node = node };
	end = (off + len - 1) >> MMEM_CHUNK_LOG2;
	for (m.chunk = off >> MMEM_CHUNK_LOG2; m.chunk <= end && rc == 0; m.chunk++)
		rc = chunk_move(&m);
	if (rc == -ENOMEM)
		MMEM_LOG_LIMITED(space, "region %p cannot move: it needs a free chunk of 2 MiB%s: "
				"use a larger pool, or raise vm.max_map_count",
				space->mem + mmem_region_off(region), node >= 0 ?
				", and memory on the node" : "");
	mmem_space_unlock(space);
	/* The last access: from here on it may be freed, and the space destroyed. */
	mmem_region_set_syncing(region, false);
	return mmem_ret(rc);
}
