// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Stalls, served through Linux's I/O page fault queue by the test driver's handler. */

#include <linux/delay.h>
#include <linux/slab.h>

#include "compat.h"
#include "smmulab.h"

#define ORDER	4

static struct {
	struct iommu_domain *d;
	struct page *pages;
	atomic_t nb_faults;
	int deny;		/* deny one page of this many; 0: none */
} iopf;

static int
handle_fault(struct iopf_group *group)
{
	u64 va = group->last_fault.fault.prm.addr & ~0xfffull;
	enum iommu_page_response_code answer = IOMMU_PAGE_RESP_SUCCESS;

	atomic_inc(&iopf.nb_faults);
	if (iopf.deny && (va >> 12) % iopf.deny == 0)
		answer = IOMMU_PAGE_RESP_INVALID;
	else if (!iommu_iova_to_phys(iopf.d, va))
		iommu_map(iopf.d, va, page_to_phys(iopf.pages) + (va & 0xf000), 0x1000, LAB_RW,
			GFP_KERNEL);
	iopf_group_response(group, answer);
	iopf_free_group(group);
	return 0;
}

static void
one_by_one(struct lab_dev *t)
{
	int i;

	for (i = 0; i < 16; i++) {
		u64 offset = i * 0x1000ull + 0x40;

		LAB_CHECK(lab_write(t, LAB_VA + offset, 0x80, i) == 0, "write that stalls", "%u",
			lab_mb->status);
		LAB_CHECK(lab_mb->nb_stalls == 1, "one stall", "%u", lab_mb->nb_stalls);
		LAB_CHECK(lab_same(page_address(iopf.pages) + offset, 0x80, i),
			"bytes written", "");
	}
	LAB_CHECK(lab_write(t, LAB_VA + 0x100000, 0x8000, 0x4000) == 0, "write of 8 pages", "%u",
		lab_mb->status);
	LAB_CHECK(lab_mb->nb_stalls == 8, "8 stalls", "%u", lab_mb->nb_stalls);
}

/* Unmap pages under DMA; the handler maps them again. */
static void
under_dma(struct lab_dev *t)
{
	const u64 va = LAB_VA + 0x200000;
	int i;

	lab_stream_on(t, va, true, 0);
	for (i = 0; i < 200; i++) {
		usleep_range(300, 900);
		if (iommu_iova_to_phys(iopf.d, va))
			iommu_unmap(iopf.d, va, 0x1000);
	}
	lab_stream_off(t);
	LAB_CHECK(lab_mb->nb_bad == 0, "no DMA of the stream fails", "%u", lab_mb->nb_bad);
}

static void
bursts(struct lab_dev *t)
{
	int ret = lab_burst(t, LAB_VA + 0x400000, 600, true);

	LAB_CHECK(ret == 0, "burst of 600", "%d", ret);
	pr_info("lab: burst of 600: %u stalls\n", lab_mb->nb_stalls);
	iopf.deny = 3;
	ret = lab_burst(t, LAB_VA + 0x40000000, 300, false);
	LAB_CHECK(ret == 100, "burst of 300, one in three is denied", "%d", ret);
	iopf.deny = 0;
}

void
lab_test_iopf(struct lab_dev *t)
{
	struct iommu_attach_handle *h;
	int ret = lab_enable_iopf(t->dev);

	if (!LAB_CHECK(ret == 0, "page faults are enabled", "%d", ret))
		return;
	h = kzalloc(sizeof(*h), GFP_KERNEL);
	iopf.pages = alloc_pages(GFP_KERNEL, ORDER);
	iopf.d = lab_domain(t);
	if (!iopf.d)
		return;
	iopf.d->iopf_handler = handle_fault;
	h->domain = iopf.d;
	ret = iommu_attach_group_handle(iopf.d, t->dev->iommu_group, h);
	if (LAB_CHECK(ret == 0, "attach with a fault handler", "%d", ret)) {
		one_by_one(t);
		under_dma(t);
		bursts(t);
		pr_info("lab: %d faults served\n", atomic_read(&iopf.nb_faults));
		iommu_detach_group_handle(iopf.d, t->dev->iommu_group);
	}
	iommu_domain_free(iopf.d);
	__free_pages(iopf.pages, ORDER);
	kfree(h);
	lab_disable_iopf(t->dev);
}
