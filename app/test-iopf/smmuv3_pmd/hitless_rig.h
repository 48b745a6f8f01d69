/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef HITLESS_RIG_H
#define HITLESS_RIG_H

/*
 * What an SMMU could see of the driver's structures.
 *
 * The SMMU reads each 64-bit word of an L1STD, STE, L1CD or CD at any time while it can reach the
 * word, in any order, and keeps it until the CMD_SYNC after a CFGI is complete [3.21.3]. The rig
 * looks at memory before each store of a word and around each CMD_SYNC. For each (StreamID,
 * SubstreamID) it keeps the set of values that the SMMU may have of each word, and from these all
 * configurations that it may put together. One read of a structure uses one pointer; everything
 * else may mix.
 *
 *	hitless_watch(&p, sids, n, ssids, m);
 *	hitless_begin();
 *	... an operation of the driver ...
 *	seen = hitless_end(sid, ssid);
 *
 * The executable is built with SMMUV3_ORDER_LOG and --wrap=smmuv3_cmdq_sync. One thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

/* What the SMMU could see between hitless_begin() and hitless_end(). */
struct hitless_seen {
	bool invalid;		/* a configuration that translates nothing */
	bool mixed;		/* one that is valid, and neither the first, the last nor known */
	bool changed;		/* the last one is not the first one */
	bool ends_valid;	/* the last one translates */
	unsigned int left;	/* configurations that it may still have at the end */
};

void hitless_watch(struct pmd *p, const uint32_t *sids, unsigned int nb_sids,
		const uint32_t *ssids, unsigned int nb_ssids);
void hitless_unwatch(void);
/* What each view has now is a configuration that may be seen again. */
void hitless_learn(void);
void hitless_begin(void);
struct hitless_seen hitless_end(uint32_t sid, uint32_t ssid);

/*
 * The n-th smmuv3_cmdq_sync() from here on returns -ETIMEDOUT (0: none). If @p done its commands
 * are executed all the same.
 */
void hitless_fail_sync(unsigned int n, bool done);
/* That call has come. */
bool hitless_has_failed(void);

/* Called by order_rig.c before each store of a word. */
void hitless_look(void);

#endif /* HITLESS_RIG_H */
