/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * "vfio=NAME": the platform device of that name, mapped through VFIO. An SMMU usually has no IOMMU
 * in front of it, so its group is a no-IOMMU one; an SMMU in an ordinary group is opened the same
 * way. Device addresses are physical addresses, because no IOMMU translates the accesses of the
 * SMMU itself.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/vfio.h>

#include <rte_eal.h>
#include <rte_pause.h>
#include <rte_vfio.h>

#include "backend.h"
#include "base.h"
#include "phys.h"
#include "smmuv3_spec.h"
#include "vfio_check.h"

#define SYSFS	"/sys/bus/platform/devices"

#define LOG(level, v, fmt, ...)							\
	rte_log(RTE_LOG_ ## level, smmuv3_logtype, "smmuv3 vfio=%s: " fmt "\n",	\
		(v)->name, ##__VA_ARGS__)

struct vfio {
	char name[64];
	int fd;
	void *regs;
	size_t size;
	struct vfio *next;
};

/* Protected by the lock of lib/iopf's driver registry. */
static struct vfio *opened;

/* Check that EAL can provide memory for queues and tables, before the device is touched. */
static int
check_memory(const struct vfio *v)
{
	if (!rte_eal_has_hugepages()) {
		LOG(ERR, v, "the SMMU reaches hugepages only, and EAL has none: "
				"dpdk-hugepages.py --setup 256M, and start without --no-huge");
		return -ENOTSUP;
	}
	if (rte_eal_iova_mode() != RTE_IOVA_PA) {
		LOG(ERR, v, "the SMMU needs physical addresses, and EAL uses virtual ones: "
				"start as root with --iova-mode=pa");
		return -ENOTSUP;
	}
	return 0;
}

static int
map_regs(struct vfio *v)
{
	struct vfio_region_info region = { .argsz = sizeof(region), .index = 0 };

	if (ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, &region) < 0) {
		LOG(ERR, v, "VFIO reports no registers: %s", strerror(errno));
		return -ENODEV;
	}
	if (!(region.flags & VFIO_REGION_INFO_FLAG_MMAP) || region.size < SMMUV3_REGS_SIZE) {
		LOG(ERR, v, "its first region has %llu bytes%s; two pages of 64 KiB that can be "
				"mapped are needed", (unsigned long long)region.size,
				region.flags & VFIO_REGION_INFO_FLAG_MMAP ? "" :
				" and cannot be mapped");
		return -ENOTSUP;
	}
	v->size = SMMUV3_REGS_SIZE;
	v->regs = mmap(NULL, v->size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, region.offset);
	if (v->regs == MAP_FAILED) {
		LOG(ERR, v, "cannot map its registers: %s", strerror(errno));
		return -ENODEV;
	}
	return 0;
}

static int
open_device(struct vfio *v)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int ret;

	ret = rte_vfio_setup_device(SYSFS, v->name, &v->fd, &info);
	if (ret != 0) {
		LOG(ERR, v, "VFIO cannot open it (%d; see EAL's log above): "
				"check that no other process uses it", ret);
		return ret > 0 ? -ENODEV : -EBUSY;
	}
	ret = map_regs(v);
	if (ret < 0)
		rte_vfio_release_device(SYSFS, v->name, v->fd);
	return ret;
}

static int
vfio_open(const struct rte_kvargs *args, void **regs, void **ctx)
{
	const char *name = rte_kvargs_get(args, smmuv3_backend_vfio.name);
	struct vfio *v = calloc(1, sizeof(*v));
	char why[512];
	int ret;

	if (v == NULL)
		return -ENOMEM;
	/* VFIO itself would let one process open it twice. */
	for (const struct vfio *other = opened; other != NULL; other = other->next) {
		if (name != NULL && strcmp(other->name, name) == 0) {
			LOG(ERR, other, "is open already; close it first");
			free(v);
			return -EBUSY;
		}
	}
	snprintf(v->name, sizeof(v->name), "%s", name == NULL ? "" : name);
	ret = name == NULL || strlen(name) >= sizeof(v->name) ? -EINVAL : 0;
	if (ret < 0)
		LOG(ERR, v, "the name of a platform device is needed, of less than %zu characters",
				sizeof(v->name));
	if (ret == 0) {
		ret = smmuv3_vfio_check("", v->name, why, sizeof(why));
		if (ret < 0)
			LOG(ERR, v, "%s", why);
	}
	if (ret == 0)
		ret = check_memory(v);
	if (ret == 0)
		ret = open_device(v);
	if (ret < 0) {
		free(v);
		return ret;
	}
	v->next = opened;
	opened = v;
	*regs = v->regs;
	*ctx = v;
	return 0;
}

