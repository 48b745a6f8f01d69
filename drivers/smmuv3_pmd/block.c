/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Accesses that may not stall, or not pass: the operations stall_set and dev_block. One thread at a
 * time calls them for a device, and none attaches or detaches it meanwhile. Both can be repeated
 * after an error: each writes its entry and issues CFGI and CMD_SYNC again.
 */

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "cd.h"
#include "cmdq.h"
#include "dev.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "ste.h"

/*
 * With S clear, or S2S of a stage-2 domain, whose device has no other attachment, an access that
 * faults aborts, and is recorded, since R, or S2R, is set [5.2, 5.4].
 */
int
smmuv3_stall_set(void *priv, void *attachment, bool on)
{
	const struct smmuv3_attachment *a = attachment;
	struct smmuv3 *s = priv;

	/* A CD with S clear, or an STE with S2S clear, is illegal there [5.2, 5.4]. */
	if (s->stall_model == SMMUV3_STALL_MODEL_FORCED)
		return on ? 0 : -ENOTSUP;
	/* Nothing stalls: S is clear, or a detach has stopped the CD. */
	if (!a->dev->stall || a->stage != SMMUV3_ATTACHED)
		return 0;
	/* With S1STALLD the guest's CDs that have S set would be illegal: no access would pass. */
	if (a->dev->nested != NULL)
		return on ? 0 : -ENOTSUP;
	if (a->dev->stage2 != NULL)
		return smmuv3_stes_set_s2s(s, a->dev, on);
	return smmuv3_cd_set_stall(s, a->dev, a->ssid, on);
}

/*
 * A cut-off device stays cut off (atc_cut.c): the thread that cuts it off may do so between the
 * first check and the store.
 */
static int
unblock_dev(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	int ret;

	if (!dev->live)
		return smmuv3_stes_stop(s, dev);
	if (dev->pri && smmuv3_atc_is_cut(s, dev))
		return 0;
	ret = smmuv3_stes_start(s, dev);
	if (ret == 0 && dev->pri && smmuv3_atc_is_cut(s, dev))
		ret = smmuv3_stes_abort(s, dev);
	return ret;
}

/*
 * STALL_TERM needs STEs that abort, CMD_SYNC complete [4.6.2]. It also ends the stalls whose
 * records the event queue has no room for.
 */
int
smmuv3_dev_block(void *priv, void *handle, bool on)
{
	struct smmuv3_dev *dev = handle;
	struct smmuv3 *s = priv;
	int ret;

	if (on) {
		dev->blocked = true;
		ret = smmuv3_stes_abort(s, dev);
		return ret == 0 && dev->may_stall ? smmuv3_dev_end_stalls(s, dev) : ret;
	}
	/*
	 * A RESUME in the queue may be for a stall that STALL_TERM has ended. The SMMU may use the
	 * new STE, and the STAG again, as soon as the STE is stored: it has to consume the RESUME
	 * before.
	 */
	ret = dev->may_stall ? smmuv3_cmdq_sync(&s->cmdq, NULL, 0, NULL) : 0;
	if (ret < 0)
		return ret;
	dev->blocked = false;
	ret = unblock_dev(s, dev);
	/* The next store of an STE aborts again, until a call succeeds. */
	dev->blocked = ret < 0;
	return ret;
}
