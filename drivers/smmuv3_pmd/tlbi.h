/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_TLBI_H
#define SMMUV3_TLBI_H

/**
 * @file
 * Answers and invalidations as commands [4.4, 4.6].
 */

#include <stdint.h>

#include <iopf_driver.h>

struct smmuv3;
struct smmuv3_cmd;
struct smmuv3_domain;

/* Commands for one range into cmds[], at most max; 0 when it takes more. */
unsigned int smmuv3_inv_cmds(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max);
int smmuv3_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done);
uint16_t smmuv3_answer(void *priv, const struct iopf_answer *answers, uint16_t n);
uint16_t smmuv3_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n);

#endif /* SMMUV3_TLBI_H */
