/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POWER_RIG_H
#define POWER_RIG_H

/*
 * Suspend and resume through the public interface, on a model that loses its power meanwhile: an
 * access of a register is then SIGSEGV.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "iopf_power.h"
#include "pcie_rig.h"

struct power {
	struct pcie r;
	struct pcie_fn fn;		/* stalls, or has PRI */
	struct pcie_space space;
	struct smmuv3_model_dma *dma;
	_Atomic unsigned int nb_on, nb_off, nb_resumed;
	_Atomic int on_result;		/* of power_on, read at its begin */
	/* Calls of power_on that have begun, and those that wait: the ones after nb_may_end. */
	_Atomic unsigned int nb_begun, nb_may_end;
	_Atomic int resumed_result;	/* the last one */
};

/* The model's power follows; conf may have autosuspend_ms and unsafe_bypass. NULL: the defaults. */
void power_open(struct power *p, bool pri, const struct iopf_power_conf *conf);
/* One more device, not attached. Returns its engine. */
struct smmuv3_model_dma *power_add_stalling(struct power *p, struct pcie_fn *fn, uint32_t sid);
/* Give the model a thread of its own, and the driver a minute for each wait. */
void power_run_model(struct power *p);
void power_close(struct power *p);
/* A suspend and a resume that succeed. */
void power_suspend(struct power *p, uint32_t flags);
void power_resume(struct power *p);
/* Access a page, whose first access faults, and check the data. */
void power_access(struct power *p, unsigned int page);
/* Access a page, whose fault the handler takes. Returns the group's id. */
uint64_t power_take_fault(struct power *p, unsigned int page);
/* Answer it: the access succeeds. */
void power_answer_fault(struct power *p, uint64_t id);
/* The access ends with this status. */
void power_expect(struct power *p, unsigned int page, enum smmuv3_model_status status);
/* Wait until iopf_iommu_is_suspended() is so; fail after a minute. */
void power_await(struct power *p, bool suspended);
/* Wait until iopf_dev_active() is 0; fail after a minute. */
void power_await_active(struct power *p);

#endif /* POWER_RIG_H */
