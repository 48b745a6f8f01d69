/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The guest's SMMU is the software one, unmodified. All of the guest's RAM is one window. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host.h"

bool
lab_smmu_start(struct lab_host *h)
{
	struct smmuv3_model_conf conf = h->opt.conf;

	conf.regs = h->regs;
	conf.regs_size = LAB_REGS_SIZE;
	h->model = smmuv3_model_create(&conf);
	if (h->model == NULL) {
		fprintf(stderr, "host: cannot create the SMMU: %s\n", strerror(errno));
		return false;
	}
	return smmuv3_model_mem_add(h->model, LAB_RAM, h->ram, h->ram_size) == 0 &&
		smmuv3_model_start(h->model, (int)h->opt.cpu) == 0;
}

void
lab_smmu_stop(struct lab_host *h)
{
	smmuv3_model_stop(h->model);
}

uint32_t
lab_smmu_get_sid(uint32_t sid)
{
	return sid;
}

void
lab_smmu_set_irq(struct lab_host *h, enum smmuv3_model_irq irq, int fd)
{
	smmuv3_model_irq_fd(h->model, irq, fd);
}
