/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef EAL_H
#define EAL_H

/* Start EAL; this thread and its later ones keep the CPUs that they may use now. 0 or -1. */
int eal_start(char *program);

#endif /* EAL_H */
