/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Registers, queues and errors of a driver: those of the virtual SMMU. The host's are checked at
 * the end.
 */

#include "relay_rig.h"
#include "relay_wrap.h"
#include "smmuv3_front.h"
#include "smmuv3_model_test.h"

WRAPPED(void *, smmuv3_model_regs, struct smmuv3_model *m);
WRAPPED(void, smmuv3_model_knob, struct smmuv3_model *m, enum smmuv3_model_knob knob,
		uint32_t value);
WRAPPED(uint64_t, smmuv3_model_stat, const struct smmuv3_model *m, enum smmuv3_model_stat stat);
WRAPPED(unsigned int, smmuv3_model_driver_errors, const struct smmuv3_model *m);
WRAPPED(const char *, smmuv3_model_driver_error, const struct smmuv3_model *m, unsigned int i);
WRAPPED(void, smmuv3_model_driver_errors_clear, struct smmuv3_model *m);

void *
__wrap_smmuv3_model_regs(struct smmuv3_model *m)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	return f == NULL ? __real_smmuv3_model_regs(m) : smmuv3_front_regs(f);
}

void
__wrap_smmuv3_model_knob(struct smmuv3_model *m, enum smmuv3_model_knob knob, uint32_t value)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	if (f == NULL)
		__real_smmuv3_model_knob(m, knob, value);
	else
		smmuv3_front_knob(f, knob, value);
}

uint64_t
__wrap_smmuv3_model_stat(const struct smmuv3_model *m, enum smmuv3_model_stat stat)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	switch (stat) {
	case SMMUV3_MODEL_STAT_EVENTS:
	case SMMUV3_MODEL_STAT_EVENTS_LOST:
	case SMMUV3_MODEL_STAT_COMMANDS:
	case SMMUV3_MODEL_STAT_CMDQ_BATCHES:
	case SMMUV3_MODEL_STAT_SYNCS:
	case SMMUV3_MODEL_STAT_MSIS:
	case SMMUV3_MODEL_STAT_CERRORS:
	case SMMUV3_MODEL_STAT_PPRS:
	case SMMUV3_MODEL_STAT_PPRS_LOST:
	case SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS:
		break;
	default:
		f = NULL;
		break;
	}
	return f == NULL ? __real_smmuv3_model_stat(m, stat) :
		smmuv3_front_stat(f, stat);
}

unsigned int
__wrap_smmuv3_model_driver_errors(const struct smmuv3_model *m)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	return f == NULL ? __real_smmuv3_model_driver_errors(m) :
		smmuv3_front_errors(f);
}

const char *
__wrap_smmuv3_model_driver_error(const struct smmuv3_model *m, unsigned int i)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	return f == NULL ? __real_smmuv3_model_driver_error(m, i) :
		smmuv3_front_error(f, i);
}

void
__wrap_smmuv3_model_driver_errors_clear(struct smmuv3_model *m)
{
	struct smmuv3_front *f = relay_rig_find_front(m);

	if (f == NULL)
		__real_smmuv3_model_driver_errors_clear(m);
	else
		smmuv3_front_errors_clear(f);
}
