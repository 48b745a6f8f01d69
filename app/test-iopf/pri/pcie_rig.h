/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PCIE_RIG_H
#define PCIE_RIG_H

/*
 * Page requests through the public interface, on a model that has ATS and PRI: PCIe
 * functions, and address spaces whose handlers do what the test says. The model has no
 * thread: it moves in pcie_step(), pcie_run() and where the library waits for it.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_pci.h>
#include <iopf_stats.h>

#include "pgtable.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"

#define PCIE_PAGE	4096
#define PCIE_PAGES	128			/* of an address space */
#define PCIE_VA		UINT64_C(0x1234400000)
#define PCIE_MAX_ENGINES	4

/* A function: a device of the library, and engines of one StreamID. */
struct pcie_fn {
	struct iopf_dev *dev;
	uint32_t sid;
	unsigned int nb_engines;
	struct smmuv3_model_dma *dma[PCIE_MAX_ENGINES];
	/* What the library asked for: A, P, p, a: ATS on, PRI on, off, off. */
	char log[64];
	uint32_t credits;		/* of the last P */
	unsigned int stu;		/* of the last A */
	/* ATS and PRI are off already, or will be. */
	bool was_reset;
	bool silent;			/* keeps no log */
};

extern const struct iopf_pci_ops pcie_fn_ops;	/* ctx: a struct pcie_fn */

/* An address space of PCIE_PAGES pages from PCIE_VA. */
struct pcie_space {
	struct iopf_domain *domain;
	struct pgt *pgt;
	uint8_t *data;
	/* The handler maps what is asked for, unless leave_unmapped, then says this [SUCCESS]. */
	enum iopf_verdict verdict;
	bool leave_unmapped;
	uint32_t prot;			/* [read and write] */
	/* What was lost is mapped too. */
	bool map_lost;
	/* What it saw. */
	unsigned int calls, lost;
	struct iopf_group group;	/* the last one; without faults */
	struct iopf_fault fault[IOPF_MAX_GROUP_FAULTS];
};

struct pcie {
	struct smmuv3_model *m;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct pcie_fn *fn[16];
	struct pcie_space *space[16];
	unsigned int nb_fns, nb_spaces;
	uint8_t *arena;
	size_t used;
	uint8_t *pattern;		/* what the functions write: page n of it at page n */
	unsigned int nb_reports;
	struct iopf_fault report;	/* the last one */
};

/* Either may be NULL. Started. */
void pcie_open(struct pcie *r, const struct smmuv3_model_conf *conf,
		const struct iopf_iommu_conf *iommu_conf);
/* Removes and frees all; fails the test unless each group was answered once. */
void pcie_close(struct pcie *r);

/*
 * Not attached. @p conf: pri_requests, prg_pasid, pri_overcommit, nb_pasids, and of the
 * operations pasid_drained; may be NULL.
 */
void pcie_fn(struct pcie *r, struct pcie_fn *f, uint32_t sid, const struct iopf_dev_conf *conf);
/* @p conf without kind and StreamID. The first one comes before the function is attached. */
struct smmuv3_model_dma *pcie_engine(struct pcie *r, struct pcie_fn *f,
		const struct smmuv3_model_dma_conf *conf);
void pcie_space(struct pcie *r, struct pcie_space *s);
void pcie_attach(struct pcie_space *s, struct pcie_fn *f, uint32_t pasid);
/* All of it: one function with one engine, attached. */
struct smmuv3_model_dma *pcie_simple(struct pcie *r, struct pcie_fn *f, struct pcie_space *s,
		uint32_t sid, unsigned int group_pages);
/* An engine of a PASID. */
struct smmuv3_model_dma *pcie_pasid_engine(struct pcie *r, struct pcie_fn *f, uint32_t pasid,
		unsigned int group_pages, unsigned int prg_indices, bool prg_pasid);
/* A function with one engine, untagged, attached. */
struct smmuv3_model_dma *pcie_attached_fn(struct pcie *r, struct pcie_fn *f, struct pcie_space *s,
		uint32_t sid, unsigned int group_pages, unsigned int prg_indices,
		const struct iopf_dev_conf *conf);
/* The driver and the library say what a test does to them. */
void pcie_quiet(bool on);

/* The device's own reset. */
void pcie_fn_reset(struct pcie *r, struct pcie_fn *f);

/* Write pages of the pattern. */
void pcie_write(struct pcie *r, struct smmuv3_model_dma *dma, unsigned int page,
		unsigned int pages);
/* The model alone, until it rests (or for a while, when it does not). */
void pcie_step(struct pcie *r);
/* The model, until this many page requests in all were written or lost. */
void pcie_sent(struct pcie *r, uint64_t n);
/* Poll until there is nothing. Returns records. */
unsigned int pcie_poll(struct pcie *r);
/* Both, until both rest. */
void pcie_run(struct pcie *r);
/* Both for some milliseconds: what the poller does by the clock is done. */
void pcie_run_ms(struct pcie *r, unsigned int ms);
/* Take one finished DMA, which ended so. */
struct smmuv3_model_done pcie_ended(struct smmuv3_model_dma *dma, enum smmuv3_model_status status);
/* These pages hold the pattern. */
void pcie_intact(const struct pcie *r, const struct pcie_space *s, unsigned int page,
		unsigned int pages);

/* A thread that polls, and pauses at random so that queues fill. */
struct pcie_poller {
	struct iopf_poller *poller;
	pthread_t thread;
	_Atomic bool stop;
};
void pcie_poller_start(struct pcie_poller *p, struct iopf_poller *poller);
void pcie_poller_stop(struct pcie_poller *p);

uint64_t pcie_model_stat(const struct pcie *r, enum smmuv3_model_stat stat);
uint64_t pcie_stat(const struct pcie *r, enum iopf_iommu_stat stat);

#endif /* PCIE_RIG_H */
