/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_GATE_H
#define IOPF_GATE_H

/* The gate of an attachment: decides whether a fault goes to the handler. See IOPF_GATE_*. */

#include "attachment.h"

/* The gate is not 0: decide, or call the handler. Returns the verdict. */
enum iopf_verdict iopf_gate_run(struct iopf_attachment *attachment,
		const struct iopf_group *group);

#endif /* IOPF_GATE_H */
