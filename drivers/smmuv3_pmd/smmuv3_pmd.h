/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PMD_H
#define SMMUV3_PMD_H

/**
 * @file
 * struct smmuv3: one for each open SMMU.
 *
 * Writers:
 *	cmdq, gerrorn	the owner of the command queue (cmdq.owner)
 *	evtq, priq	the poll thread; start and configure while no thread polls
 *	cr0, recovery	the holder of ctl: check() tries to take it, start and stop wait
 *	state		see state.h
 *	tables		see strtab.h, ste.h, cd.h, domain.h and attach.h
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "backend.h"
#include "base.h"
#include "cmdq.h"
#include "evtq.h"
#include "ids.h"
#include "irq.h"
#include "mem.h"
#include "priq.h"
#include "recovery.h"
#include "state.h"
#include "strtab.h"

struct smmuv3_atc;
struct smmuv3_ecmdq;

/* For tests, which call its operations directly. */
extern struct iopf_driver smmuv3_pmd;

struct smmuv3 {
	struct smmuv3_cmdq cmdq;
	struct smmuv3_evtq evtq;
	struct smmuv3_priq priq;

	/* Read only after open. */
	void *regs __rte_aligned(SMMUV3_ALIGN);
	const struct smmuv3_backend *backend;
	void *backend_ctx;
	struct smmuv3_words *words;
	uint64_t words_addr;
	uint64_t timeout;		/* TSC cycles */
	char name[64];
	uint32_t idr0, idr1, idr3, idr5;
	unsigned int sid_bits, ssid_bits, oas_bits, stall_model;
	unsigned int ipa_bits, vmid_bits;	/* 0 without stage 2 */
	uint32_t max_stalls, granules;
	unsigned int httu;		/* IDR0.HTTU */
	unsigned int cmdq_log2_max, evtq_log2_max, priq_log2_max;
	bool ats, pri;
	uint32_t errata;		/* SMMUV3_ERRATUM_* */
	struct smmuv3_ecmdq *ecmdqs;	/* those that the driver uses: see ecmdq.h */
	unsigned int nb_ecmdqs;
	struct {
		uint32_t first, stride;	/* offsets of the registers */
		unsigned int nb;	/* that the SMMU has; 0: none, or not mapped */
	} ecmdq_regs;

	/* Read by all threads, written seldom: beside the read-only fields. */
	smmuv3_state_word_t state;

	struct smmuv3_recovery recovery __rte_aligned(SMMUV3_ALIGN);
	struct smmuv3_sleep sleep;
	_Atomic uint32_t ctl;		/* 1: a thread holds the lock of control calls */
	uint32_t cr0;			/* as last written */
	uint32_t gerrorn;		/* as last written */
	uint32_t initial_gbpa;		/* GBPA at open; all ones: not to be restored */
	bool restore_gbpa;		/* at close */
	_Atomic bool stopped;		/* the last stop succeeded: all is acknowledged as off */
	bool suspended;			/* the last suspend succeeded, and no start came since */
	bool gbpa_logged;
	uint32_t gerror_checks;
	_Atomic bool ecmdq_error;	/* an ECMDQ may have an error */
	unsigned int nb_ecmdqs_owned;	/* by start */
	bool priq_abort_logged;
	_Atomic uint64_t resets;
	_Atomic uint64_t evtq_aborts;
	_Atomic uint64_t msi_aborts;
	_Atomic uint64_t atc_cuts;
	_Atomic uint32_t nb_cut_atcs;	/* with SMMUV3_ATC_CUT */
	struct iopf_log_limit guest_log;	/* of lines that guests can cause */
	_Atomic bool atc_sync_each;	/* of answers, each ATC gets a CMD_SYNC of its own */
	struct smmuv3_atc *atcs;	/* SMMUV3_NB_ATCS, with page requests */

	/*
	 * Protects pool, strtab.l2, asids, vmids, atcs, and the domains' lists and references.
	 * Never held during a wait for the SMMU.
	 */
	pthread_mutex_t tables_lock;
	pthread_cond_t chunk_done;	/* an attachment is not held any more: see chunk.h */
	struct smmuv3_mem_pool pool;
	struct smmuv3_mem words_mem, ecmdq_words;
	unsigned int cmdq_log2, evtq_log2, priq_log2;	/* as configured */
	struct smmuv3_strtab strtab;
	struct smmuv3_ids asids, vmids;
};

#endif /* SMMUV3_PMD_H */
