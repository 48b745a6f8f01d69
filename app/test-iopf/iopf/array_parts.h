/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ARRAY_PARTS_H
#define ARRAY_PARTS_H

/* Parts of the driver "arrays" for each other. Tests include array_iommu.h. */

#include <stdbool.h>
#include <stdint.h>

#include "array_iommu.h"

/* array_iommu.c: the start of an operation. Returns what the operation must return. */
int array_apply_knob(enum array_call call);

/* array_domains.c. A use after the release, or a release while in use, is counted in hw.misused. */
void array_free_handles(void);
void array_use_domain(void *domain);
void array_leave_domain(void *domain);
int array_domain_add(void *priv, const struct iopf_translation *translation, void *parent,
		void **domain);
void array_domain_del(void *priv, void *domain);
int array_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
int array_detach(void *priv, void *attachment);
int array_replace(void *priv, void *attachment, void *domain, void **next);
int array_stall_set(void *priv, void *attachment, bool on);
int array_invalidate_typed(void *priv, void *domain, const struct iopf_inv *inv,
		unsigned int n, struct iopf_inv_result *result);
int array_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result);

/* array_queues.c */
uint16_t array_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n);
const struct iopf_peek *array_peek(void *priv, uint16_t queue);
uint64_t array_mark(void *priv, uint16_t queue);
bool array_passed(void *priv, uint16_t queue, uint64_t mark);
uint16_t array_answer(void *priv, const struct iopf_answer *answers, uint16_t n);
uint16_t array_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n);

#endif /* ARRAY_PARTS_H */
