/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_WAITING_H
#define MMEM_WAITING_H

#include <stdint.h>

/* Groups that wait to be deferred again. The owner's lock protects them. */
struct mmem_waiting {
	uint64_t *ids;
	unsigned int nb;
	unsigned int max;
};

int mmem_waiting_add(struct mmem_waiting *groups, uint64_t id);
/* Defer all groups again and empty the list. */
void mmem_waiting_defer(struct mmem_waiting *groups);

#endif /* MMEM_WAITING_H */
