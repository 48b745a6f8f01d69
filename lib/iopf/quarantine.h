/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef QUARANTINE_H
#define QUARANTINE_H

/* The control part of a quarantine: see dev_limits.h. The caller holds the device's lock. */

#include <stdbool.h>
#include <stdint.h>

struct iopf_dev;

/* For the callback of a quarantine. */
struct iopf_quarantine_note {
	bool is_due;
	uint32_t ms;
};

/*
 * Have the driver block the device. The caller has answered its faults, and ATS is off at it. Can
 * be repeated after an error.
 */
int iopf_dev_begin_block(struct iopf_dev *dev);
/*
 * Have the driver end the block, unless a quarantine or a breaker needs it: also one that is wanted
 * and has not begun, which only its own step begins. Can be repeated after an error.
 */
int iopf_dev_end_block(struct iopf_dev *dev);
/* Answer what handlers hold of the device. */
void iopf_dev_answer_faults(struct iopf_dev *dev);
/* The policy thread's part. Returns true if it needs the next tick too. */
bool iopf_quarantine_serve(struct iopf_dev *dev, uint64_t now, struct iopf_quarantine_note *note);

#endif /* QUARANTINE_H */
