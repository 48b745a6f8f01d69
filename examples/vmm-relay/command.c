/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The guest's commands. The front end has found each of them legal for the virtual SMMU. */

#include <errno.h>

#include <iopf_guest.h>

#include "relay_priv.h"
#include "smmuv3_spec.h"

/* Commands for the host's SMMU that are not issued yet. */
struct run {
	struct iopf_guest_cmd cmd[SMMUV3_FRONT_MAX_CMDS];
	unsigned int at[SMMUV3_FRONT_MAX_CMDS];		/* their index in the guest's array */
	unsigned int nb;
};

/*
 * 0, also if an ATC does not answer: the device is cut off then, the other commands have effect,
 * and the guest sees the error at its SYNC.
 */
static int
invalidate(struct relay *r, const struct iopf_guest_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	int ret = -EIO;

	/* Each device of the guest can be cut off. */
	for (unsigned int i = 0; i <= r->nb_devs && ret < 0; i++) {
		ret = iopf_invalidate_guest(r->conf.iommu, r->conf.parent, cmds, n, result);
		/* With none of its devices attached the host's SMMU has nothing of the guest. */
		if (ret == -ENOTCONN)
			ret = 0;
		if (ret < 0 && result->error != IOPF_INV_ATC)
			return ret;
		r->atc_failed |= ret < 0;
	}
	return ret;
}

/* Issue the run. False: the guest's command *failed has *error. */
static bool
issue(struct relay *r, struct run *run, unsigned int *failed, enum smmuv3_front_error *error)
{
	struct iopf_inv_result result;
	unsigned int nb = run->nb;

	run->nb = 0;
	if (nb == 0)
		return true;
	r->stats.invalidations += nb;
	if (invalidate(r, run->cmd, nb, &result) == 0)
		return true;
	r->stats.refused++;
	*error = SMMUV3_FRONT_ABT;
	*failed = run->at[result.done < nb ? result.done : nb - 1];
	if (result.error == IOPF_INV_REFUSED && result.failed < nb) {
		*error = SMMUV3_FRONT_ILL;
		*failed = run->at[result.failed];
		if (result.failed > 0)
			invalidate(r, run->cmd, result.failed, &result);
	}
	return false;
}

static enum iopf_code
decode_resume(const struct relay *r, uint64_t dw0)
{
	if (dw0 & SMMUV3_RESUME0_AC)
		return IOPF_SUCCESS;
	/* With IDR0.TERM_MODEL = 1 the guest's SMMU knows aborts only [4.6.1]. */
	if (r->conf.smmu.no_features & SMMUV3_MODEL_TERM_ABORT_ONLY)
		return IOPF_INVALID;
	return dw0 & SMMUV3_RESUME0_AB ? IOPF_INVALID : IOPF_RAZWI;
}

/* What the relay does itself. False: the command is for the host's SMMU. */
static bool
execute_own(struct relay *r, const struct smmuv3_front_cmd *cmd)
{
	struct relay_dev *d = relay_find_dev(r, (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]));

	switch (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0])) {
	case SMMUV3_OP_CFGI_STE:
		if (d != NULL)
			relay_update_ste(d);
		return true;
	case SMMUV3_OP_CFGI_STE_RANGE:
		for (unsigned int i = 0; i < r->nb_devs; i++)
			relay_update_ste(&r->dev[i]);
		return true;
	case SMMUV3_OP_RESUME:
		relay_resume(r, d, (uint16_t)SMMUV3_GET(SMMUV3_RESUME1_STAG, cmd->dw[1]),
				decode_resume(r, cmd->dw[0]));
		return true;
	case SMMUV3_OP_PRI_RESP:
		relay_respond(r, d, cmd);
		return true;
	case SMMUV3_OP_STALL_TERM:
		if (d != NULL)
			relay_end_stalls(r, d);
		return true;
	case SMMUV3_OP_PREFETCH_CONFIG:
	case SMMUV3_OP_PREFETCH_ADDR:
		return true;
	default:
		return false;
	}
}

/* Put the host's StreamID in. False: there is nothing to invalidate. */
static bool
translate(struct relay *r, const struct smmuv3_front_cmd *cmd, struct iopf_guest_cmd *out)
{
	const uint8_t op = (uint8_t)SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);
	const struct relay_dev *d;

	*out = (struct iopf_guest_cmd){ .dw = { cmd->dw[0], cmd->dw[1] } };
	if (op != SMMUV3_OP_CFGI_CD && op != SMMUV3_OP_CFGI_CD_ALL && op != SMMUV3_OP_ATC_INV)
		return true;
	d = relay_find_dev(r, (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]));
	if (d == NULL || d->domain == NULL || (op == SMMUV3_OP_ATC_INV && !d->ats))
		return false;
	out->dw[0] = (cmd->dw[0] & ~SMMUV3_CMD0_SID) | SMMUV3_PUT(SMMUV3_CMD0_SID, d->sid);
	return true;
}

static bool
is_own(const struct smmuv3_front_cmd *cmd)
{
	switch (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0])) {
	case SMMUV3_OP_CFGI_CD:
	case SMMUV3_OP_CFGI_CD_ALL:
	case SMMUV3_OP_TLBI_NH_ALL:
	case SMMUV3_OP_TLBI_NH_ASID:
	case SMMUV3_OP_TLBI_NH_VA:
	case SMMUV3_OP_TLBI_NH_VAA:
	case SMMUV3_OP_TLBI_NSNH_ALL:
	case SMMUV3_OP_ATC_INV:
		return false;
	default:
		return true;
	}
}

static unsigned int
execute(struct relay *r, const struct smmuv3_front_cmd *cmds, unsigned int n,
		enum smmuv3_front_error *error)
{
	struct run run = { .nb = 0 };
	unsigned int failed;

	for (unsigned int i = 0; i < n; i++) {
		if (!is_own(&cmds[i])) {
			run.at[run.nb] = i;
			run.nb += translate(r, &cmds[i], &run.cmd[run.nb]);
			continue;
		}
		/* In order: an invalidation before it is complete. */
		if (!issue(r, &run, &failed, error))
			return failed;
		if (!execute_own(r, &cmds[i]))
			return i;
	}
	return issue(r, &run, &failed, error) ? n : failed;
}

unsigned int
relay_execute(void *ctx, const struct smmuv3_front_cmd *cmds, unsigned int n,
		enum smmuv3_front_error *error)
{
	struct relay *r = ctx;
	unsigned int done = execute(r, cmds, n, error);

	r->stats.commands += done;
	return done;
}

enum smmuv3_front_sync
relay_sync(void *ctx)
{
	struct relay *r = ctx;
	bool failed = r->atc_failed;

	if (!relay_finish_stes(r))
		return SMMUV3_FRONT_WAIT;
	r->atc_failed = false;
	return failed ? SMMUV3_FRONT_ATC : SMMUV3_FRONT_DONE;
}
