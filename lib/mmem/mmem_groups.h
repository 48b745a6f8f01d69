/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_GROUPS_H
#define MMEM_GROUPS_H

#include <stdint.h>

/* Groups that wait to be deferred again. The owner's lock protects them. */
struct mmem_groups {
	uint64_t *ids;
	unsigned int nb;
	unsigned int max;
};

int mmem_groups_add(struct mmem_groups *groups, uint64_t id);
/* Defer all groups again and empty the list. */
void mmem_groups_defer(struct mmem_groups *groups);

#endif /* MMEM_GROUPS_H */
