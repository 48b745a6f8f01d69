/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * DMA of all engines of the soak, from one thread. A page that no engine writes begins with the
 * owner of its space and its own number. If the attachment of a seat did not change between the
 * submission and the end of a read, the read must have found this owner; otherwise it must have
 * found the right page of some owner.
 */

#include <sched.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "fire.h"
#include "test.h"

#define STAMP_PAGE(stamp_) ((uint32_t)(stamp_) & 0xffff)
#define STAMP_OWNER(stamp_) ((uint32_t)((stamp_) >> 32))
#define LOCAL(seat_, slot_) ((seat_)->local + (size_t)(slot_) * FIRE_MAX_PAGES * FIRE_PAGE)

uint64_t
fire_stamp(uint32_t owner, unsigned int page)
{
	return (uint64_t)owner << 32 | UINT32_C(0xf1ee0000) | page;
}

static void
check_read(const struct fire_seat *seat, const struct fire_op *op, unsigned int slot)
{
	/* In this order: the next owner is cleared after the change of tenure. */
	uint32_t next = atomic_load(&seat->next_owner);
	uint64_t now = atomic_load(&seat->tenure);

	for (unsigned int i = 0; i < op->pages; i++) {
		uint64_t stamp = *(const uint64_t *)(const void *)(LOCAL(seat, slot) +
				(size_t)i * FIRE_PAGE);

		FIRE_CHECK(stamp == fire_stamp(STAMP_OWNER(stamp), op->page + i),
				"SID %u PASID %u: page %u has %#llx", seat->dev->fn.sid,
				seat->pasid, op->page + i, (unsigned long long)stamp);
		if (now == op->tenure)
			FIRE_CHECK(STAMP_OWNER(stamp) == (uint32_t)now ||
					(next != 0 && STAMP_OWNER(stamp) == next),
					"SID %u PASID %u: page %u of owner %u has %#llx",
					seat->dev->fn.sid, seat->pasid, op->page + i,
					(uint32_t)now, (unsigned long long)stamp);
		fire_count(&fire.n.checked);
	}
}

static void
end_dma(struct fire_seat *seat, const struct smmuv3_model_done *d)
{
	unsigned int slot = (unsigned int)d->cookie;

	if (seat->op[slot].aim != NULL)
		atomic_fetch_sub(&seat->op[slot].aim->dmas, 1);
	/* Quarantined since before the submission. */
	if (seat->op[slot].blocks % 2 != 0 &&
			seat->op[slot].blocks == atomic_load(&seat->dev->blocks)) {
		FIRE_CHECK(d->status == SMMUV3_MODEL_ABORTED, "SID %u PASID %u: an access of a "
				"quarantined device ends with %d", seat->dev->fn.sid, seat->pasid,
				d->status);
		fire_count(&fire.n.blocked);
	}
	if (d->status == SMMUV3_MODEL_OK) {
		fire_count(&fire.n.ok);
		fire.hits += d->nb_stalls == 0 && d->nb_groups == 0;
		if (seat->op[slot].check)
			check_read(seat, &seat->op[slot], slot);
	} else {
		fire_count(d->status == SMMUV3_MODEL_RAZWI ? &fire.n.razwi : &fire.n.aborted);
	}
	seat->free[seat->nb_free++] = (uint16_t)slot;
}

static void
submit_dma(struct fire_seat *seat, bool write, unsigned int page, unsigned int pages)
{
	unsigned int slot = seat->free[--seat->nb_free];
	struct fire_op *op = &seat->op[slot];
	bool storm = atomic_load_explicit(&seat->storm, memory_order_relaxed);
	uint64_t base = 0;

	/* The tenure first: an attach that comes now makes it differ. */
	op->tenure = atomic_load(&seat->tenure);
	op->blocks = atomic_load(&seat->dev->blocks);
	op->aim = atomic_load(&seat->aim);
	if (op->aim != NULL) {
		/* Counted first: a thread that has set the base to 0 waits for this DMA. */
		atomic_fetch_add(&op->aim->dmas, 1);
		base = atomic_load(&op->aim->base);
		if (base == 0) {
			atomic_fetch_sub(&op->aim->dmas, 1);
			op->aim = NULL;
		}
	}
	/* Without a domain, or without pages now: the access aborts or is refused. */
	if (base == 0)
		base = FIRE_VA;
	op->page = (uint16_t)page;
	op->pages = (uint16_t)pages;
	op->check = !write && !storm;
	if (storm)
		base += UINT64_C(1) << 30;
	FIRE_CHECK(smmuv3_model_dma_submit(seat->dma, &(struct smmuv3_model_op){
		.type = write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ,
		.addr = base + (uint64_t)page * FIRE_PAGE,
		.buf = LOCAL(seat, slot),
		.len = (size_t)(pages - 1) * FIRE_PAGE + 64,
		.cookie = slot,
	}) == 0, "SID %u", seat->dev->fn.sid);
}

