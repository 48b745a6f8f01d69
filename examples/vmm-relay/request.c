/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page request groups of the guest's devices: requests with the guest's StreamID and PRG index.
 *
 * The guest's index is not the endpoint's. After a deadline or a detach the endpoint uses its index
 * again, while the guest may still answer the old group: the guest's index stays used until then.
 */

#include <errno.h>

#include <iopf_handler.h>

#include "relay_priv.h"
#include "smmuv3_spec.h"

static void
make_record(const struct relay_dev *d, const struct iopf_fault *fault, unsigned int index,
		bool last, uint64_t record[2])
{
	record[0] = SMMUV3_PUT(SMMUV3_PPR0_SID, d->vsid);
	if (fault->pasid != IOPF_NO_PASID)
		record[0] |= SMMUV3_PPR0_SSV | SMMUV3_PUT(SMMUV3_PPR0_SSID, fault->pasid);
	if (fault->perm & IOPF_PERM_PRIV)
		record[0] |= SMMUV3_PPR0_PRIV;
	if (fault->perm & IOPF_PERM_EXEC)
		record[0] |= SMMUV3_PPR0_X;
	if (fault->perm & IOPF_PERM_READ)
		record[0] |= SMMUV3_PPR0_R;
	if (fault->perm & IOPF_PERM_WRITE)
		record[0] |= SMMUV3_PPR0_W;
	if (last)
		record[0] |= SMMUV3_PPR0_LAST;
	record[1] = SMMUV3_PUT(SMMUV3_PPR1_PRGINDEX, index) | (fault->addr & SMMUV3_PPR1_ADDR);
}

/*
 * -ENOSPC, -EAGAIN, -EIO: the queue has none of the group's further requests, and never gets its
 * Last, whatever the guest acknowledges meanwhile.
 */
static int
put_requests(const struct relay_dev *d, const struct iopf_group *group, unsigned int index)
{
	uint64_t record[2];
	int ret = 0;

	for (unsigned int i = 0; i < group->nb_faults && ret == 0; i++) {
		make_record(d, group->faults[i], index, i + 1u == group->nb_faults, record);
		ret = smmuv3_front_request(d->relay->front, record);
	}
	return ret;
}

enum iopf_verdict
relay_handle_group(struct relay_dev *d, const struct iopf_group *group)
{
	unsigned int index = 0;
	int ret;

	while (index < RELAY_GROUPS && d->group[index].used)
		index++;
	/* A guest that leaves answers to the deadline uses up the indices of its own device. */
	if (index == RELAY_GROUPS)
		return IOPF_ANSWER(IOPF_INVALID);
	ret = put_requests(d, group, index);
	/*
	 * The answer of an SMMU [8.2]. At an overflow the guest discards the groups that have no
	 * Last, and the endpoint asks again. A queue that is off ends the endpoint's PRI.
	 */
	if (ret < 0)
		return IOPF_ANSWER(ret == -ENOSPC ? IOPF_SUCCESS : IOPF_FAILURE);
	d->group[index] = (struct relay_group){ .used = true, .pasid = group->pasid,
		.id = group->id };
	d->relay->stats.groups++;
	return IOPF_TAKEN;
}

/* The library refuses an answer to what is answered already: by its deadline, or by a detach. */
static void
answer(struct relay_group *g, enum iopf_code code)
{
	iopf_group_respond(g->id, code);
	g->used = false;
}

static enum iopf_code
decode_code(uint64_t dw1)
{
	switch (SMMUV3_GET(SMMUV3_PRI1_RESP, dw1)) {
	case SMMUV3_PRI_RESP_SUCCESS:
		return IOPF_SUCCESS;
	case SMMUV3_PRI_RESP_INVALID:
		return IOPF_INVALID;
	default:
		return IOPF_FAILURE;
	}
}

/* Whether the endpoint wants the PASID in the answer is known to the library. */
static bool
has_pasid_of(const struct smmuv3_front_cmd *cmd, const struct relay_group *g)
{
	return !(cmd->dw[0] & SMMUV3_CMD0_SSV) ||
		SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]) == g->pasid;
}

void
relay_respond(struct relay *r, struct relay_dev *d, const struct smmuv3_front_cmd *cmd)
{
	struct relay_group *g;

	g = d == NULL ? NULL : &d->group[SMMUV3_GET(SMMUV3_PRI1_PRGINDEX, cmd->dw[1])];
	if (g == NULL || !g->used || !has_pasid_of(cmd, g)) {
		r->stats.refused++;
		return;
	}
	answer(g, decode_code(cmd->dw[1]));
	r->stats.responses++;
}

void
relay_end_groups(struct relay *r)
{
	for (unsigned int i = 0; i < r->nb_devs; i++)
		for (unsigned int k = 0; k < RELAY_GROUPS; k++)
			if (r->dev[i].group[k].used)
				answer(&r->dev[i].group[k], IOPF_INVALID);
}

unsigned int
relay_count_groups(const struct relay *r)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->nb_devs; i++)
		for (unsigned int k = 0; k < RELAY_GROUPS; k++)
			n += r->dev[i].group[k].used;
	return n;
}
