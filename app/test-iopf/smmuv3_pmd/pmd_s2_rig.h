/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PMD_S2_RIG_H
#define PMD_S2_RIG_H

/*
 * Stage-2 domains in the driver, with tables of lib/pgtable, on a model that keeps each TLB entry
 * until it is invalidated, and invalidates no earlier than it must. The oracle reports an access
 * through an entry that should be gone.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pgtable.h"
#include "pmd_rig.h"

/* A stage-2 domain and its table. */
struct pmd_s2_space {
	struct pgt *pgt;
	struct pgt_info info;
	void *domain;
};

/* Opens a model with stage 2 and these features more, and starts the driver. */
void pmd_s2_open(struct pmd *p, const struct smmuv3_model_conf *conf);
void pmd_s2_close(struct pmd *p);
/* A device at PMD_SID + @p i, and an engine for it. */
void *pmd_s2_add_dev(struct pmd *p, unsigned int i, enum iopf_recover recover, uint32_t nb_pasids);
struct smmuv3_model_dma *pmd_s2_add_engine(struct pmd *p, unsigned int i);
void pmd_s2_create(struct pmd *p, struct pmd_s2_space *s, unsigned int granule_log2,
		unsigned int ipa_bits);
void pmd_s2_destroy(struct pmd *p, struct pmd_s2_space *s);
struct iopf_translation pmd_s2_translation(const struct pmd_s2_space *s);
/* Maps a page that is new. Returns it. */
uint8_t *pmd_s2_map(struct pmd *p, struct pmd_s2_space *s, uint64_t ipa);
/* Unmaps the page and has the driver invalidate it. */
void pmd_s2_unmap(struct pmd *p, struct pmd_s2_space *s, uint64_t ipa);
/* One write of a byte; its status, with the stalls of others left alone. */
enum smmuv3_model_status pmd_s2_touch(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t ipa);
/* A write to a hole; returns its event, a stage-2 fault of class IN of this IPA. */
struct iopf_event pmd_s2_fault(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t ipa);
/* The same from start to end: the page is mapped, and the access succeeds. Of a stalling device. */
void pmd_s2_serve(struct pmd *p, struct pmd_s2_space *s, struct smmuv3_model_dma *dma,
		uint64_t ipa);
/* No record is in the event queue. */
void pmd_s2_expect_no_event(struct pmd *p);

#endif /* PMD_S2_RIG_H */
