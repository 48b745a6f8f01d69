/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PIECES_H
#define PIECES_H

/*
 * The driver "pieces": the driver for the SMMUv3, on a model, with memory as physical memory is.
 * The memory of an application has a device address for each piece of 2 MiB, in another order than
 * the addresses of the CPU.
 */
void pieces_register(void);

#endif /* PIECES_H */
