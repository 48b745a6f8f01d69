/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ATS_RIG_H
#define ATS_RIG_H

/*
 * ATS in the driver: devices of the model that have ATCs. The model's oracle reports an access
 * through an ATC entry after the invalidation of that entry is complete. The model's log reports
 * what a driver must not do. pmd_close() checks at the end of each test that both are empty.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define SID	PMD_SID
#define VA	PMD_VA
#define PAGE	((uint64_t)1 << 12)

extern const struct smmuv3_model_conf ats_conf;

/* Opens and starts the driver. */
void ats_open(struct pmd *p, const struct smmuv3_model_conf *conf);
/* Gives the model a thread. Each wait gets a minute, because the machine may be busy. */
void ats_run_model(struct pmd *p);
void *ats_add_dev_sids(struct pmd *p, const uint32_t *sids, unsigned int n, uint32_t nb_pasids,
		bool prg_pasid);
void *ats_add_dev(struct pmd *p, uint32_t sid, uint32_t nb_pasids);
/* Adds a domain with its own table, which pmd_map() and pmd_get_pte() use from here on. */
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
/* Steps the model and calls check() until the driver has recovered. */
void ats_finish_recovery(struct pmd *p);
void ats_close(struct pmd *p);

#endif /* ATS_RIG_H */
