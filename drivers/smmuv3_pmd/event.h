/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_EVENT_H
#define SMMUV3_EVENT_H

/*
 * The fields of an event that are only for records that do not stall [7.3]: the stall path does
 * not pay for them.
 */

#include <iopf_driver.h>

#include "smmuv3_spec.h"

/*
 * Words 1 to 3 of the record; @p event has its common fields. Sets the fields that struct
 * iopf_event has for events without IOPF_EVENT_STALL, and addr and perm where the record has them
 * in other bits than a stall's.
 */
void smmuv3_event_decode_rest(const struct smmuv3_evt *evt, struct iopf_event *event);

/* IOPF_CLASS_*, from word 1 of the record of a translation fault. */
uint8_t smmuv3_event_decode_class(uint64_t dw1);

#endif /* SMMUV3_EVENT_H */
