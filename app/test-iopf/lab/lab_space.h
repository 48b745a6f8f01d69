/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_SPACE_H
#define LAB_SPACE_H

/* An address space of managed memory for the device of the lab, and the data that it moves. */

#include <stddef.h>
#include <stdint.h>

#include <iopf_iommu.h>
#include <mmem.h>

#include "lab_rig.h"

#define PAGE		4096

extern struct mmem_space *lab_space;
/* The last report of a refusal since lab_space_open(), and the number of reports. */
extern struct mmem_report lab_refusal;
extern unsigned int lab_nb_refusals;

void lab_space_open(const struct iopf_iommu_conf *conf);
int lab_space_close(void **state);
void lab_fill(uint8_t *p, size_t len, unsigned int seed);
void lab_check_bytes(const uint8_t *p, size_t len, unsigned int seed);
/* The device reads @p len bytes at src, then writes them at dst. */
void lab_copy(uint8_t *src, uint8_t *dst, uint32_t len, unsigned int seed);

#endif /* LAB_SPACE_H */
