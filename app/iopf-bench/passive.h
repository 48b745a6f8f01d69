/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PASSIVE_H
#define PASSIVE_H

/*
 * The engine "none": iopf-bench opens the SMMU of a device string, gives the StreamIDs of the
 * user's devices a region of managed memory, and measures the faults that they have there. Nothing
 * here makes an access: the user's own program drives the devices, in any process.
 *
 *	iopf-bench --engine none --device smmuv3,vfio=9050000.smmuv3 --streams 16 --seconds 10
 *	StreamID 16 may use 0x7f2a40000000 to 0x7f2a43ffffff (64 MiB) ...
 *
 * The first line is printed when accesses are served. Its addresses are those that the device uses:
 * a region's pointer is its device address. A program that must read or write the region too maps
 * the same memory, through /proc/PID/map_files (the guide).
 *
 * Each page faults once. With refault_ms all pages are unmapped each so many milliseconds, while
 * the device runs, so that they fault again.
 *
 * Latency is that of the library's own histogram: from the read of a record, on the poll thread, to
 * the send of the answer. No SMMU tells when it stored a record. An interval is a round of the
 * results, with one case; its histogram is the difference of two readings.
 *
 * Call order, all on the main thread: passive_open(), passive_measure(), passive_close(). The poll
 * thread runs between the first and the last, on conf->cpu_servicer.
 */

#include "bench.h"

struct passive;

/* Returns NULL after reporting the error. conf must outlive it. */
struct passive *passive_open(const struct bench_conf *conf);
/* The region, for CPU and device. */
void *passive_get_region(const struct passive *p, size_t *size);
/*
 * Measure conf->rounds intervals, or until an interrupt; the last interval may be shorter. At the
 * end of each one on_interval is called, unless it is NULL, with the faults that wait for answers.
 * Fills in @p res, which results_free() frees. Returns 0, or -errno after reporting the error:
 * -ENODATA if no fault was answered.
 */
int passive_measure(struct passive *p, struct results *res,
		void (*on_interval)(const struct results *res, unsigned int i, uint64_t waiting));
/* Unmap the region, so that each page faults again. Returns 0, or -errno after reporting it. */
int passive_unmap(struct passive *p);
/* Let passive_measure() end before its time; the caller reports an error. Any thread. */
void passive_end(struct passive *p);
/* Detach the devices and close the SMMU. Returns 0, or -errno after reporting the error. */
int passive_close(struct passive *p);
/* All three, and the mailbox's load with that engine. */
int passive_run(const struct bench_conf *conf, struct results *res);

/* The objects whose counters results.counts has, and the counters' names. */
enum passive_object { PASSIVE_DOMAIN, PASSIVE_MEMORY, PASSIVE_IOMMU };
extern const struct passive_count {
	enum passive_object of;
	unsigned int stat;	/* enum iopf_stat, mmem_stat, iopf_iommu_stat */
} passive_counts[PASSIVE_NB_COUNTS];
const char *passive_count_name(const struct passive_count *count);

/* Check the settings together and set the defaults. Reports an error and returns false. */
bool passive_fill_in(struct bench_conf *conf);

/* passive_print.c */
/* Faults in a second, over all intervals. */
double passive_get_mean_rate(const struct results *res, uint64_t samples);
void passive_print_header(const struct passive *p, const struct bench_conf *conf);
void passive_print_interval(const struct results *res, unsigned int i, uint64_t waiting);
void report_print_passive(const struct results *res);

#endif /* PASSIVE_H */
