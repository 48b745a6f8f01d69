/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_COMPAT_H
#define LAB_COMPAT_H

/* Differences between Linux 6.12 and the newest kernel that the lab ran with. */

#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/version.h>

/* From drivers/iommu/iommu-priv.h, exported to modules that import the name space. */
int iommu_attach_group_handle(struct iommu_domain *domain, struct iommu_group *group,
		struct iommu_attach_handle *handle);
void iommu_detach_group_handle(struct iommu_domain *domain, struct iommu_group *group);

/* An unmap of a part of a block splits it; later kernels treat that as an error. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define LAB_IMPORT_NS()	MODULE_IMPORT_NS(IOMMUFD_INTERNAL)
#define LAB_SPLITS_BLOCKS true
#else
#define LAB_IMPORT_NS()	MODULE_IMPORT_NS("IOMMUFD_INTERNAL")
#define LAB_SPLITS_BLOCKS false
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
static inline int
lab_enable_iopf(struct device *dev)
{
	int ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_IOPF);

	if (ret == 0) {
		ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
		if (ret)
			iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
	}
	return ret;
}

/* SVA without page faults, for an SMMU that cannot stall. */
static inline int
lab_enable_sva(struct device *dev)
{
	iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_IOPF);
	return iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
}

static inline void
lab_disable_iopf(struct device *dev)
{
	iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_SVA);
	iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
}
#else
/*
 * An attach that needs page faults enables them. Linux 7.3 does not check whether it serves faults
 * of this SMMU (coherent, 16-bit ASIDs): it dereferences NULL in iopf_queue_add_device(). SVA
 * checks.
 */
static inline int
lab_enable_iopf(struct device *dev)
{
	struct iommu_sva *sva = iommu_sva_bind_device(dev, current->mm);

	if (IS_ERR(sva))
		return PTR_ERR(sva);
	iommu_sva_unbind_device(sva);
	return 0;
}

static inline int
lab_enable_sva(struct device *dev)
{
	return 0;
}

static inline void
lab_disable_iopf(struct device *dev)
{
}
#endif

#endif /* LAB_COMPAT_H */
