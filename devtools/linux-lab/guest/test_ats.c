// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* A PCIe function with an ATC. */

#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "smmulab.h"

#define BUF	0x4000

static void
through_the_atc(struct lab_dev *t, void *p)
{
	dma_addr_t a;
	int i;

	for (i = 0; i < 10; i++) {
		a = dma_map_single(t->dev, p, BUF, DMA_BIDIRECTIONAL);
		LAB_CHECK(lab_write(t, a, BUF, 0x10000 * i) == 0, "write", "%u", lab_mb->status);
		LAB_CHECK(lab_same(p, BUF, 0x10000 * i), "bytes written", "");
		dma_unmap_single(t->dev, a, BUF, DMA_BIDIRECTIONAL);
		LAB_CHECK(lab_write(t, a, 64, 0) != 0, "write after unmap is refused", "");
	}
}

/* Linux does not serve page requests of an SMMUv3: it denies them and logs that. */
static void
page_request(struct lab_dev *t)
{
	lab_mark("page request");
	LAB_CHECK(lab_call_ats(t, LAB_PRI_ON, 8) == 0, "PRI on", "");
	LAB_CHECK(lab_write(t, LAB_VA, 64, 0) != 0, "page request is denied", "");
	pr_info("lab: page request: status %u, %u groups\n", lab_mb->status, lab_mb->nb_groups);
	LAB_CHECK(lab_call_ats(t, LAB_PRI_OFF, 0) == 0, "PRI off", "");
}

static void
switch_domain(struct lab_dev *t, void *p)
{
	struct iommu_domain *d = lab_domain(t);
	int i;

	if (!d)
		return;
	lab_map(d, LAB_VA, virt_to_phys(p), 0x1000, LAB_RW);
	for (i = 0; i < 5; i++) {
		if (lab_attach(d, t) != 0)
			break;
		LAB_CHECK(lab_write(t, LAB_VA, 64, i) == 0 && lab_same(p, 64, i),
			"write in the domain", "%u", lab_mb->status);
		lab_detach(d, t);
		LAB_CHECK(lab_write(t, LAB_VA, 64, i) != 0, "write after detach is refused", "");
	}
	iommu_domain_free(d);
}

void
lab_test_ats(struct lab_dev *t)
{
	void *p = kmalloc(BUF, GFP_KERNEL);

	LAB_CHECK(t->ats, "Linux switched ATS on", "");
	t->function = true;
	LAB_CHECK(lab_call_ats(t, LAB_ATS_ON, 0) == 0, "ATS on", "");
	through_the_atc(t, p);
	page_request(t);
	lab_mark("domains with ATS");
	switch_domain(t, p);
	LAB_CHECK(lab_call_ats(t, LAB_ATS_OFF, 0) == 0, "ATS off", "");
	t->function = false;
	kfree(p);
}
