/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_RIG_H
#define LAB_RIG_H

/*
 * An SMMUv3 that this project did not write, and the `edu` PCI device behind it, both through VFIO:
 * in the guest that devtools/qemu-lab/run.sh makes.
 *
 * The device has a buffer of 4 KiB and moves at most LAB_DMA_MAX bytes between it and memory, in
 * 100 ms. To the device an access that the SMMU refuses looks like one that succeeded; only the
 * events show the difference.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_handler.h>
#include <iopf_iommu.h>
#include <pgtable.h>

#define LAB_DMA_MAX	4095

/* Skip the test outside the lab. */
void lab_skip_elsewhere(void);

/* "smmuv3,vfio=..." of the lab's SMMU. IOPF_LAB_SMMU names another one. */
const char *lab_get_devstr(void);
const char *lab_smmu_name(void);

/* The device. */
struct lab_edu {
	int fd;
	uint8_t *bar;
	size_t size;
	uint32_t sid;
	char bdf[16];
};

void lab_edu_open(struct lab_edu *edu);
void lab_edu_close(struct lab_edu *edu);
/* Start a DMA. The direction is the device's: it reads or writes memory at @p addr. */
void lab_edu_start(struct lab_edu *edu, bool write, uint64_t addr, uint32_t at, uint32_t len);
bool lab_edu_busy(struct lab_edu *edu);
/* Poll until the device is not busy. */
void lab_edu_wait(struct lab_edu *edu);

/* The SMMU through lib/iopf, with the device and a poller. One at a time. */
struct lab {
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct lab_edu edu;
	/* Notifications of the device since lab_clear(). */
	unsigned int nb_retries;
	unsigned int nb_refused;	/* those with a code other than SUCCESS */
	struct iopf_retry retry;	/* the last one */
	unsigned int nb_reports;
	struct iopf_fault report;	/* the last one */
};
extern struct lab lab;

/* Open and start. Adds the device unless @p no_dev. */
void lab_start(const struct iopf_iommu_conf *conf, bool no_dev);
/* Undo everything that exists; for teardown after any failure. */
int lab_finish(void **state);

void lab_clear(void);
/* Poll until nothing has come for a while. */
void lab_drain(void);
/*
 * One DMA. Its faults are served, but it is not repeated. It uses the device's buffer from the
 * start.
 */
void lab_try(bool write, uint64_t addr, uint32_t len);
/* The same, repeated as long as the device gets a retry. 0; -EFAULT (refused), -ELOOP. */
int lab_move(bool write, uint64_t addr, uint32_t len);

/* A hugepage for a test's own data, with its physical address. */
#define LAB_ZONE_SIZE ((size_t)2 << 20)
struct lab_zone {
	uint8_t *va;
	uint64_t addr;
	size_t used;
};
void lab_zone_make(struct lab_zone *zone);
void lab_zone_free(struct lab_zone *zone);

/* A page table in such a page. */
struct lab_table {
	struct pgt *pgt;
	struct lab_zone zone;
};
void lab_table_make(struct lab_table *table, unsigned int granule_log2, unsigned int pa_bits);
void lab_table_free(struct lab_table *table);

uint64_t lab_read_stat(const char *name);

#endif /* LAB_RIG_H */
