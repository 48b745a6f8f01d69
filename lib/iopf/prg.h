/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PRG_H
#define IOPF_PRG_H

/*
 * Page request groups (PRG). Only the owner of the queue calls these functions, but
 * iopf_prg_list_faults(), which is also for the worker that has the group, and
 * iopf_prg_count_slots(), which is also for the thread that closes the stack with the group.
 */

#include <stdint.h>

#include "fault_queue.h"

struct iopf_pass;

int iopf_prg_init(struct iopf_queue *q);
void iopf_prg_fini(struct iopf_queue *q);
/* No group is partial or pending. */
void iopf_prg_reset(struct iopf_queue *q);
/* Dispatch a burst of the request queue. Returns how many of the events are records. */
unsigned int iopf_prg_dispatch(struct iopf_pass *pass, const struct iopf_event *events,
		unsigned int n);
/* List the requests of the group whose first is @p head. */
uint16_t iopf_prg_list_faults(const struct iopf_queue *q, const struct iopf_slot *head,
		const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS]);
/* The slots of a complete group. */
uint32_t iopf_prg_count_slots(const struct iopf_queue *q, const struct iopf_slot *head);
/* Free all slots of a group that was answered. */
void iopf_prg_free(struct iopf_queue *q, uint32_t head);
/* Discard, and report, the groups that have waited for their Last since before @p since. */
void iopf_prg_discard_old(struct iopf_queue *q, uint64_t since);
void iopf_prg_discard_all(struct iopf_queue *q);

#endif /* IOPF_PRG_H */
