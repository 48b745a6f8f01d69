/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <rte_atomic.h>
#include <rte_errno.h>
#include <rte_io.h>
#include <rte_vfio.h>

#include "iopf_stats.h"
#include "lab_rig.h"
#include "phys.h"
#include "iopf_iommu.h"
#include "test.h"

#define PCI		"/sys/bus/pci/devices"
#define EDU_IDS		"0x1234 0x11e8"

/* QEMU's docs/specs/edu. */
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_CMD		0x98
#define EDU_RUN		1u
#define EDU_TO_MEMORY	2u
#define EDU_BUFFER	0x40000

/*
 * In the device's time, which stops while no processor sleeps and may differ much from the host's.
 */
#define DMA_TIMEOUT_MS	5000
#define QUIET_MS	5

/* After so many passes the poller has read the SMMU's errors. */
#define PASSES		128

struct lab lab = { .edu.fd = -1 };

void
lab_skip_elsewhere(void)
{
	const char *on = getenv("IOPF_LAB");

	if (on == NULL || strcmp(on, "1") != 0)
		test_skip("IOPF_LAB is not 1: only in the guest of devtools/qemu-lab/run.sh");
}

const char *
lab_smmu_name(void)
{
	const char *name = getenv("IOPF_LAB_SMMU");

	return name != NULL ? name : "9050000.smmuv3";
}

const char *
lab_get_devstr(void)
{
	static char str[128];

	snprintf(str, sizeof(str), "smmuv3,vfio=%s", lab_smmu_name());
	return str;
}

static void
read_line(const char *bdf, const char *file, char *line, size_t len)
{
	char path[512];
	FILE *f;

	line[0] = '\0';
	snprintf(path, sizeof(path), PCI "/%s/%s", bdf, file);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(line, len, f) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	fclose(f);
}

static void
find_edu(struct lab_edu *edu)
{
	unsigned int bus, dev, fn;
	char ids[32], part[16];
	struct dirent *entry;
	DIR *dir;

	dir = opendir(PCI);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		read_line(entry->d_name, "vendor", part, sizeof(part));
		snprintf(ids, sizeof(ids), "%s ", part);
		read_line(entry->d_name, "device", part, sizeof(part));
		strcat(ids, part);
		if (strcmp(ids, EDU_IDS) == 0)
			snprintf(edu->bdf, sizeof(edu->bdf), "%.15s", entry->d_name);
	}
	closedir(dir);
	if (edu->bdf[0] == '\0')
		fail_msg("there is no edu device: QEMU needs -device edu,dma_mask=0xffffffffffff");
	/* The root complex uses requester ids as StreamIDs. */
	assert_int_equal(sscanf(edu->bdf, "%*x:%x:%x.%x", &bus, &dev, &fn), 3);
	edu->sid = bus << 8 | dev << 3 | fn;
}

static void
find_region(const struct lab_edu *edu, uint32_t index, struct vfio_region_info *region)
{
	*region = (struct vfio_region_info){ .argsz = sizeof(*region), .index = index };
	assert_int_equal(ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, region), 0);
}

void
lab_edu_open(struct lab_edu *edu)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region;
	uint16_t command;

	*edu = (struct lab_edu){ .fd = -1 };
	find_edu(edu);
	if (rte_vfio_setup_device(PCI, edu->bdf, &edu->fd, &info) != 0)
		fail_msg("%s: VFIO refuses the device: bind it to vfio-pci", edu->bdf);
	find_region(edu, VFIO_PCI_CONFIG_REGION_INDEX, &region);
	assert_int_equal(pread(edu->fd, &command, 2, region.offset + PCI_COMMAND), 2);
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	assert_int_equal(pwrite(edu->fd, &command, 2, region.offset + PCI_COMMAND), 2);
	find_region(edu, VFIO_PCI_BAR0_REGION_INDEX, &region);
	edu->size = region.size;
	edu->bar = mmap(NULL, edu->size, PROT_READ | PROT_WRITE, MAP_SHARED, edu->fd,
			region.offset);
	assert_true(edu->bar != MAP_FAILED);
	/* The device's identification register. */
	assert_int_equal(rte_read32(edu->bar) & 0xffff, 0xed);
	/* A DMA of an earlier run ends by itself: nothing resets the device. */
	lab_edu_wait(edu);
}

void
lab_edu_close(struct lab_edu *edu)
{
	if (edu->fd < 0)
		return;
	munmap(edu->bar, edu->size);
	rte_vfio_release_device(PCI, edu->bdf, edu->fd);
	edu->fd = -1;
}

static unsigned int
poll_passes(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < PASSES; i++)
		n += iopf_poll(lab.poller);
	return n;
}

void
lab_edu_wait(struct lab_edu *edu)
{
	unsigned int ms;

	for (ms = 0; lab_edu_busy(edu); ms++) {
		if (ms == DMA_TIMEOUT_MS)
			fail_msg("a DMA has not ended after %u ms", ms);
		if (lab.poller != NULL)
			poll_passes();
		/* The guest's time may advance only while the processors sleep. */
		usleep(1000);
	}
}

bool
lab_edu_busy(struct lab_edu *edu)
{
	return rte_read64(edu->bar + EDU_CMD) & EDU_RUN;
}

