/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CHECK_H
#define CHECK_H

#include "run.h"

/*
 * Print how many results of each context are right. Returns 0 if the run was as it should be, or -1
 * after a line on stderr for each mistake.
 */
int check_run(const struct run *run);

#endif /* CHECK_H */
