// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Domains of the tests. */

#include "smmulab.h"

struct iommu_domain *
lab_domain(struct lab_dev *t)
{
	struct iommu_domain *d = iommu_paging_domain_alloc(t->dev);

	return LAB_CHECK(!IS_ERR(d), "domain is made", "%ld", PTR_ERR(d)) ? d : NULL;
}

int
lab_attach(struct iommu_domain *d, struct lab_dev *t)
{
	int ret = iommu_attach_group(d, t->dev->iommu_group);

	LAB_CHECK(ret == 0, "attach", "%d", ret);
	return ret;
}

void
lab_detach(struct iommu_domain *d, struct lab_dev *t)
{
	iommu_detach_group(d, t->dev->iommu_group);
}

int
lab_map(struct iommu_domain *d, u64 va, u64 pa, size_t len, int prot)
{
	int ret = iommu_map(d, va, pa, len, prot, GFP_KERNEL);

	LAB_CHECK(ret == 0, "map", "%d", ret);
	return ret;
}