static void
submit_random(struct fire_seat *seat)
{
	unsigned int half = FIRE_PAGES / 2;
	bool write = fire_pick(2) != 0;
	unsigned int page = fire_pick(half), pages = 1;

	if (seat->dev->kind == FIRE_PRI)
		pages = 1 + fire_pick(RTE_MIN(FIRE_MAX_PAGES, half - page));
	submit_dma(seat, write, write ? half + page : page, pages);
}

/* Managed memory has the addresses of its frames: no access to it while it could bypass. */
static bool
may_submit(const struct fire_seat *seat)
{
	const struct fire_space *aim = atomic_load(&seat->aim);

	/* An engine without a domain only leaves records of aborted accesses. */
	if (aim == NULL)
		return seat->nb_free == FIRE_DEPTH && fire_pick(16) == 0;
	return !aim->managed || !atomic_load(&fire.quiet);
}

static void
run_ghost(struct fire_ghost *g)
{
	struct smmuv3_model_done d[FIRE_DEPTH];
	unsigned int n = smmuv3_model_dma_poll(g->dma, d, FIRE_DEPTH);

	for (unsigned int i = 0; i < n; i++)
		FIRE_CHECK(d[i].status == SMMUV3_MODEL_ABORTED, "%d", d[i].status);
	while (atomic_load_explicit(&g->storm, memory_order_relaxed) &&
			smmuv3_model_dma_submit(g->dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .addr = FIRE_VA, .buf = &g->word,
				.len = sizeof(g->word) }) == 0)
		;
}

unsigned int
fire_traffic(bool more)
{
	unsigned int running = 0;

	for (unsigned int i = 0; i < FIRE_DEVS; i++)
		for (unsigned int k = 0; k < fire.dev[i].nb_seats; k++) {
			struct fire_seat *seat = &fire.dev[i].seat[k];
			struct smmuv3_model_done d[FIRE_DEPTH];
			unsigned int n = smmuv3_model_dma_poll(seat->dma, d, FIRE_DEPTH);

			for (unsigned int j = 0; j < n; j++)
				end_dma(seat, &d[j]);
			while (more && seat->nb_free > 0 && may_submit(seat))
				submit_random(seat);
			running += FIRE_DEPTH - seat->nb_free;
		}
	for (unsigned int i = 0; i < FIRE_GHOSTS; i++) {
		run_ghost(&fire.ghost[i]);
		running += smmuv3_model_dma_outstanding(fire.ghost[i].dma);
	}
	atomic_fetch_add(&fire.passes, 1);
	/* Each page faults again soon. This thread waits for no thread that waits for its DMA. */
	for (; more && fire.hits > FIRE_PAGES; fire.hits -= FIRE_PAGES)
		fire_space_unmap(&fire.space[fire_pick(FIRE_SPACES)], false);
	return running;
}

void
fire_traffic_calm(void)
{
	uint64_t begin = rte_rdtsc(), aborted = atomic_load(&fire.n.aborted);

	for (unsigned int page = 0; page < FIRE_PAGES / 2; page += FIRE_DEPTH)
		for (unsigned int i = 0; i < FIRE_DEPTH || fire_traffic(false) != 0; i++) {
			if (i >= FIRE_DEPTH)
				sched_yield();
			for (unsigned int k = 0; i < FIRE_DEPTH && k < FIRE_DEVS * FIRE_SEATS;
					k++) {
				struct fire_dev *d = &fire.dev[k / FIRE_SEATS];

				/* The access aborts, and the device would repeat it. */
				if (k % FIRE_SEATS < d->nb_seats && d->kind != FIRE_RETRY)
					submit_dma(&d->seat[k % FIRE_SEATS], false, page + i, 1);
			}
			if (fire_is_late(begin))
				fire_hang("DMA of a calm moment");
		}
	FIRE_CHECK(atomic_load(&fire.n.aborted) == aborted, "%llu DMAs aborted",
			(unsigned long long)(atomic_load(&fire.n.aborted) - aborted));
}
