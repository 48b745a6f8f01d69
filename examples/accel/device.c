/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Devices: StreamIDs of the software SMMU, with the operations for ATS, PRI and PASIDs. */

#include <errno.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>

#include <iopf_pci.h>

#include "internal.h"

#define FIRST_SID	8
#define PRI_REQUESTS	128
#define FEW		32

static int
on_ats_enable(struct iopf_dev *dev __rte_unused, unsigned int stu, void *ctx)
{
	struct accel_device *device = ctx;

	return smmuv3_model_dma_ats_enable(device->function, stu);
}

static int
on_ats_disable(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel_device *device = ctx;

	/* The call fails only if ATS is already off. */
	smmuv3_model_dma_ats_disable(device->function);
	return 0;
}

static int
on_pri_enable(struct iopf_dev *dev __rte_unused, uint32_t n, void *ctx)
{
	struct accel_device *device = ctx;

	return smmuv3_model_dma_pri_enable(device->function, n);
}

static int
on_pri_disable(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel_device *device = ctx;

	/* The call fails only if PRI is already off. */
	smmuv3_model_dma_pri_disable(device->function);
	return 0;
}

static bool
on_pri_drained(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel_device *device = ctx;

	return smmuv3_model_dma_pri_drained(device->function);
}

/* The thread of the PASID's queue has ended: no other thread takes completions. */
static bool
on_pasid_drained(struct iopf_dev *dev __rte_unused, uint32_t pasid, void *ctx)
{
	struct smmuv3_model_done done[FEW];
	struct accel_device *device = ctx;
	struct accel_queue *queue;
	unsigned int i;

	for (i = 0; i < device->nb_queues; i++) {
		queue = &device->queues[i];
		if (queue->pasid != pasid)
			continue;
		smmuv3_model_dma_poll(queue->dma, done, RTE_DIM(done));
		return smmuv3_model_dma_outstanding(queue->dma) == 0;
	}
	return true;
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = on_ats_enable,
	.ats_disable = on_ats_disable,
	.pri_enable = on_pri_enable,
	.pri_disable = on_pri_disable,
	.pri_drained = on_pri_drained,
	.pasid_drained = on_pasid_drained,
};

static int
open_device(struct accel_device *device)
{
	struct iopf_dev_conf conf = { .name = "accel", .sids = &device->sid, .nb_sids = 1,
		.nb_pasids = ACCEL_MAX_QUEUES + 1, .recover = IOPF_STALL };
	struct accel *accel = device->accel;

	if (accel->pri) {
		device->function = smmuv3_model_dma_create(accel->model,
				&(struct smmuv3_model_dma_conf){ .sid = device->sid, .depth = 1,
				.kind = SMMUV3_MODEL_DMA_ATS });
		if (device->function == NULL)
			return accel_fail("cannot make a PCIe function: %s", strerror(errno));
		conf.recover = IOPF_PRI;
		conf.pri_requests = PRI_REQUESTS;
		conf.pci = &pci_ops;
		conf.ctx = device;
	}
	device->dev = iopf_dev_add(accel->smmu, &conf);
	return device->dev != NULL ? 0 :
			accel_fail("cannot add a device: %s", rte_strerror(rte_errno));
}

struct accel_device *
accel_open(struct accel *accel)
{
	struct accel_device *device;

	if (accel == NULL)
		return NULL;
	if (accel->nb_devices == ACCEL_MAX_DEVICES) {
		accel_fail("more than %d devices", ACCEL_MAX_DEVICES);
		return NULL;
	}
	device = &accel->devices[accel->nb_devices];
	memset(device, 0, sizeof(*device));
	device->accel = accel;
	device->sid = FIRST_SID + accel->nb_devices;
	if (open_device(device) < 0) {
		accel_close(device);
		return NULL;
	}
	accel->nb_devices++;
	return device;
}

void
accel_close(struct accel_device *device)
{
	/* The detach of its queues has switched PRI off, through the function. */
	smmuv3_model_dma_destroy(device->function);
	if (device->dev != NULL && iopf_dev_remove(device->dev) < 0)
		accel_fail("cannot remove a device: %s", rte_strerror(rte_errno));
}
