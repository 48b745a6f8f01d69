/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FAKE_PRIQ_H
#define FAKE_PRIQ_H

/*
 * The page request queue, against an SMMU played by the test, which says what was lost and
 * where. priq.c is compiled in here once more, so that each access to a register is seen.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define SSV	SMMUV3_PPR0_SSV
#define LAST	SMMUV3_PPR0_LAST
#define W	SMMUV3_PPR0_W
#define R	SMMUV3_PPR0_R
#define SID	UINT64_C(0x1234)

/* What the driver has to say, in this order. */
enum fq_item {
	REQUEST,
	UNWRITTEN,	/* PROD has passed it, and nothing is there */
	LOST,
};

struct fake_priq {
	struct pmd p;
	unsigned int log2;
	uint32_t prod;			/* register */
	bool blocked;			/* PRIQ_ABT_ERR, or SMMUEN = 0 */
	unsigned int seed;
	unsigned int meanwhile;		/* one in so many accesses finds that something happened */
	/* the stream, from the oldest that was not polled */
	struct { enum fq_item item; uint32_t serial; } stream[4096];
	unsigned int head, tail;
	uint32_t serial;
	bool told;			/* the last that was polled was LOST */
	unsigned int nb_overflows, nb_lost;
	/* what the driver did in one call */
	unsigned int cons_stores;
	uint32_t cons;
	uint32_t cons_before;
};

/* The one that is open. */
extern struct fake_priq *fq;

bool fq_chance(unsigned int one_in);
uint32_t fq_read(uint32_t offset);
void fq_write_prod(uint32_t prod);
/* A page request arrives [8.1, 8.2]. */
void fq_add(enum fq_item item, uint64_t dw0, uint64_t dw1);
void fq_add_request(void);
/* GERROR.PRIQ_ABT_ERR, or SMMUEN = 0 ... */
void fq_block(void);
/* ... and what check() does about it. */
void fq_unblock(void);
/* One or several of these happen, or none. */
void fq_act_randomly(void);
void fq_open_sids(struct fake_priq *fake, unsigned int log2, bool msi, unsigned int sid_bits);
void fq_open(struct fake_priq *fake, unsigned int log2, bool msi);
void fq_close(void);
uint16_t fq_poll(struct iopf_event *events, uint16_t n);
/* All in order, and the acknowledgement with the marker. */
uint16_t fq_poll_stream(uint16_t n);

/* smmuv3_priq_record_loss() and smmuv3_priq_has_unreported_loss() of the priq.c that is compiled in here. */
void seen_lost(struct smmuv3 *s);
bool seen_losing(const struct smmuv3 *s);

#endif /* FAKE_PRIQ_H */
