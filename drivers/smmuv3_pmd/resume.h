/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_RESUME_H
#define SMMUV3_RESUME_H

/**
 * @file
 * Answers as commands: RESUME for a stall, PRI_RESP for a page request group [4.5.2, 4.6].
 */

#include <stdint.h>

#include <iopf_driver.h>

uint16_t smmuv3_answer(void *priv, const struct iopf_answer *answers, uint16_t n);
uint16_t smmuv3_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n);

#endif /* SMMUV3_RESUME_H */
