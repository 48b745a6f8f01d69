/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Devices. While no domain is attached to a device its STEs are not valid: its accesses abort
 * and are recorded (C_BAD_STE; C_BAD_STREAMID if the second-level table does not exist yet).
 * Untagged traffic uses CD 0 (S1DSS = SSID0): the SMMU aborts an access with PASID 0
 * (F_STREAM_DISABLED) [5.2]. With a stage-2 domain there is no CD: an access with any PASID aborts
 * (C_BAD_SUBSTREAMID).
 */

#include <stdlib.h>

#include "atc.h"
#include "base.h"
#include "cd.h"
#include "cmdq.h"
#include "dev.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "ste.h"
#include "strtab.h"

static void
dev_free(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	smmuv3_cdtab_destroy(s, dev);
	free(dev);
}

int
smmuv3_dev_add(void *priv, const struct iopf_dev_conf *conf, void **out)
{
	struct smmuv3 *s = priv;
	struct smmuv3_dev *dev;
	unsigned int i;
	int ret;

	for (i = 0; i < conf->nb_sids; i++)
		if ((uint64_t)conf->sids[i] >> s->sid_bits != 0) {
			SMMUV3_LOG(ERR, s, "StreamID %u is out of range: the SMMU has %u bits of "
					"them", conf->sids[i], s->sid_bits);
			return -ERANGE;
		}
	if (conf->nb_pasids > (s->ssid_bits == 0 ? 0 : 1u << s->ssid_bits)) {
		SMMUV3_LOG(ERR, s, "%u PASIDs are too many: the SMMU has %u bits of them",
				conf->nb_pasids, s->ssid_bits);
		return -ERANGE;
	}
	if (conf->recover == IOPF_PRI &&
			(!s->pri || s->stall_model == SMMUV3_STALL_MODEL_FORCED)) {
		SMMUV3_LOG(ERR, s, "%s", s->pri ?
				"the SMMU forces stalls, which PCIe devices must not get" :
				"the SMMU has no page requests (IDR0.ATS and IDR0.PRI)");
		return -ENOTSUP;
	}
	if (conf->recover == IOPF_STALL ? s->max_stalls == 0 :
			s->stall_model == SMMUV3_STALL_MODEL_FORCED) {
		SMMUV3_LOG(ERR, s, "%s", conf->recover == IOPF_STALL ?
				"the SMMU cannot stall: use IOPF_TERMINATE" :
				"the SMMU forces stalls: use IOPF_STALL");
		return -ENOTSUP;
	}

	dev = calloc(1, sizeof(*dev) + conf->nb_sids * sizeof(dev->sids[0]));
	if (dev == NULL)
		return -ENOMEM;
	dev->stall = conf->recover == IOPF_STALL;
	dev->pri = conf->recover == IOPF_PRI;
	dev->prg_pasid = conf->prg_pasid;
	dev->merge_events = conf->merge_events;
	dev->nb_pasids = conf->nb_pasids;
	dev->nb_sids = conf->nb_sids;
	memcpy(dev->sids, conf->sids, conf->nb_sids * sizeof(dev->sids[0]));
	ret = smmuv3_cdtab_create(s, dev);
	for (i = 0; ret == 0 && i < dev->nb_sids; i++)
		ret = smmuv3_strtab_ensure_ste(s, dev->sids[i]);
	if (ret < 0) {
		dev_free(s, dev);
		return ret;
	}
	*out = dev;
	return 0;
}

int
smmuv3_dev_end_stalls(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret = 0;

	for (i = 0; i < dev->nb_sids && ret == 0; i += n) {
		for (n = 0; n < SMMUV3_CHUNK && i + n < dev->nb_sids; n++)
			cmds[n] = smmuv3_cmd_stall_term(dev->sids[i + n]);
		ret = smmuv3_cmdq_sync(&s->cmdq, cmds, n, NULL);
	}
	return ret;
}

/*
 * If the device was never attached nor blocked the SMMU has no state of it. Otherwise each step can
 * be repeated. If the device is attached between two calls, its STEs translate only after a
 * CMD_SYNC, so after each STALL_TERM that was given to the queue. One that is blocked stays blocked
 * until the last step has succeeded, so that its STEs do not translate then either.
 */
int
smmuv3_dev_del(void *priv, void *handle)
{
	struct smmuv3_dev *dev = handle;
	struct smmuv3 *s = priv;
	int ret = 0;

	if (dev->nb_attachments != 0)
		return -EBUSY;
	if (dev->may_stall) {
		/* STALL_TERM needs STEs that abort, CMD_SYNC complete [4.6.2]. */
		ret = smmuv3_stes_abort(s, dev);
		if (ret == 0)
			ret = smmuv3_dev_end_stalls(s, dev);
	}
	if (ret == 0 && dev->blocked)
		ret = smmuv3_dev_block(s, dev, false);
	else if (ret == 0 && dev->may_stall)
		ret = smmuv3_stes_stop(s, dev);
	if (ret < 0) {
		SMMUV3_LOG(ERR, s, "StreamID %u and the device's others are not removed: their "
				"stalls may not have ended (%s); their accesses abort; remove the "
				"device again",
				dev->sids[0], strerror(-ret));
		return ret;
	}
	dev_free(s, dev);
	return 0;
}

int
smmuv3_dev_usable(void *priv, void *handle)
{
	const struct smmuv3 *s = priv;

	return s->pri && smmuv3_atc_is_cut(s, handle) ? -EIO : 0;
}
