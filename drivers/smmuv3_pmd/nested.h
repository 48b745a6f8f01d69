/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_NESTED_H
#define SMMUV3_NESTED_H

/**
 * @file
 * Nested domains: stage 1 of a guest, from words 0 and 1 of the STE that it wrote [5.2]. The guest
 * chooses its CDs and how they are read. Everything else in the STE is the driver's: stage 2, its
 * stalls, ATS, the stream world, attributes.
 */

#include <stdint.h>

struct iopf_translation;
struct smmuv3;
struct smmuv3_dev;
struct smmuv3_domain;

/*
 * -EINVAL, and a line in the log: the guest's STE is illegal, or asks for more than it may have.
 * The lines are limited for the whole SMMU: a parent is removed with its last device, and made
 * again.
 */
int smmuv3_nested_check_translation(struct smmuv3 *s, const struct iopf_translation *tr,
		const struct smmuv3_domain *parent);
/* The same for what depends on the device. */
int smmuv3_nested_check_dev(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct smmuv3_dev *dev);
/* Word 0 of an STE, and the fields of stage 1 in word 1. */
uint64_t smmuv3_nested_make_word0(const struct smmuv3_domain *domain);
uint64_t smmuv3_nested_make_word1(const struct smmuv3_domain *domain);

#endif /* SMMUV3_NESTED_H */
