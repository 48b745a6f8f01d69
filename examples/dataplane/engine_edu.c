/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * `edu`, a PCI device of QEMU (its docs/specs/edu), through vfio-pci. It moves bytes between memory
 * and its own buffer, one DMA at a time, in 100 ms. The CPU cannot access that buffer, so each
 * request takes two DMAs and a page that CPU and device share:
 *
 *	read	memory -> edu -> stage
 *	write	stage -> edu -> memory
 *
 * To edu an access that the SMMU aborted looks successful. But the SMMU has written a record by
 * then: if a pass over the event queue after the end of a DMA finds no record, and none came since
 * the DMA began, the DMA succeeded. So this thread polls. The stage is never unmapped, and edu is
 * the only device here, so a record belongs to the request. QEMU's SMMU sends no MSIs, so each pass
 * reads PROD itself. A DMA whose records were all lost goes undetected.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_io.h>
#include <rte_vfio.h>

#include <mmem.h>

#include "engine.h"
#include "iopf_stats.h"

#define SYSFS		"/sys/bus/pci/devices"
#define WAIT_US		1000
#define CLOSE_WAITS	1000u

#define EDU_ID		0x00
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_CMD		0x98
#define EDU_RUN		1u
#define EDU_TO_MEMORY	2u
#define EDU_BUFFER	0x40000
#define EDU_BAR_MIN	(EDU_CMD + 8)

struct edu {
	struct dma_conf conf;
	int fd;			/* -1: none */
	uint8_t *bar;
	size_t size;
	uint8_t *stage;
	STAILQ_HEAD(, dma_req) queue;	/* the first request is pending */
	unsigned int begun;	/* of the request's two DMAs */
	uint64_t records;	/* record count when the last DMA began */
};

static bool
is_busy(const struct edu *e)
{
	return rte_read64(e->bar + EDU_CMD) & EDU_RUN;
}

static void
edu_wait(void *engine __rte_unused)
{
	usleep(WAIT_US);
}

static void
edu_close(void *engine)
{
	struct edu *e = engine;
	unsigned int i;

	if (e == NULL)
		return;
	/* The device must not write to memory that is reused after this. */
	for (i = 0; e->bar != NULL && is_busy(e) && i < CLOSE_WAITS; i++)
		edu_wait(e);
	if (e->bar != NULL)
		munmap(e->bar, e->size);
	if (e->fd >= 0)
		rte_vfio_release_device(SYSFS, e->conf.edu, e->fd);
	free(e);
}

static int
get_region_info(const struct edu *e, uint32_t index, struct vfio_region_info *region)
{
	*region = (struct vfio_region_info){ .argsz = sizeof(*region), .index = index };
	return ioctl(e->fd, VFIO_DEVICE_GET_REGION_INFO, region) == 0 ? 0 : -errno;
}

/* Returns 0 or -errno. The SMMU must translate already: before that, DMA could bypass it. */
static int
take_device(struct edu *e)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region;
	uint16_t command;
	void *bar;
	int ret;

	/* 1: not bound to VFIO. */
	if (rte_vfio_setup_device(SYSFS, e->conf.edu, &e->fd, &info) != 0) {
		e->fd = -1;
		return -ENODEV;
	}
	ret = get_region_info(e, VFIO_PCI_CONFIG_REGION_INDEX, &region);
	if (ret < 0)
		return ret;
	if (pread(e->fd, &command, 2, region.offset + PCI_COMMAND) != 2)
		return -EIO;
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(e->fd, &command, 2, region.offset + PCI_COMMAND) != 2)
		return -EIO;
	ret = get_region_info(e, VFIO_PCI_BAR0_REGION_INDEX, &region);
	if (ret < 0)
		return ret;
	if (region.size < EDU_BAR_MIN)
		return -ENODEV;
	bar = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, region.offset);
	if (bar == MAP_FAILED)
		return -errno;
	e->bar = bar;
	e->size = region.size;
	return (rte_read32(e->bar + EDU_ID) & 0xffff) == 0xed ? 0 : -ENODEV;
}

static void *
edu_open(const struct dma_conf *conf)
{
	struct edu *e = calloc(1, sizeof(*e));
	int ret = -ENOMEM;

	if (e != NULL) {
		e->conf = *conf;
		e->fd = -1;
		STAILQ_INIT(&e->queue);
		ret = take_device(e);
	}
	if (ret == 0) {
		/* Freed with the space. */
		e->stage = mmem_alloc(conf->space, DMA_EDU_STAGE, MMEM_READ | MMEM_WRITE);
		ret = e->stage == NULL ? -rte_errno :
				mmem_prefetch(conf->space, e->stage, DMA_EDU_STAGE);
	}
	if (ret == 0)
		return e;
	edu_close(e);
	rte_errno = -ret;
	return NULL;
}

static int
edu_submit(void *engine, struct dma_req *req)
{
	struct edu *e = engine;

	if (req->len > DMA_EDU_MAX)
		return -EMSGSIZE;
	STAILQ_INSERT_TAIL(&e->queue, req, queued);
	return 0;
}

/*
 * Start the next of the request's two DMAs. The register accessors order memory before and after.
 */
static void
begin_dma(struct edu *e, const struct dma_req *req)
{
	bool to_memory = e->begun == 1;
	uint64_t addr = req->write == to_memory ? req->addr : (uintptr_t)e->stage;

	e->begun++;
	e->records = iopf_iommu_stat(e->conf.iommu, IOPF_IOMMU_STAT_RECORDS);
	rte_write64(to_memory ? EDU_BUFFER : addr, e->bar + EDU_SRC);
	rte_write64(to_memory ? addr : EDU_BUFFER, e->bar + EDU_DST);
	rte_write64(req->len, e->bar + EDU_COUNT);
	rte_write64(EDU_RUN | (to_memory ? EDU_TO_MEMORY : 0), e->bar + EDU_CMD);
}

static unsigned int
edu_poll(void *engine, struct engine_done *done, unsigned int n __rte_unused)
{
	struct edu *e = engine;
	bool moving = is_busy(e);
	struct dma_req *req = STAILQ_FIRST(&e->queue);
	bool aborted;

	/*
	 * Poll after reading the device's state: records of its finished DMA are then in the queue.
	 */
	if (iopf_poll(e->conf.poller) > 0 || moving || req == NULL)
		return 0;
	aborted = e->begun > 0 &&
			iopf_iommu_stat(e->conf.iommu, IOPF_IOMMU_STAT_RECORDS) != e->records;
	if (!aborted && e->begun < 2) {
		if (e->begun == 0) {
			req->answer = 0;	/* it was for another request */
			if (req->write)
				memcpy(e->stage, req->buf, req->len);
		}
		begin_dma(e, req);
		return 0;
	}
	if (!aborted && !req->write)
		memcpy(req->buf, e->stage, req->len);
	STAILQ_REMOVE_HEAD(&e->queue, queued);
	e->begun = 0;
	*done = (struct engine_done){ .req = req, .aborted = aborted };
	return 1;
}

const struct engine_ops engine_edu = {
	.open = edu_open,
	.close = edu_close,
	.submit = edu_submit,
	.poll = edu_poll,
	.wait = edu_wait,
};
