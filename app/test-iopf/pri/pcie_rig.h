/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PCIE_RIG_H
#define PCIE_RIG_H

/*
 * Page requests through the public interface, on a model with ATS and PRI: PCIe endpoints, and
 * address spaces whose handlers the test controls. The model has no thread: it runs in
 * pcie_run_model(), pcie_run() and while the library waits for it.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_handler.h>
#include <iopf_iommu.h>
#include <iopf_pci.h>
#include <iopf_policy.h>
#include <iopf_stats.h>

#include "backend_rig.h"
#include "pgtable.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"

#define PCIE_PAGE	4096
#define PCIE_PAGES	128			/* of an address space */
#define PCIE_VA		UINT64_C(0x1234400000)
#define PCIE_MAX_ENGINES	4

/* An endpoint: a device of the library, and engines of one StreamID. */
struct pcie_fn {
	struct iopf_dev *dev;
	uint32_t sid;
	unsigned int nb_engines;
	struct smmuv3_model_dma *dma[PCIE_MAX_ENGINES];
	/* Calls of the library: A and a: ATS on and off, P and p: PRI on and off. */
	char log[64];
	uint32_t credits;		/* of the last P */
	unsigned int stu;		/* of the last A */
	bool resets;			/* ats_disable resets it if it has not drained */
	unsigned int nb_resets;		/* by ats_disable */
	bool silent;			/* keeps no log */
	bool stalls;			/* no endpoint: its accesses stall */
};

extern const struct iopf_pci_ops pcie_fn_ops;	/* ctx: a struct pcie_fn */

/* An address space of PCIE_PAGES pages from PCIE_VA. */
struct pcie_space {
	struct iopf_domain *domain;
	struct pgt *pgt;
	uint8_t *data;
	/* The handler maps the pages unless leave_unmapped is set, then returns this [SUCCESS]. */
	enum iopf_verdict verdict;
	bool leave_unmapped;
	uint32_t prot;			/* [read and write] */
	/* The handler of lost requests maps their pages too. */
	bool map_lost;
	/* Seen by the handler. */
	unsigned int calls, lost;
	struct iopf_group group;	/* the last one; without faults */
	struct iopf_fault fault[IOPF_MAX_GROUP_FAULTS];
};

#define SHORT_WAIT_MS	50	/* wait_ms of a device, for a test that waits until it is over */

struct pcie {
	struct backend_rig backend;
	struct smmuv3_model *m;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct pcie_fn *fn[16];
	struct pcie_space *space[16];
	unsigned int nb_fns, nb_spaces;
	uint8_t *arena;
	size_t used;
	uint8_t *pattern;		/* endpoints write page n of it to page n */
	unsigned int nb_reports;
	struct iopf_fault report;	/* the last one */
};

/* Both configurations may be NULL. The IOMMU is started. */
void pcie_open(struct pcie *r, const struct smmuv3_model_conf *conf,
		const struct iopf_iommu_conf *iommu_conf);
/* Remove and free all; fail the test unless each group was answered once. */
void pcie_close(struct pcie *r);

/*
 * Add an endpoint, not attached. @p conf may be NULL; used are pri_requests, prg_pasid,
 * pri_overcommit, nb_pasids and the operation pasid_drained.
 */
void pcie_add_fn(struct pcie *r, struct pcie_fn *f, uint32_t sid, const struct iopf_dev_conf *conf);
/* Add a device whose accesses stall, not attached. @p conf may be NULL. */
void pcie_add_stalling_fn(struct pcie *r, struct pcie_fn *f, uint32_t sid,
		const struct iopf_dev_conf *conf);
/*
 * Create an engine. @p conf without kind and StreamID. Create the first engine before the attach.
 */
struct smmuv3_model_dma *pcie_create_engine(struct pcie *r, struct pcie_fn *f,
		const struct smmuv3_model_dma_conf *conf);
