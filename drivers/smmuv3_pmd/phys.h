/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PHYS_H
#define SMMUV3_PHYS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The physical address of memory that the kernel does not move: EAL's, or populated hugepages of
 * the caller. 0; -ENOTSUP (not contiguous, or not in hugepages: logged unless it may be mapped in
 * pieces), -EPERM (the kernel does not tell), -EFAULT (not populated).
 */
int smmuv3_phys_lookup(const void *ptr, size_t len, uint64_t *addr);

#endif /* SMMUV3_PHYS_H */
