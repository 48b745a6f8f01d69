/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Change an STE or a CD that the SMMU may fetch at any moment [3.21.3]. The SMMU reads the
 * eight words separately and in any order, and may cache them, also of an invalid entry, until
 * a CFGI and CMD_SYNC. So any mix of words from all states between two SYNCs must be the old
 * entry, the new one, or an invalid one:
 *
 *	valid, one word differs	store it, SYNC
 *	all else		if valid: word 0 to 0 (or to its new value, if that is
 *				not valid), SYNC; the other words, SYNC; then, if it
 *				becomes valid: word 0, SYNC
 */

#include "entry.h"
#include "smmuv3_order.h"

unsigned int
smmuv3_entry_plan(const uint64_t live[8], const uint64_t next[8], uint64_t v,
		struct smmuv3_step steps[SMMUV3_NB_STEPS])
{
	const struct smmuv3_step sync = { SMMUV3_STEP_SYNC, 0 };
	unsigned int n = 0, differ = 0, which = 0, i;

	for (i = 0; i < 8; i++)
		if (live[i] != next[i]) {
			which = i;
			differ++;
		}
	/* SYNC in any case: the one after an earlier change may have failed. */
	if (live[0] & v && differ <= 1) {
		if (differ == 1)
			steps[n++] = (struct smmuv3_step){ which, next[which] };
		steps[n++] = sync;
		return n;
	}
	if (live[0] & v) {
		steps[n++] = (struct smmuv3_step){ 0, next[0] & v ? 0 : next[0] };
		steps[n++] = sync;
	} else if (!(next[0] & v)) {
		steps[n++] = (struct smmuv3_step){ 0, next[0] };
	}
	for (i = 1; i < 8; i++)
		if (live[i] != next[i])
			steps[n++] = (struct smmuv3_step){ i, next[i] };
	/* The SMMU may cache words of an invalid entry too. */
	steps[n++] = sync;
	if (next[0] & v) {
		steps[n++] = (struct smmuv3_step){ 0, next[0] };
		steps[n++] = sync;
	}
	return n;
}

int
smmuv3_entry_write(uint64_t live[8], const uint64_t next[8], uint64_t v,
		int (*sync)(void *ctx), void *ctx)
{
	struct smmuv3_step steps[SMMUV3_NB_STEPS];
	uint64_t now[8];
	unsigned int n, i;
	int ret;

	for (i = 0; i < 8; i++)
		now[i] = smmuv3_get_dw(&live[i]);
	n = smmuv3_entry_plan(now, next, v, steps);
	for (i = 0; i < n; i++) {
		if (steps[i].word != SMMUV3_STEP_SYNC) {
			smmuv3_set_dw(&live[steps[i].word], steps[i].value);
			continue;
		}
		ret = sync(ctx);
		if (ret < 0)
			return ret;
	}
	return 0;
}
