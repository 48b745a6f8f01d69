/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_FAULT_H
#define MMEM_FAULT_H

#include <stdint.h>

#include <iopf.h>

struct mmem_space;

enum iopf_verdict mmem_handle_fault(struct iopf_domain *domain, const struct iopf_group *group,
		void *space);
void mmem_handle_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
enum iopf_verdict mmem_handle_deferred(struct iopf_domain *domain, const struct iopf_group *group,
		void *space);

#endif /* MMEM_FAULT_H */
