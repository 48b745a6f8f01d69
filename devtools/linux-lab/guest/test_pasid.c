// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Domains of PASIDs beside the domain of the StreamID. */

#include <linux/dma-mapping.h>

#include "smmulab.h"

struct pasid_test {
	struct lab_dev *t;
	struct iommu_domain *d;
	struct page *page;
	dma_addr_t iova;	/* in the device's own domain */
	void *own;
};

static int
write_pasid(struct pasid_test *x, u64 len, int pasid, u32 pattern)
{
	return lab_dma(x->t, LAB_WRITE, LAB_VA, len, pasid, pattern);
}

static void
attached(struct pasid_test *x, int pasid)
{
	void *p = page_address(x->page);

	LAB_CHECK(write_pasid(x, 0x1000, pasid, 0x10 + pasid) == 0, "write with the PASID", "%u",
		lab_mb->status);
	LAB_CHECK(lab_same(p, 0x1000, 0x10 + pasid), "bytes of the PASID", "");
	LAB_CHECK(lab_write(x->t, x->iova, 0x1000, 5) == 0 && lab_same(x->own, 0x1000, 5),
		"write without a PASID", "%u", lab_mb->status);
	LAB_CHECK(lab_write(x->t, LAB_VA, 64, 1) != 0, "the PASID's page is the PASID's", "");
	iommu_unmap(x->d, LAB_VA, 0x1000);
	LAB_CHECK(write_pasid(x, 64, pasid, 1) != 0, "write after unmap is refused", "");
	lab_map(x->d, LAB_VA, page_to_phys(x->page), 0x1000, LAB_RW);
	LAB_CHECK(write_pasid(x, 64, pasid, 9) == 0, "write after map", "%u", lab_mb->status);
}

static void
one_pasid(struct pasid_test *x, int pasid)
{
	int ret;

	LAB_CHECK(write_pasid(x, 64, pasid, 1) != 0, "write before attach is refused", "");
	ret = iommu_attach_device_pasid(x->d, x->t->dev, pasid, NULL);
	if (!LAB_CHECK(ret == 0, "attach of a PASID", "%d: %d", pasid, ret))
		return;
	attached(x, pasid);
	iommu_detach_device_pasid(x->d, x->t->dev, pasid);
	LAB_CHECK(write_pasid(x, 64, pasid, 1) != 0, "write after detach is refused", "");
}

void
lab_test_pasid(struct lab_dev *t)
{
	struct pasid_test x = { .t = t, .d = lab_domain(t), .page = alloc_page(GFP_KERNEL) };
	int max = t->dev->iommu->max_pasids, i;
	const int pasids[] = { 1, 3, max - 1 };

	pr_info("lab: max_pasids %d\n", max);
	if (!x.d)
		return;
	x.own = dma_alloc_coherent(t->dev, 0x1000, &x.iova, GFP_KERNEL);
	lab_map(x.d, LAB_VA, page_to_phys(x.page), 0x1000, LAB_RW);
	for (i = 0; i < 3; i++)
		if (pasids[i] > 0 && pasids[i] < max)
			one_pasid(&x, pasids[i]);
	LAB_CHECK(write_pasid(&x, 64, max, 1) != 0, "PASID beyond the last is refused", "");
	LAB_CHECK(write_pasid(&x, 64, 0, 1) != 0, "PASID 0 is refused", "");
	dma_free_coherent(t->dev, 0x1000, x.own, x.iova);
	iommu_domain_free(x.d);
	__free_page(x.page);
}
