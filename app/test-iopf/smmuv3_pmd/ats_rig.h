/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ATS_RIG_H
#define ATS_RIG_H

/*
 * ATS in the driver: devices of the model that have ATCs. Its oracle reports an access
 * through an ATC entry whose invalidation is complete, and its log what a driver must
 * not do; both are empty at the end of each test (pmd_close()).
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define SID	PMD_SID
#define VA	PMD_VA
#define PAGE	((uint64_t)1 << 12)

extern const struct smmuv3_model_conf ats_conf;

/* Opened and started. */
void ats_open(struct pmd *p, const struct smmuv3_model_conf *conf);
/* The model gets a thread, and machines are busy: waits are not to end before a minute. */
void ats_run_model(struct pmd *p);
void *ats_add_dev_sids(struct pmd *p, const uint32_t *sids, unsigned int n, uint32_t nb_pasids,
		bool prg_pasid);
void *ats_add_dev(struct pmd *p, uint32_t sid, uint32_t nb_pasids);
/* With a table of its own, which is that of pmd_map() and pmd_pte() from here on. */
void *ats_add_domain(struct pmd *p);
void ats_attach(struct pmd *p, void *dev, uint32_t pasid, void *domain);
void ats_detach(struct pmd *p, void *dev, uint32_t pasid);
struct smmuv3_model_dma *ats_add_engine(struct pmd *p, uint32_t sid, uint32_t pasid,
		bool prg_pasid);
enum smmuv3_model_status ats_touch(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va);
bool ats_can_reach(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va);
void *ats_map(struct pmd *p, uint64_t va);
void ats_unmap(struct pmd *p, uint64_t va);
int ats_invalidate(struct pmd *p, void *domain, uint64_t va, unsigned int *done);
void ats_invalidate_page(struct pmd *p, void *domain, uint64_t va);
/* Steps and checks until the driver has recovered from what there was. */
void ats_finish_recovery(struct pmd *p);
void ats_close(struct pmd *p);

#endif /* ATS_RIG_H */
