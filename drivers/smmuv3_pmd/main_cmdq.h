/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MAIN_CMDQ_H
#define SMMUV3_MAIN_CMDQ_H

/**
 * @file
 * The command queue of CMDQ_BASE.
 */

struct smmuv3;
struct smmuv3_cmdq_ops;

/* The context is struct smmuv3. */
extern const struct smmuv3_cmdq_ops smmuv3_main_cmdq_ops;

int smmuv3_main_cmdq_open(struct smmuv3 *s);
int smmuv3_main_cmdq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_main_cmdq_close(struct smmuv3 *s);

#endif /* SMMUV3_MAIN_CMDQ_H */