static void
vfio_close(void *ctx)
{
	struct vfio *v = ctx, **link = &opened;

	while (*link != v)
		link = &(*link)->next;
	*link = v->next;
	munmap(v->regs, v->size);
	rte_vfio_release_device(SYSFS, v->name, v->fd);
	free(v);
}

static int
vfio_dma_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	int ret;

	RTE_SET_USED(ctx);
	ret = smmuv3_phys_lookup(ptr, len, addr);
	if (ret < 0)
		return ret;
	return *addr >= limit || len > limit - *addr ? -ERANGE : 0;
}

/* The SMMU reaches all memory in any case. */
static int
vfio_dma_unmap(void *ctx, void *ptr, size_t len, uint64_t addr)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(ptr);
	RTE_SET_USED(len);
	RTE_SET_USED(addr);
	return 0;
}

/*
 * The index of an interrupt is the position of its name in the device tree's list, because the
 * binding does not fix the order. A single line for all is named "combined".
 */
static int
find_irq_index(const struct vfio *v, const char *wanted)
{
	char path[128], names[256];
	const char *name;
	size_t len;
	int i;
	FILE *f;

	snprintf(path, sizeof(path), SYSFS "/%s/of_node/interrupt-names", v->name);
	f = fopen(path, "re");
	if (f == NULL)
		return -ENOTSUP;
	len = fread(names, 1, sizeof(names) - 1, f);
	fclose(f);
	names[len] = '\0';
	for (name = names, i = 0; name < names + len; name += strlen(name) + 1, i++)
		if (strcmp(name, wanted) == 0 || strcmp(name, "combined") == 0)
			return i;
	return -ENOTSUP;
}

/*
 * VFIO masks a level-triggered interrupt when it writes to its eventfd, and never unmasks it by
 * itself.
 */
static int
unmask_irq(const struct vfio *v, unsigned int index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE,
		.index = index,
		.count = 1,
	};

	if (ioctl(v->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0)
		return -errno;
	if (!(info.flags & VFIO_IRQ_INFO_AUTOMASKED))
		return 0;
	return ioctl(v->fd, VFIO_DEVICE_SET_IRQS, &set) < 0 ? -errno : 0;
}

static int
vfio_connect_irq(void *ctx, enum smmuv3_irq irq, int fd)
{
	static const char *const names[] = {
		[SMMUV3_IRQ_EVTQ] = "eventq",
		[SMMUV3_IRQ_PRIQ] = "priq",
		[SMMUV3_IRQ_GERROR] = "gerror",
	};
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	} u = { .set = { .argsz = sizeof(u.bytes), .count = fd < 0 ? 0 : 1 } };
	struct vfio *v = ctx;
	int32_t eventfd = fd;
	int index = find_irq_index(v, names[irq]), ret;

	if (index < 0)
		return index;
	u.set.index = index;
	u.set.flags = VFIO_IRQ_SET_ACTION_TRIGGER |
		(fd < 0 ? VFIO_IRQ_SET_DATA_NONE : VFIO_IRQ_SET_DATA_EVENTFD);
	memcpy(u.set.data, &eventfd, sizeof(eventfd));
	ret = ioctl(v->fd, VFIO_DEVICE_SET_IRQS, &u) < 0 ? -errno : 0;
	if (ret == 0 && fd >= 0)
		ret = unmask_irq(v, index);
	if (ret < 0) {
		LOG(ERR, v, "interrupt %s, index %d: %s", names[irq], index, strerror(-ret));
		return -ENOTSUP;
	}
	return 0;
}

static void
vfio_wait(void *ctx)
{
	RTE_SET_USED(ctx);
	rte_pause();
}

const struct smmuv3_backend smmuv3_backend_vfio = {
	.name = "vfio",
	.fixed_memory = true,
	.open = vfio_open,
	.close = vfio_close,
	.dma_map = vfio_dma_map,
	.dma_unmap = vfio_dma_unmap,
	.connect_irq = vfio_connect_irq,
	.wait = vfio_wait,
};
