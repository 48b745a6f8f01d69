/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_COMMAND_H
#define SMMUV3_MODEL_COMMAND_H

#include "front.h"

void smmuv3_be_execute(void *be, unsigned int queue, const struct smmuv3_cmd *cmd);
enum smmuv3_fe_sync smmuv3_be_sync(void *be, unsigned int queue);

#endif /* SMMUV3_MODEL_COMMAND_H */
