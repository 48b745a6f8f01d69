/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PMD_RIG_H
#define PMD_RIG_H

/*
 * The SMMUv3 driver on a model of its own. Tests call the driver's operations directly. The model
 * has no thread unless the test starts one: it steps in pmd_step() and in the driver's waits.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "attach_rig.h"
#include "backend_rig.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"

/* Tests look into the driver. */
#include "ids.h"
#include "atc.h"
#include "attach.h"
#include "dev.h"
#include "domain.h"
#include "entry.h"
#include "idr.h"
#include "smmuv3_pmd.h"
#include "tlbi.h"

#define PMD_SID		8
#define PMD_VA		UINT64_C(0x1234560000)
#define PMD_ARENA	(8u << 20)

struct pmd {
	struct backend_rig backend;
	struct smmuv3_model *m;
	const struct iopf_driver_ops *ops;
	struct smmuv3 *s;
	struct iopf_iommu_info info;
	uint8_t *arena;			/* tables and data, mapped for DMA */
	size_t used;
	unsigned int granule_log2;
	uint64_t *root;
	bool stage2;			/* the table is of stage 2, with IPAs of 48 bits */
	void *dev, *domain;
	bool prg_pasid;			/* of the device; set before the device is added */
	bool merge_events;		/* the same */
	struct smmuv3_model_dma *dma;
	bool untidy;			/* the test causes errors in the model's log */
};

/* Make a model and open the driver on it, without starting it. */
void pmd_open(struct pmd *p, const struct smmuv3_model_conf *conf);
/* The same, and return the result of open. After an error nothing else remains. */
int pmd_try_open(struct pmd *p, const struct smmuv3_model_conf *conf, const char *more_keys);
/* Open the driver on the same model, after the driver that had it open is closed. */
int pmd_open_again(struct pmd *p, const char *more_keys);
/* Start, add one device at PMD_SID and a domain with an empty table, attach, add an engine. */
void pmd_start(struct pmd *p, enum iopf_recover recover);
void pmd_add_dev(struct pmd *p, enum iopf_recover recover, uint32_t nb_pasids, uint32_t pasid);
/* Undo that and close. Fails the test if the model or its oracle found an error. */
void pmd_finish(struct pmd *p, uint32_t pasid);
void pmd_close(struct pmd *p);

void pmd_step(struct pmd *p);

/* Memory from the arena, zeroed, aligned to @p align. Its device address is its CPU address. */
void *pmd_alloc(struct pmd *p, size_t len, size_t align);
/* The leaf entry of @p va in the table. Missing levels above it are added. */
uint64_t *pmd_get_pte(struct pmd *p, uint64_t va);
void pmd_map(struct pmd *p, uint64_t va, void *page);

/* Submit one DMA write of @p len bytes of @p buf. */
void pmd_write(struct pmd *p, uint64_t va, uint8_t *buf, size_t len);
/* Step until the DMA has ended. Takes no event from the queue. */
enum smmuv3_model_status pmd_wait_done(struct pmd *p);
/* Step and poll until there is an event. */
void pmd_wait_event(struct pmd *p, struct iopf_event *event);
void pmd_answer(struct pmd *p, const struct iopf_event *event, enum iopf_code code);
/* One fault from start to end: access an unmapped page, map it, answer, complete. */
void pmd_serve_fault(struct pmd *p, uint64_t va);

/* IOPF_STALL where the SMMU supports stalls, else IOPF_TERMINATE. */
enum iopf_recover pmd_get_recover(const struct pmd *p);

/* A command that no SMMU accepts. */
extern const struct smmuv3_cmd pmd_illegal;
/* A TLBI by VA of page @p i. */
struct smmuv3_cmd pmd_make_tlbi(unsigned int i);

uint64_t pmd_read_stat(const struct pmd *p, const char *name);

#endif /* PMD_RIG_H */
