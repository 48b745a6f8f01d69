/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BREAKER_RIG_H
#define BREAKER_RIG_H

/*
 * Attach, detach and removal of devices that fail half-way: a chosen CMD_SYNC of the driver fails.
 * A device of each kind shows what remains.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define VA	PMD_VA
#define PASID	1
#define KEEPER	2		/* another PASID of the device */
#define OLD	0x11
#define NEW	0x22
#define HARSH	(SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT | \
		SMMUV3_MODEL_HARSH_RANDOM)
#define MAX_SYNCS	64	/* of one attach or detach */
#define NB_KINDS	6
#define NB_S2_KINDS	4

/* How a CMD_SYNC fails. */
enum breaker_fault {
	STUCK,		/* the command queue stops: -ETIMEDOUT */
	REFUSED,	/* a command before it is illegal: -EIO */
	NB_FAULTS
};

/* A case: the kind of device and how it is attached. */
struct breaker_kind {
	enum iopf_recover recover;
	unsigned int nb_sids;
	bool keeper;		/* another PASID stays attached */
	unsigned int stall_model;
	bool stage2;		/* the domain is of stage 2; no keeper */
};

extern const struct breaker_kind breaker_kinds[NB_KINDS];
extern const struct breaker_kind breaker_s2_kinds[NB_S2_KINDS];

struct breaker_rig {
	struct pmd p;
	const struct breaker_kind *kind;
	void *domain, *keeper;
	uint32_t pasid;		/* of the domain: PASID, or none with stage 2 */
	uint16_t asid;		/* of the domain, or its VMID */
	uint8_t *page;
	struct smmuv3_model_dma *dma[3];
};

/*
 * Replaces the wait() of the command queue. The driver calls it for each CMD_SYNC before the model
 * has fetched the command: here the chosen CMD_SYNC is made to fail. wait() returning false ends
 * the driver's wait.
 */
struct breaker {
	struct breaker_rig *rig;
	struct smmuv3_cmdq_ops ops;
	const struct smmuv3_cmdq_ops *real;
	enum breaker_fault fault;
	uint64_t at;		/* value of the counter syncs, or a position; 0: none */
	bool quiet;		/* the device does no DMA meanwhile */
	bool hit, stuck;
};

extern struct breaker breaker;

/* Puts the breaker into the driver of the rig. breaker_open() calls it. */
void breaker_set(struct breaker_rig *r);
void breaker_stop_cmdq(bool on);
/*
 * The @p n-th CMD_SYNC from here on fails. With STUCK all later ones fail too, until
 * breaker_repair().
 */
void breaker_arm(struct pmd *p, enum breaker_fault fault, unsigned int n);
void breaker_repair(struct pmd *p);
void *breaker_add_domain(struct pmd *p);
/* Its ASID, or its VMID. */
uint16_t breaker_get_asid(void *domain);
/* Tells the oracle that the page is given or freed. */
void breaker_tell_frame(struct pmd *p, const void *page, bool give);
/* The SMMU of the tests can be of this kind. */
bool breaker_has_kind(const struct breaker_kind *kind);
void breaker_open(struct breaker_rig *r, const struct breaker_kind *kind);
void breaker_close(struct breaker_rig *r);
/*
 * One write by each StreamID. Each write ends: stalls are answered with INVALID. Returns how many
 * succeeded.
 */
unsigned int breaker_write_all(struct breaker_rig *r, uint8_t byte);
unsigned int breaker_count_atcs(const struct pmd *p);
/* Checks that no other domain gets the ASID while the attachment may be in use. */
void breaker_check_asid(struct breaker_rig *r);
/* Adds a domain without a page that has the same ASID. */
void *breaker_add_heir(struct breaker_rig *r);
/* Makes one access that aborts and returns the id of its one event. */
uint8_t breaker_read_record(struct pmd *p, uint32_t sid, uint32_t pasid);

#endif /* BREAKER_RIG_H */
