/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Power off and on. Without power an access to the register pages faults, also a read, and
 * the SMMU loses its state. With the power back registers have their reset values; UNKNOWN
 * ones are random [6.3].
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"
#include "model_cfg_cache.h"
#include "model_cmdq.h"
#include "model_ecmdq.h"
#include "model_endpoint.h"
#include "model_log.h"
#include "model_power.h"
#include "model_tlb.h"
#include "model_walk.h"

#define REGS_ALIGN SMMUV3_PAGE_SIZE
#define SMALL_PAGE 4096

static uint8_t *
alloc_regs(size_t size)
{
	size_t len = size + REGS_ALIGN, before;
	uint8_t *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)mem & (REGS_ALIGN - 1);
	if (before != 0)
		munmap(mem, before);
	munmap(mem + before + size, REGS_ALIGN - before);
	return mem + before;
}

/* The registers have their own pages, so that mprotect() can close them. */
int
smmuv3_fe_take_regs(struct smmuv3_fe *f, const struct smmuv3_model_conf *conf)
{
	f->regs_size = SMMUV3_REGS_SIZE + smmuv3_fe_get_ecmdq_pages_size(f);
	if (conf->regs == NULL) {
		f->regs = f->own_regs = alloc_regs(f->regs_size);
		return f->regs == NULL ? ENOMEM : 0;
	}
	if (conf->regs_size < f->regs_size || (uintptr_t)conf->regs % SMALL_PAGE != 0)
		return EINVAL;
	f->regs = conf->regs;
	memset(f->regs, 0, f->regs_size);
	return 0;
}

void
smmuv3_fe_free_regs(struct smmuv3_fe *f)
{
	if (f->own_regs != NULL)
		munmap(f->own_regs, f->regs_size);
}

/* Report work that the driver had to end before. */
static void
check_power_off(struct smmuv3_model *m)
{
	const struct smmuv3_fe *f = &m->fe;

	if ((f->cr0.value | f->cr0.ack) & SMMUV3_CR0_SMMUEN)
		smmuv3_log_add(&m->driver_log, "the power was switched off while SMMUEN is set");
	if ((smmuv3_fe_is_on(f, SMMUV3_CR0_CMDQEN) && !smmuv3_fe_cmdq_is_empty(f, &f->cmdq)) ||
			smmuv3_fe_have_ecmdqs_work(f))
		smmuv3_log_add(&m->driver_log, "the power was switched off with commands that "
				"are not consumed");
	for (unsigned int i = 0; i < SMMUV3_EP_BUCKETS; i++)
		for (struct smmuv3_ep *ep = m->ep[i]; ep != NULL; ep = ep->next)
			if (ep->nb_open != 0)
				smmuv3_log_add(&m->driver_log, "the power was switched off while "
						"SID %u has %u page request groups outstanding",
						ep->sid, ep->nb_open);
}

int
smmuv3_model_power_off(struct smmuv3_model *m)
{
	int ret = 0;

	if (m == NULL)
		return -EINVAL;
	smmuv3_ctl_enter(m);
	if (m->off) {
		ret = -EALREADY;
	} else {
		check_power_off(m);
		if (mprotect(m->fe.regs, m->fe.regs_size, PROT_NONE) < 0)
			ret = -errno;
	}
	if (ret == 0) {
		m->off = true;
		smmuv3_fe_forget(&m->fe);
		smmuv3_cfg_clear(m);
		smmuv3_tlb_clear(m);
		smmuv3_wc_clear(m);
		m->inval.nb = 0;
	}
	smmuv3_ctl_leave(m);
	return ret;
}

int
smmuv3_model_power_on(struct smmuv3_model *m)
{
	int ret = 0;

	if (m == NULL)
		return -EINVAL;
	smmuv3_ctl_enter(m);
	if (!m->off) {
		ret = -EALREADY;
	} else if (mprotect(m->fe.regs, m->fe.regs_size, PROT_READ | PROT_WRITE) < 0) {
		ret = -errno;
	} else {
		memset(m->fe.regs, 0, m->fe.regs_size);
		smmuv3_fe_reset(&m->fe, true);
		m->off = false;
	}
	smmuv3_ctl_leave(m);
	return ret;
}
