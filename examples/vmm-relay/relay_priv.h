/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RELAY_PRIV_H
#define RELAY_PRIV_H

/* The parts of the relay. */

#include <stdatomic.h>
#include <stdbool.h>

#include <smmuv3_front.h>

#include "relay.h"

#define RELAY_DEVS	64
#define RELAY_SID_BITS	16	/* of the virtual SMMU, by default */
#define RELAY_STALLS	64	/* STALL_MAX of the virtual SMMU */
#define RELAY_GROUPS	512	/* all PRG indices of a device [8.1] */

/* A page request group. Its index is the PRG index that the guest sees. */
struct relay_group {
	bool used;
	uint32_t pasid;			/* or IOPF_NO_PASID */
	uint64_t id;
};

/* What the guest's SMMU finds for a StreamID. */
struct relay_ste {
	uint64_t dw[2];			/* words 0 and 1; 0: there is no valid STE */
	uint8_t event;			/* of an access that has no valid STE; 0: none */
	uint64_t fetch_addr;		/* of F_STE_FETCH */
};

struct relay_dev {
	struct relay *relay;
	uint32_t vsid, sid;
	struct iopf_dev *dev;
	struct relay_ste ste;		/* that domain was made from */
	_Atomic bool ats;		/* ste allows ATS: the device has an ATC */
	struct iopf_domain *domain;	/* that it has: nested, the parent, or NULL */
	struct iopf_domain *former;	/* that is not released yet, or NULL */
	uint8_t event;			/* of an access while it is cut off; 0: none */
	bool late;			/* the host does not follow the STE yet: a SYNC waits */
	struct relay_group group[RELAY_GROUPS];
};

/* A stall. Its index is the STAG that the guest sees. */
struct relay_stall {
	bool used, shown;		/* shown: the record is in the guest's queue */
	const struct relay_dev *dev;
	uint64_t group;
	uint64_t record[4];
};

struct relay {
	struct relay_conf conf;
	struct smmuv3_front *front;
	_Atomic int thread;		/* that steps */
	struct relay_dev dev[RELAY_DEVS];
	unsigned int nb_devs;
	struct relay_stall stall[RELAY_STALLS];
	bool atc_failed;		/* since the last SYNC */
	struct relay_stats stats;
};

/* Is this the thread that steps the relay, and that alone uses its state? */
bool relay_is_on_thread(struct relay *r);
/* NULL: the guest has no such device. */
struct relay_dev *relay_find_dev(struct relay *r, uint32_t vsid);

/* ste.c */
/* The guest may have changed the STE of the device, or CDs that were found through it. */
void relay_update_ste(struct relay_dev *d);
/* Try again what an update could not do. False: something is left. */
bool relay_finish_stes(struct relay *r);
/* 0: no access of the device reaches memory, and none is stalled. Or -errno: call it again. */
int relay_cut_off(struct relay_dev *d);

/* event.c */
/* The guest's record of a fault of stage 1. False: it has none. */
bool relay_make_record(const struct relay_dev *d, const struct iopf_fault *fault,
		uint64_t record[4]);
/* Put the record of a fault of stage 2, if the guest's SMMU has one for it. */
void relay_report_stage2(const struct relay_dev *d, const struct iopf_fault *fault);

/* command.c: operations of the front end. */
unsigned int relay_execute(void *ctx, const struct smmuv3_front_cmd *cmds, unsigned int n,
		enum smmuv3_front_error *error);
enum smmuv3_front_sync relay_sync(void *ctx);

/* stall.c */
enum iopf_verdict relay_handle_fault(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);
/* Answer one stall, or all of a device; NULL: of all devices. */
void relay_resume(struct relay *r, const struct relay_dev *dev, uint16_t stag,
		enum iopf_code code);
void relay_end_stalls(struct relay *r, const struct relay_dev *dev);
/* Put the records that the guest's queue had no room for. */
void relay_show_stalls(struct relay *r);

/* request.c */
enum iopf_verdict relay_handle_group(struct relay_dev *d, const struct iopf_group *group);
/* The guest's PRI_RESP. Of no group of the device: no effect. */
void relay_respond(struct relay *r, struct relay_dev *d, const struct smmuv3_front_cmd *cmd);
/* Answer all groups of all devices. */
void relay_end_groups(struct relay *r);

#endif /* RELAY_PRIV_H */
