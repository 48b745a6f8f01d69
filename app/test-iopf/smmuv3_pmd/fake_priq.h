/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FAKE_PRIQ_H
#define FAKE_PRIQ_H

/*
 * The page request queue, with the test as the SMMU: the test knows which requests were lost, and
 * where. The rig compiles priq.c once more, and so sees each access to a register.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define SSV	SMMUV3_PPR0_SSV
#define LAST	SMMUV3_PPR0_LAST
#define W	SMMUV3_PPR0_W
#define R	SMMUV3_PPR0_R
#define SID	UINT64_C(0x1234)

/* The items that the driver must report, in this order. */
enum fq_item {
	REQUEST,
	UNWRITTEN,	/* PROD has passed the entry, and nothing was written there */
	LOST,
};

struct fake_priq {
	struct pmd p;
	unsigned int log2;
	uint32_t prod;			/* the register */
	bool blocked;			/* PRIQ_ABT_ERR, or SMMUEN = 0 */
	unsigned int seed;
	unsigned int meanwhile;		/* a random event follows one in so many accesses */
	/* the items to be reported, from the oldest that was not polled */
	struct { enum fq_item item; uint32_t serial; } stream[4096];
	unsigned int head, tail;
	uint32_t serial;
	bool told;			/* the item polled last was LOST */
	unsigned int nb_overflows, nb_lost;
	/* the driver's stores in one call */
	unsigned int cons_stores;
	uint32_t cons;
	uint32_t cons_before;
};

/* The queue that is open. */
extern struct fake_priq *fq;

bool fq_chance(unsigned int one_in);
uint32_t fq_read(uint32_t offset);
void fq_write_prod(uint32_t prod);
/* A page request arrives [8.1, 8.2]. */
void fq_add(enum fq_item item, uint64_t dw0, uint64_t dw1);
void fq_add_request(void);
/* Start GERROR.PRIQ_ABT_ERR, or SMMUEN = 0. */
void fq_block(void);
/* End it, as check() does. */
void fq_unblock(void);
/* Random events: one, several or none of the above. */
void fq_act_randomly(void);
void fq_open_sids(struct fake_priq *fake, unsigned int log2, bool msi, unsigned int sid_bits);
void fq_open(struct fake_priq *fake, unsigned int log2, bool msi);
void fq_close(void);
uint16_t fq_poll(struct iopf_event *events, uint16_t n);
/*
 * Polls, and checks that items are in order and that an overflow is acknowledged with its report.
 */
uint16_t fq_poll_stream(uint16_t n);

/* smmuv3_priq_record_loss() and smmuv3_priq_has_unreported_loss() of the priq.c compiled here. */
void seen_lost(struct smmuv3 *s);
bool seen_losing(const struct smmuv3 *s);

#endif /* FAKE_PRIQ_H */
