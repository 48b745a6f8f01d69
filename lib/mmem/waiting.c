/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Groups that wait for a fetch or a lock. */

#include <errno.h>
#include <stdlib.h>

#include <iopf.h>
#include <iopf_handler.h>

#include "mmem_waiting.h"

int
mmem_waiting_add(struct mmem_waiting *groups, uint64_t id)
{
	unsigned int max = groups->max ? groups->max * 2 : 8;
	uint64_t *ids;

	if (groups->nb == groups->max) {
		ids = realloc(groups->ids, max * sizeof(*ids));
		if (ids == NULL)
			return -ENOMEM;
		groups->ids = ids;
		groups->max = max;
	}
	groups->ids[groups->nb++] = id;
	return 0;
}

void
mmem_waiting_defer(struct mmem_waiting *groups)
{
	unsigned int i;

	for (i = 0; i < groups->nb; i++)	/* -ESTALE: a detach or a deadline answered it */
		if (iopf_group_defer(groups->ids[i]) == -ENOSPC)
			iopf_group_respond(groups->ids[i], IOPF_INVALID);
	free(groups->ids);
	*groups = (struct mmem_waiting){ 0 };
}
