/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_IDR_H
#define SMMUV3_MODEL_IDR_H

#include <stdbool.h>

#include "front.h"

/* False: above @p max. */
bool smmuv3_conf_pick(unsigned int v, unsigned int dflt, unsigned int max, bool none,
		unsigned int *out);
/* False: the configuration has a value that is out of range. */
bool smmuv3_ids_make(struct smmuv3_model *m, const struct smmuv3_model_conf *conf,
		struct smmuv3_fe_ids *ids);

#endif /* SMMUV3_MODEL_IDR_H */
