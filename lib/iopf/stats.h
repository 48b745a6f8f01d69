/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_STATS_TEXT_H
#define IOPF_STATS_TEXT_H

/* Names and states in dumps and telemetry. */

#include <stdbool.h>
#include <stdint.h>

struct iopf_attachment;
struct iopf_dev;

/* A state that may end by itself: 0 or 1 in the dump and in telemetry. One of the two is NULL. */
struct iopf_shown_state {
	const char *name;
	bool (*is_of_dev)(const struct iopf_dev *dev);
	bool (*is_of_attachment)(const struct iopf_attachment *attachment);
};
#define IOPF_NB_SHOWN_STATES 3
/* The caller holds the IOMMU's lock, which keeps devices and attachments. */
extern const struct iopf_shown_state iopf_shown_states[IOPF_NB_SHOWN_STATES];

/* Cycles of the TSC. */
uint64_t iopf_cycles_to_ns(uint64_t cycles);

#endif /* IOPF_STATS_TEXT_H */
