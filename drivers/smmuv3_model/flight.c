/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Transactions in flight, with SMMUV3_MODEL_HARSH_FLIGHT: translated, and not yet at memory.
 * The SMMU processes commands meanwhile. Only a SYNC and the change of SMMUEN to 0 wait for
 * transactions in flight, which may have used an invalidated translation [3.21.1].
 */

#include "model.h"
#include "model_access.h"
#include "model_flight.h"
#include "model_slot.h"
#include "model_transact.h"

#define FLIGHT_STEPS 8

bool
smmuv3_flight_start(struct smmuv3_model *m, struct smmuv3_slot *s, const struct smmuv3_target *to)
{
	uint32_t steps = FLIGHT_STEPS;

	if (m->harsh & SMMUV3_MODEL_HARSH_RANDOM) {
		steps = smmuv3_rand(m) % (2 * FLIGHT_STEPS);
		if (steps == 0)
			return false;
	}
	s->state = SMMUV3_SLOT_IN_FLIGHT;
	s->land_at = m->flight.steps + steps;
	/* No host pointer: the window may be removed before the access. */
	s->target = (struct smmuv3_target){ .pa = to->pa, .bypass = to->bypass };
	smmuv3_list_add(&m->flight.list, s);
	return true;
}

static unsigned int
land_transactions(struct smmuv3_model *m, bool all)
{
	struct smmuv3_list list = m->flight.list;
	struct smmuv3_slot *s;
	unsigned int n = 0;

	if (list.first == NULL)
		return 0;
	m->flight.list.first = NULL;
	m->flight.list.last = &m->flight.list.first;
	while ((s = smmuv3_list_take(&list)) != NULL) {
		if (all || m->flight.steps >= s->land_at)
			smmuv3_slot_land(m, s);
		else
			smmuv3_list_add(&m->flight.list, s);
		n++;
	}
	return n;
}

unsigned int
smmuv3_flight_step(struct smmuv3_model *m)
{
	m->flight.steps++;
	return land_transactions(m, false);
}

void
smmuv3_flight_land_all(struct smmuv3_model *m)
{
	land_transactions(m, true);
}