void
lab_edu_start(struct lab_edu *edu, bool write, uint64_t addr, uint32_t at, uint32_t len)
{
	uint64_t own = EDU_BUFFER + at;

	assert_true(len <= LAB_DMA_MAX);
	assert_false(lab_edu_busy(edu));
	rte_write64(write ? own : addr, edu->bar + EDU_SRC);
	rte_write64(write ? addr : own, edu->bar + EDU_DST);
	rte_write64(len, edu->bar + EDU_COUNT);
	rte_write64(EDU_RUN | (write ? EDU_TO_MEMORY : 0), edu->bar + EDU_CMD);
}

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	(void)dev;
	(void)ctx;
	lab.nb_retries++;
	lab.nb_refused += retry->code != IOPF_SUCCESS;
	lab.retry = *retry;
}

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	(void)iommu;
	(void)ctx;
	lab.nb_reports++;
	lab.report = *fault;
}

void
lab_start(const struct iopf_iommu_conf *conf, bool no_dev)
{
	struct iopf_iommu_conf mine = { .report = NULL };

	if (conf != NULL)
		mine = *conf;
	mine.report = on_report;
	lab_clear();
	lab.smmu = iopf_iommu_open(lab_get_devstr());
	if (lab.smmu == NULL)
		fail_msg("%s: %s", lab_get_devstr(), rte_strerror(rte_errno));
	assert_int_equal(iopf_iommu_configure(lab.smmu, &mine), 0);
	/* The device may become a bus master only now: before this, DMA could pass untranslated. */
	assert_int_equal(iopf_iommu_start(lab.smmu), 0);
	lab_edu_open(&lab.edu);
	lab.poller = iopf_poller_create(NULL);
	assert_non_null(lab.poller);
	assert_int_equal(iopf_poller_add(lab.poller, lab.smmu, IOPF_QUEUE_ALL), 0);
	if (no_dev)
		return;
	lab.dev = iopf_dev_add(lab.smmu, &(struct iopf_dev_conf){
			.name = "edu", .sids = &lab.edu.sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops.retry = on_retry });
	assert_non_null(lab.dev);
}

int
lab_finish(void **state)
{
	int ret = 0;

	(void)state;
	lab_edu_close(&lab.edu);
	if (lab.dev != NULL)
		ret |= iopf_dev_remove(lab.dev);
	if (lab.poller != NULL)
		ret |= iopf_poller_destroy(lab.poller);
	if (lab.smmu != NULL) {
		ret |= iopf_iommu_stop(lab.smmu);
		ret |= iopf_iommu_close(lab.smmu);
	}
	lab = (struct lab){ .edu.fd = -1 };
	return ret;
}

void
lab_clear(void)
{
	lab.nb_retries = 0;
	lab.nb_refused = 0;
	lab.nb_reports = 0;
}

void
lab_drain(void)
{
	unsigned int quiet;

	for (quiet = 0; quiet < QUIET_MS; quiet++) {
		if (poll_passes() > 0)
			quiet = 0;
		usleep(1000);
	}
}

void
lab_try(bool write, uint64_t addr, uint32_t len)
{
	/* The CPU's stores are visible before the device starts. */
	rte_mb();
	lab_edu_start(&lab.edu, write, addr, 0, len);
	lab_edu_wait(&lab.edu);
	lab_drain();
}

int
lab_move(bool write, uint64_t addr, uint32_t len)
{
	unsigned int tries;

	for (tries = 0; tries < 8; tries++) {
		lab.nb_retries = 0;
		lab.nb_refused = 0;
		lab_try(write, addr, len);
		if (lab.nb_refused > 0)
			return -EFAULT;
		if (lab.nb_retries == 0)
			return 0;
	}
	return -ELOOP;
}

void
lab_zone_make(struct lab_zone *zone)
{
	zone->va = mmap(NULL, LAB_ZONE_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	assert_true(zone->va != MAP_FAILED);
	zone->used = 0;
	assert_int_equal(smmuv3_phys_lookup(zone->va, LAB_ZONE_SIZE, &zone->addr), 0);
	assert_int_equal(zone->addr & (LAB_ZONE_SIZE - 1), 0);
}

void
lab_zone_free(struct lab_zone *zone)
{
	munmap(zone->va, LAB_ZONE_SIZE);
}

static void *
table_alloc(void *ctx, size_t size)
{
	struct lab_zone *zone = ctx;

	if (zone->used + size > LAB_ZONE_SIZE)
		return NULL;
	zone->used += size;
	return zone->va + zone->used - size;
}

static void
table_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)p;
	(void)size;
}

static uint64_t
table_addr(void *ctx, const void *p)
{
	struct lab_zone *zone = ctx;

	return zone->addr + ((const uint8_t *)p - zone->va);
}

void
lab_table_make(struct lab_table *table, unsigned int granule_log2, unsigned int pa_bits)
{
	lab_zone_make(&table->zone);
	table->pgt = pgt_create(&(struct pgt_conf){ .granule_log2 = granule_log2,
			.pa_bits = pa_bits, .mem = { .ctx = &table->zone, .alloc = table_alloc,
			.free = table_free, .va_to_pa = table_addr } });
	assert_non_null(table->pgt);
}

void
lab_table_free(struct lab_table *table)
{
	pgt_destroy(table->pgt);
	lab_zone_free(&table->zone);
}

uint64_t
lab_read_stat(const char *wanted)
{
	const char *name;
	unsigned int i;

	for (i = 0; i < iopf_iommu_info(lab.smmu)->nb_stats; i++) {
		uint64_t v = iopf_iommu_driver_stat(lab.smmu, i, &name);

		if (strcmp(name, wanted) == 0)
			return v;
	}
	fail_msg("no counter %s", wanted);
	return 0;
}
