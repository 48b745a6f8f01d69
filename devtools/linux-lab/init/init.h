/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_INIT_H
#define LAB_INIT_H

#include <stdbool.h>
#include <stddef.h>

#include "../guest/ioctl.h"
#include "../guest/mailbox.h"

/* /dev/smmulab. */
extern int lab_fd;
/* The answers to the last DMA. */
extern struct lab_dma lab_last;
/* The contents of the DMA. */
extern unsigned char lab_buf[LAB_DATA_SIZE];

/* Counts the check, and prints a failure as the test driver does. */
#define CHECK(cond, name) lab_check(cond, name, __LINE__)
bool lab_check(bool ok, const char *name, int line);
void lab_mark(const char *text);
int lab_dma(unsigned int op, void *va, size_t len, bool instruction);

/* The PASID of the DMA: that of the process. */
extern unsigned int lab_pasid;
bool lab_bind(void);
void lab_unbind(void);

void sva_test(void);

#endif /* LAB_INIT_H */
