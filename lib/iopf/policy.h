/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POLICY_H
#define POLICY_H

/* What the policy thread does for a device, and how control calls wait for its callbacks. */

#include <stdbool.h>
#include <stdint.h>

struct iopf_attachment;
struct iopf_policy_client;

bool iopf_dev_serve(struct iopf_policy_client *client, uint64_t now);

/*
 * The functions below: the caller holds the device's lock.
 *
 * The callback of its breaker is called. No detach nor replace of it begins meanwhile.
 */
bool iopf_attachment_is_told(const struct iopf_attachment *attachment);
/* The same, or another thread detaches it. */
bool iopf_attachment_is_in_use(const struct iopf_attachment *attachment);
/*
 * Wait for the end of this. The device's lock is dropped meanwhile: after 0 the attachment may be
 * gone, or in use again. -ETIMEDOUT: the callback has not returned for wait_ms. A wait for another
 * thread's detach ends with that, whose waits are bounded.
 */
int iopf_attachment_wait(struct iopf_attachment *attachment);

#endif /* POLICY_H */