void pcie_create_space(struct pcie *r, struct pcie_space *s);
/* The same, with policies for storms. */
void pcie_create_storm_space(struct pcie *r, struct pcie_space *s,
		const struct iopf_storm_conf *storm);
/* The same, whose addresses are IPAs. */
void pcie_create_stage2_space(struct pcie *r, struct pcie_space *s,
		const struct iopf_storm_conf *storm);
/* Map the page of a fault, as the handler does. */
void pcie_map(struct pcie_space *s, const struct iopf_fault *fault);
void pcie_attach(struct pcie_space *s, struct pcie_fn *f, uint32_t pasid);
/* One endpoint with one engine, and a space it is attached to. */
struct smmuv3_model_dma *pcie_add_simple(struct pcie *r, struct pcie_fn *f, struct pcie_space *s,
		uint32_t sid, unsigned int group_pages);
/* pcie_open() with defaults, and pcie_add_simple(). */
struct smmuv3_model_dma *pcie_open_simple(struct pcie *r, struct pcie_fn *f, struct pcie_space *s,
		uint32_t sid, unsigned int group_pages);
/* Create an engine of a PASID. */
struct smmuv3_model_dma *pcie_create_pasid_engine(struct pcie *r, struct pcie_fn *f, uint32_t pasid,
		unsigned int group_pages, unsigned int prg_indices, bool prg_pasid);
/* As pcie_add_simple(), with a number of PRG indices and a configuration. */
struct smmuv3_model_dma *pcie_add_attached_fn(struct pcie *r, struct pcie_fn *f,
		struct pcie_space *s, uint32_t sid, unsigned int group_pages,
		unsigned int prg_indices, const struct iopf_dev_conf *conf);
/* Mute or unmute the log of the driver and the libraries. */
void pcie_mute_log(bool on);

/* Reset the endpoint, as its own driver does. */
void pcie_reset_fn(struct pcie *r, struct pcie_fn *f);

/* Start a DMA that writes pages of the pattern. */
void pcie_write(struct pcie *r, struct smmuv3_model_dma *dma, unsigned int page,
		unsigned int pages);
/* Run the model alone until it rests, for a limited number of steps. */
void pcie_run_model(struct pcie *r);
/* Run the model until it has sent this number of page requests in all, written or lost. */
void pcie_run_until_sent(struct pcie *r, uint64_t n);
/* Poll until the queues are empty. Returns the number of records. */
unsigned int pcie_poll(struct pcie *r);
/* Run the model and poll, until both rest. */
void pcie_run(struct pcie *r);
/* Run the model and poll for some milliseconds, for the timed work of the poller. */
void pcie_run_ms(struct pcie *r, unsigned int ms);
/* Run the model and poll until is(arg): the policy thread runs meanwhile. Fails after a minute. */
void pcie_run_until(struct pcie *r, bool (*is)(const void *arg), const void *arg);
/* Take one finished DMA and check its status. */
struct smmuv3_model_done pcie_expect_end(struct smmuv3_model_dma *dma,
		enum smmuv3_model_status status);
/* pcie_write(), pcie_run() and pcie_expect_end(). */
struct smmuv3_model_done pcie_write_and_wait(struct pcie *r, struct smmuv3_model_dma *dma,
		unsigned int page, unsigned int pages, enum smmuv3_model_status status);
/* Check that these pages hold the pattern. */
void pcie_expect_pattern(const struct pcie *r, const struct pcie_space *s, unsigned int page,
		unsigned int pages);

uint64_t pcie_model_stat(const struct pcie *r, enum smmuv3_model_stat stat);
uint64_t pcie_stat(const struct pcie *r, enum iopf_iommu_stat stat);

/*
 * Start a recovery with a device whose access stalls, and poll until it has terminated the stalls:
 * SMMUEN is 0, and only the driver's check() continues. Then no thread polls.
 */
void pcie_leave_in_recovery(struct pcie *r, struct smmuv3_model_dma *stalling);

#endif /* PCIE_RIG_H */
