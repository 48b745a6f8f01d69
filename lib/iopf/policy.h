/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POLICY_H
#define POLICY_H

/* What the policy thread does for a device. */

#include <stdbool.h>
#include <stdint.h>

struct iopf_policy_client;

bool iopf_dev_serve(struct iopf_policy_client *client, uint64_t now);

#endif /* POLICY_H */
