/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_IDR_H
#define SMMUV3_MODEL_IDR_H

#include <stdbool.h>

#include "front.h"

/*
 * A value of a configuration: 0 selects @p dflt, and with @p none SMMUV3_MODEL_NONE selects 0.
 * False: the value is above @p max.
 */
bool smmuv3_conf_pick(unsigned int v, unsigned int dflt, unsigned int max, bool none,
		unsigned int *out);
/* The ID registers of a configuration. False: a value is out of range. */
bool smmuv3_ids_make(const struct smmuv3_model_conf *conf, struct smmuv3_fe_ids *ids);

#endif /* SMMUV3_MODEL_IDR_H */
