/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FUZZ_H
#define FUZZ_H

/*
 * Common to the libFuzzer targets. They use the rigs of the tests, whose failed assertions end the
 * program, which libFuzzer reports with the input.
 */

#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <smmuv3_model.h>

/* libFuzzer's names. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Start EAL. The lines of the log are counted, not shown. */
void fuzz_init(const char *name);

/* Print the errors of the host's SMMU, and end the program. */
void fuzz_die(const char *why) __attribute__((noreturn));

/*
 * After an input: neither the SMMU nor its oracle has an error of the driver, and the driver none
 * of the SMMU; what an input can cause has not filled the log.
 */
void fuzz_check(struct smmuv3_model *m, struct iopf_iommu *iommu);

#endif /* FUZZ_H */
