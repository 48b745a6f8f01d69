/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BACKEND_H
#define SMMUV3_BACKEND_H

/**
 * @file
 * A backend maps the registers and gives memory device addresses. All other code is the same for
 * every backend: after open() the registers are memory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_kvargs.h>

/** Wired interrupts. */
enum smmuv3_irq {
	SMMUV3_IRQ_EVTQ,
	SMMUV3_IRQ_PRIQ,
	SMMUV3_IRQ_GERROR,
};

struct smmuv3_backend {
	/** Also the key of the device string that selects it. */
	const char *name;
	bool fixed_memory;		/* of struct iopf_iommu_info */
	/**
	 * Allocate memory for queues and tables. NULL: it is EAL's, which rte_eal_cleanup() frees.
	 * @param align,len multiples of 64 KiB, @p align a power of two.
	 */
	void *(*alloc)(void *ctx, size_t align, size_t len);
	void (*free)(void *ctx, void *ptr, size_t len);
	/**
	 * @param[out] regs page 0 and 1, SMMUV3_REGS_SIZE bytes.
	 * @param[out] ctx context for the other calls.
	 * @return 0, -EINVAL (a wrong value, logged), -ENODEV, -EBUSY (open already), -ENOMEM.
	 */
	int (*open)(const struct rte_kvargs *args, void **regs, void **ctx);
	/** The bytes of registers; NULL: SMMUV3_REGS_SIZE. */
	size_t (*get_regs_size)(void *ctx);
	/** True: close would destroy a model that has engines. NULL: there is no model. */
	bool (*has_engines)(void *ctx);
	void (*close)(void *ctx);
	/**
	 * Give memory a device address, contiguous and below @p limit.
	 * @return 0, -ERANGE (beyond the limit), -ENOSPC, -EINVAL, -EEXIST; -ENOTSUP (no
	 *   single address, not logged: pieces may have one).
	 */
	int (*dma_map)(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr);
	int (*dma_unmap)(void *ctx, void *ptr, size_t len, uint64_t addr);
	/**
	 * Connect an interrupt to an eventfd and then unmask it; -1: disconnect it. A
	 * level-triggered interrupt is masked when it writes to its eventfd, and stays masked when
	 * it is connected again. In this order a level that is already high writes to @p fd.
	 * @return 0, -ENOTSUP (no such interrupt).
	 */
	int (*connect_irq)(void *ctx, enum smmuv3_irq irq, int fd);
	/** Called in every loop that waits for the SMMU. */
	void (*wait)(void *ctx);
};

extern const struct smmuv3_backend smmuv3_backend_model;
extern const struct smmuv3_backend smmuv3_backend_page;
extern const struct smmuv3_backend smmuv3_backend_vfio;

#endif /* SMMUV3_BACKEND_H */
