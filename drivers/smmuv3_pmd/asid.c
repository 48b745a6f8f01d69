/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An ASID is given out again as late as possible: if an invalidation was missing, the stale TLB
 * entries are not used by the next domain at once.
 */

#include <stdlib.h>

#include "asid.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

int
smmuv3_asid_open(struct smmuv3 *s)
{
	s->asids.nb = s->idr0 & SMMUV3_IDR0_ASID16 ? 1u << 16 : 1u << 8;
	s->asids.used = calloc(s->asids.nb / 64, sizeof(*s->asids.used));
	if (s->asids.used == NULL)
		return -ENOMEM;
	s->asids.used[0] = UINT64_C(1) << SMMUV3_ASID_NONE;
	return 0;
}

void
smmuv3_asid_close(struct smmuv3 *s)
{
	free(s->asids.used);
}

/* Search from the ASID after the last one given out. */
int
smmuv3_asid_get(struct smmuv3 *s)
{
	unsigned int nb = s->asids.nb / 64, n, w;
	uint64_t unused;

	/* The search ends with the lower bits of the word in whose upper bits it began. */
	for (n = 0; n <= nb; n++) {
		w = (s->asids.next / 64 + n) % nb;
		unused = ~s->asids.used[w];
		if (n == 0)
			unused &= UINT64_MAX << s->asids.next % 64;
		if (unused == 0)
			continue;
		s->asids.used[w] |= unused & -unused;
		w = 64 * w + __builtin_ctzll(unused);
		s->asids.next = (w + 1) % s->asids.nb;
		return w;
	}
	return -ENOSPC;
}

void
smmuv3_asid_put(struct smmuv3 *s, uint16_t asid)
{
	s->asids.used[asid / 64] &= ~(UINT64_C(1) << asid % 64);
}
