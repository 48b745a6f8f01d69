/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	bool help;
	bool retry;
	const char *iommu;	/* NULL: the software SMMU */
	const char *edu;	/* a PCI address; NULL: the software device */
	uint32_t sid;
	uint64_t packets;
	uint64_t ring;
	uint64_t buffers;
	uint64_t size;
	uint64_t unmap_every;
	uint64_t bad_every;
	uint64_t retries;
};

/* Returns 0, or -1 after one line on stderr. */
int options_parse(struct options *options, int argc, char **argv);
void options_print(void);

/* Print "dataplane: ..." on stderr. Returns -1. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* OPTIONS_H */
