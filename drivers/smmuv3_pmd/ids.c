/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A number is given out again as late as possible: if an invalidation was missing, the stale TLB
 * entries are not used by the next domain at once.
 */

#include <errno.h>
#include <stdlib.h>

#include "ids.h"

int
smmuv3_ids_open(struct smmuv3_ids *ids, unsigned int bits)
{
	ids->used = calloc((1u << bits) / 64, sizeof(*ids->used));
	if (ids->used == NULL)
		return -ENOMEM;
	ids->nb = 1u << bits;
	ids->used[0] = 1;
	return 0;
}

void
smmuv3_ids_close(struct smmuv3_ids *ids)
{
	free(ids->used);
}

/* Search from the number after the last one given out. */
int
smmuv3_ids_get(struct smmuv3_ids *ids)
{
	unsigned int nb = ids->nb / 64, n, w;
	uint64_t unused;

	/* The search ends with the lower bits of the word in whose upper bits it began. */
	for (n = 0; n <= nb; n++) {
		w = (ids->next / 64 + n) % nb;
		unused = ~ids->used[w];
		if (n == 0)
			unused &= UINT64_MAX << ids->next % 64;
		if (unused == 0)
			continue;
		ids->used[w] |= unused & -unused;
		w = 64 * w + __builtin_ctzll(unused);
		ids->next = (w + 1) % ids->nb;
		return w;
	}
	return -ENOSPC;
}

void
smmuv3_ids_put(struct smmuv3_ids *ids, uint16_t id)
{
	ids->used[id / 64] &= ~(UINT64_C(1) << id % 64);
}
