/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PIECES_H
#define PIECES_H

/*
 * The driver "pieces": that for the SMMUv3, on a model, but with memory as physical
 * memory is. An application's memory has device addresses by pieces of 2 MiB, in
 * another order than the CPU's.
 */
void pieces_register(void);

#endif /* PIECES_H */
