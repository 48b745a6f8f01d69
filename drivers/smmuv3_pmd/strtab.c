/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The stream table [5.1, 5.2]: linear, or two levels. A second-level table is allocated with the
 * first of its 256 StreamIDs and then stays.
 */

#include <stdlib.h>

#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "strtab.h"

int
smmuv3_strtab_open(struct smmuv3 *s)
{
	struct smmuv3_strtab *t = &s->strtab;
	size_t size = t->two_level ? sizeof(uint64_t) << (t->log2 - SMMUV3_SPLIT) :
			sizeof(struct smmuv3_ste) << t->log2;

	if (t->two_level) {
		t->l2 = calloc((size_t)1 << (t->log2 - SMMUV3_SPLIT), sizeof(*t->l2));
		if (t->l2 == NULL)
			return -ENOMEM;
	}
	return smmuv3_mem_alloc(s, size, &t->mem);
}

void
smmuv3_strtab_close(struct smmuv3 *s)
{
	/* Second-level tables are pieces of chunks; smmuv3_mem_fini() frees the chunks. */
	smmuv3_mem_free(s, &s->strtab.mem);
	free(s->strtab.l2);
}

void
smmuv3_strtab_setup(struct smmuv3 *s)
{
	const struct smmuv3_strtab *t = &s->strtab;
	uint32_t cfg = SMMUV3_PUT(SMMUV3_STRTAB_CFG_LOG2SIZE, t->log2);

	if (t->two_level)
		cfg |= SMMUV3_PUT(SMMUV3_STRTAB_CFG_FMT, SMMUV3_STRTAB_2LVL) |
			SMMUV3_PUT(SMMUV3_STRTAB_CFG_SPLIT, SMMUV3_SPLIT);
	smmuv3_write64(s->regs, SMMUV3_STRTAB_BASE, SMMUV3_STRTAB_BASE_RA |
			(t->mem.addr & SMMUV3_STRTAB_BASE_ADDR));
	smmuv3_write32(s->regs, SMMUV3_STRTAB_BASE_CFG, cfg);
}

int
smmuv3_strtab_ensure_ste(struct smmuv3 *s, uint32_t sid)
{
	struct smmuv3_strtab *t = &s->strtab;
	uint32_t i = sid >> SMMUV3_SPLIT;
	struct smmuv3_mem mem;
	bool have;
	int ret;

	if (!t->two_level)
		return 0;
	pthread_mutex_lock(&s->tables_lock);
	have = t->l2[i] != NULL;
	pthread_mutex_unlock(&s->tables_lock);
	if (have)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_ste) << SMMUV3_SPLIT, &mem);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&s->tables_lock);
	if (t->l2[i] == NULL) {
		t->l2[i] = mem.va;
		/*
		 * Each STE of the empty table is not valid. The SMMU may have cached the
		 * first-level entry as it was; each CFGI_STE invalidates that as well.
		 */
		smmuv3_io_wmb();
		smmuv3_set_dw((uint64_t *)t->mem.va + i, (mem.addr & SMMUV3_L1STD_L2PTR) |
				SMMUV3_PUT(SMMUV3_L1STD_SPAN, SMMUV3_SPLIT + 1));
		mem.va = NULL;
	}
	pthread_mutex_unlock(&s->tables_lock);
	/* Free it if another thread was first. */
	smmuv3_mem_free(s, &mem);
	return 0;
}
