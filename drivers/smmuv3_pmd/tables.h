/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_TABLES_H
#define SMMUV3_TABLES_H

/**
 * @file
 * What the SMMU walks: memory, the stream table, and a table of CDs for each device.
 *
 * A device's STEs, CDs and counts are written by the one thread that adds, removes, attaches
 * or detaches it; threads of different devices do so concurrently. What they share (the
 * memory pool, the first level of the stream table) is under smmuv3.tables_lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base.h"
#include "smmuv3_spec.h"

struct smmuv3;
struct smmuv3_domain;

/* STEs in a second-level table: SPLIT = 8. */
#define SMMUV3_SPLIT		8
/* First-level tables end at 1 MiB, linear ones at 4 MiB. */
#define SMMUV3_L1_LOG2_MAX	17
#define SMMUV3_LINEAR_LOG2_MAX	16

/* mem.c */
struct smmuv3_mem_chunk {
	struct smmuv3_mem_chunk *next;
	struct smmuv3_mem mem;
	size_t used;
};

#define SMMUV3_MEM_LOG2_MIN	6	/* one CD */
#define SMMUV3_MEM_LOG2_BIG	16	/* a memzone of its own from here */

struct smmuv3_mem_pool {
	struct smmuv3_mem_chunk *chunks;
	void *free[SMMUV3_MEM_LOG2_BIG - SMMUV3_MEM_LOG2_MIN];
};

/* Any thread. -ENOMEM, or what the backend says. */
int smmuv3_mem_alloc(struct smmuv3 *s, size_t size, struct smmuv3_mem *mem);
/* The SMMU has no use for it any more. Any thread. */
void smmuv3_mem_free(struct smmuv3 *s, struct smmuv3_mem *mem);
void smmuv3_mem_fini(struct smmuv3 *s);

struct smmuv3_strtab {
	struct smmuv3_mem mem;
	unsigned int log2;		/* StreamIDs */
	bool two_level;
	struct smmuv3_ste **l2;		/* by first-level index; NULL until needed */
};

/* A table of CDs: one device's. */
struct smmuv3_cdtab {
	struct smmuv3_mem mem;		/* the CDs, or the first level */
	unsigned int fmt;		/* SMMUV3_S1FMT_* */
	unsigned int log2;		/* S1CDMax */
	struct smmuv3_mem *leaves;	/* by first-level index */
};

struct smmuv3_dev {
	struct smmuv3_cdtab cds;
	bool stall;
	bool pri;			/* ATS while something is attached */
	bool prg_pasid;
	bool described;			/* word 1 of its STEs is right; the SMMU was told */
	bool live;			/* its STEs translate; the SMMU was told */
	bool may_stall;			/* they did since the last STALL_TERM */
	uint32_t nb_pasids;
	unsigned int nb_attachments;	/* not released */
	unsigned int nb_live;		/* ... for which the STEs are to translate */
	unsigned int nb_sids;
	uint32_t sids[];
};

/* strtab.c */
int smmuv3_strtab_open(struct smmuv3 *s);
void smmuv3_strtab_close(struct smmuv3 *s);
void smmuv3_strtab_setup(struct smmuv3 *s);
/* -ENOMEM. Then the STE exists and may be written. */
int smmuv3_strtab_need(struct smmuv3 *s, uint32_t sid);
/*
 * All STEs of a device, with CFGI_STE and CMD_SYNC. After an error each may be as before or
 * as wanted for the SMMU; the call can be repeated.
 */
/* They point to its CDs, with EATS if it has ATS. They did not translate before. */
int smmuv3_stes_start(struct smmuv3 *s, struct smmuv3_dev *dev);
/* They are not valid: an access aborts and is recorded as C_BAD_STE. */
int smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* They are valid and abort without a record, which STALL_TERM needs [4.6.2]. */
int smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* The STE aborts, but for what is cached of it. Any thread. */
void smmuv3_ste_cut(struct smmuv3 *s, uint32_t sid);

/* cd.c */
int smmuv3_cdtab_create(struct smmuv3 *s, struct smmuv3_dev *dev);
void smmuv3_cdtab_destroy(struct smmuv3 *s, struct smmuv3_dev *dev);
/* The CD of a SubstreamID exists, and is not valid if it is new. -ENOMEM. */
int smmuv3_cdtab_need(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid);
/* With CFGI_CD and CMD_SYNC; as for STEs, both can be repeated after an error. */
int smmuv3_cd_start(struct smmuv3 *s, const struct smmuv3_dev *dev, uint32_t ssid,
		const struct smmuv3_domain *domain);
int smmuv3_cd_stop(struct smmuv3 *s, const struct smmuv3_dev *dev, uint32_t ssid);
int smmuv3_translation_check(const struct smmuv3 *s, const struct iopf_translation *tr);

/* entry.c: changing an entry that the SMMU may be reading */
#define SMMUV3_STEP_SYNC	8
#define SMMUV3_NB_STEPS		12
struct smmuv3_step {
	unsigned int word;	/* 0 to 7, or SMMUV3_STEP_SYNC */
	uint64_t value;
};
unsigned int smmuv3_entry_plan(const uint64_t live[8], const uint64_t next[8], uint64_t v,
		struct smmuv3_step steps[SMMUV3_NB_STEPS]);
int smmuv3_entry_write(uint64_t live[8], const uint64_t next[8], uint64_t v,
		int (*sync)(void *ctx), void *ctx);

/* dev.c */
int smmuv3_dev_add(void *priv, const struct iopf_dev_conf *conf, void **dev);
int smmuv3_dev_del(void *priv, void *dev);

#endif /* SMMUV3_TABLES_H */
