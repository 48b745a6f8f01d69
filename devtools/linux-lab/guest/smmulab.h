/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_SMMULAB_H
#define LAB_SMMULAB_H

/*
 * The test driver: programs the SMMU through Linux's DMA and IOMMU interfaces, makes the host's
 * endpoints do DMA, and checks the memory.
 */

#include <linux/iommu.h>
#include <linux/mutex.h>
#include <linux/types.h>

#include "mailbox.h"

#define LAB_NB_DEVS	4
#define LAB_PCI_DEV	3
#define LAB_VA		0x800000000ull	/* base address in domains of the tests */
#define LAB_RW		(IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE)
#define LAB_NO_PASID	(-1)

struct lab_dev {
	struct device *dev;
	u32 sid;
	bool stall;
	bool ats;		/* Linux has enabled ATS */
	bool function;		/* its DMA comes from a PCIe function with an ATC */
	struct iommu_sva *sva;
};

/*
 * A check has a name. run.sh compares only the names with the expected failures; the text is for
 * readers.
 */
#define LAB_CHECK(cond, name, fmt, ...) \
	lab_check(!!(cond), name, " (line %d: " fmt ")", __LINE__, ##__VA_ARGS__)
__printf(3, 4) bool lab_check(bool ok, const char *name, const char *fmt, ...);

/* mailbox.c. Calls return 0, a status of the mailbox, or -ETIMEDOUT from then on. */
extern struct lab_mailbox *lab_mb;
void lab_init(struct lab_dev *t, enum lab_op op);
int lab_go(void);
u8 *lab_data(void);
int lab_call_ats(struct lab_dev *t, enum lab_ats call, u32 arg);
void lab_mark(const char *text);
void lab_knob(unsigned int knob, u32 value);
int lab_dma(struct lab_dev *t, enum lab_op op, u64 addr, u64 len, int pasid, u32 pattern);
int lab_write(struct lab_dev *t, u64 addr, u64 len, u32 pattern);
int lab_read(struct lab_dev *t, u64 addr, u64 len);
int lab_burst(struct lab_dev *t, u64 addr, unsigned int count, bool write);
void lab_stream_on(struct lab_dev *t, u64 addr, bool write, unsigned int pause_us);
void lab_stream_off(struct lab_dev *t);
/* len bytes as 32-bit words: pattern, pattern + 4, ... */
void lab_fill(void *p, u64 len, u32 pattern);
bool lab_same(void *p, u64 len, u32 pattern);

/* watch.c */
long lab_watch(void __user *arg);
long lab_bench(struct lab_dev *t, void __user *arg);

/* domain.c */
int lab_attach(struct iommu_domain *d, struct lab_dev *t);
void lab_detach(struct iommu_domain *d, struct lab_dev *t);
struct iommu_domain *lab_domain(struct lab_dev *t);
int lab_map(struct iommu_domain *d, u64 va, u64 pa, size_t len, int prot);

/* The tests. */
void lab_test_coherent(struct lab_dev *t);
void lab_test_streaming(struct lab_dev *t);
void lab_test_blocks(struct lab_dev *t);
void lab_test_stress(struct lab_dev *t);
void lab_test_switch(struct lab_dev *t);
void lab_test_pasid(struct lab_dev *t);
void lab_test_iopf(struct lab_dev *t);
void lab_test_errors(struct lab_dev *t);
void lab_test_ats(struct lab_dev *t);
void lab_test_dead(struct lab_dev *t);

#endif /* LAB_SMMULAB_H */
