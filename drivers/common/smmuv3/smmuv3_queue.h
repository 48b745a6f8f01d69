/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_QUEUE_H
#define SMMUV3_QUEUE_H

/**
 * @file
 * Index arithmetic of the SMMUv3 circular queues [3.5.1].
 *
 * A queue of 2^n entries is named by n ("log2"). PROD and CONS hold n index
 * bits and, above them, one wrap bit that flips each time the index passes
 * the end: bits [n:0] together count modulo 2^(n+1). The functions ignore the bits
 * above the wrap bit (OVFLG, ERR), so the caller passes a register value as read.
 *
 *	empty	PROD == CONS
 *	full	same index, different wrap bit
 *
 * Example, n = 2: PROD 0b101 (index 1, wrapped), CONS 0b010 (index 2):
 * smmuv3_q_count() is 3, smmuv3_q_space() is 1.
 */

#include <stdbool.h>
#include <stdint.h>

/* The index and the wrap bit of a register value. */
static inline uint32_t
smmuv3_q_pos(unsigned int log2, uint32_t reg)
{
	return reg & ((UINT32_C(2) << log2) - 1);
}

/* The index of the entry in the memory of the queue. */
static inline uint32_t
smmuv3_q_slot(unsigned int log2, uint32_t reg)
{
	return reg & ((UINT32_C(1) << log2) - 1);
}

static inline uint32_t
smmuv3_q_add(unsigned int log2, uint32_t reg, uint32_t n)
{
	return smmuv3_q_pos(log2, reg + n);
}

/* Entries between CONS and PROD; more than 2^log2 if the pair is illegal. */
static inline uint32_t
smmuv3_q_count(unsigned int log2, uint32_t prod, uint32_t cons)
{
	return smmuv3_q_pos(log2, prod - cons);
}

static inline bool
smmuv3_q_legal(unsigned int log2, uint32_t prod, uint32_t cons)
{
	return smmuv3_q_count(log2, prod, cons) <= (UINT32_C(1) << log2);
}

static inline bool
smmuv3_q_empty(unsigned int log2, uint32_t prod, uint32_t cons)
{
	return smmuv3_q_count(log2, prod, cons) == 0;
}

static inline bool
smmuv3_q_full(unsigned int log2, uint32_t prod, uint32_t cons)
{
	return smmuv3_q_count(log2, prod, cons) == (UINT32_C(1) << log2);
}

/* Free entries of a legal pair. */
static inline uint32_t
smmuv3_q_space(unsigned int log2, uint32_t prod, uint32_t cons)
{
	return (UINT32_C(1) << log2) - smmuv3_q_count(log2, prod, cons);
}

/*
 * Has CONS passed the entry that was written at position @p pos? The answer is valid while
 * at most one queue length of entries was produced since.
 */
static inline bool
smmuv3_q_consumed(unsigned int log2, uint32_t cons, uint32_t pos)
{
	uint32_t behind = smmuv3_q_pos(log2, cons - pos);

	return behind > 0 && behind <= (UINT32_C(1) << log2);
}

#endif /* SMMUV3_QUEUE_H */
