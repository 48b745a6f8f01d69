/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ORDER_RIG_H
#define ORDER_RIG_H

/*
 * Contract 4: each barrier of the driver stands where its argument says. x86 orders most accesses
 * without barriers, and a model in the same process is coherent, so no other test notices a missing
 * barrier. This driver is built with SMMUV3_ORDER_LOG, and the tests check the order of its
 * register accesses, barriers and structure words:
 *
 *	trail_start();
 *	... an operation of the driver ...
 *	trail_stop();
 *	prod = trail_expect(0, WRITE, SMMUV3_CMDQ_PROD);
 *	trail_expect(prod, MB, 0);
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define TRAIL_EVENTS	65536

enum trail_kind {
	READ,
	WRITE,
	MB,
	WMB,
	RMB,
	DW,
};

struct trail {
	bool on;
	unsigned int n;
	struct trail_event {
		enum trail_kind kind;
		uint32_t offset;	/* READ and WRITE: the register */
		uint64_t value;
		const uint64_t *dw;	/* DW: the word */
	} events[TRAIL_EVENTS];
};

extern struct trail trail;

void trail_start(void);
void trail_stop(void);
/* The first such event from @p from on, or the number of events if there is none. */
unsigned int trail_find(unsigned int from, enum trail_kind kind, uint32_t offset);
/* The same; there is one. */
unsigned int trail_expect(unsigned int from, enum trail_kind kind, uint32_t offset);
/* Memory written earlier is visible before the register store at @p at. */
void trail_expect_stores_before(unsigned int at);

/* An SMMU that runs, with one device attached. */
void order_open(struct pmd *p, enum iopf_recover recover);
void order_send_answer(struct pmd *p);

#endif /* ORDER_RIG_H */
