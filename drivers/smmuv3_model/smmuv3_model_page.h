/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_PAGE_H
#define SMMUV3_MODEL_PAGE_H

/**
 * @file
 * Page files: the registers of an SMMU, and the memory that it can access, in a file. The process
 * that makes the file is the SMMU, for example with a model. A driver in another process opens
 * "smmuv3,page=PATH". What the other process writes cannot harm this one: the model accesses the
 * registers and the window only, and the size of the file is sealed.
 *
 * Example: a model for another process.
 * @code
 *	smmuv3_model_page_create(&(struct smmuv3_model_page_conf){ .mem_size = 256 << 20 },
 *			&page);
 *	m = smmuv3_model_create(&(struct smmuv3_model_conf){
 *			.regs = page.regs, .regs_size = page.regs_size });
 *	smmuv3_model_mem_add(m, page.mem_addr, page.mem, page.mem_size);
 *	smmuv3_model_start(m, -1);
 *	printf("smmuv3,page=%s\n", page.path);
 *	... devices: smmuv3_model_dma_create() ...
 *	smmuv3_model_destroy(m);
 *	smmuv3_model_page_destroy(&page);
 * @endcode
 *
 * The other process finds the memory at pointers that are its device addresses. From
 * mem_addr + mem_driver on it is the application's, for iopf_dma_map(): tables and data. If a
 * driver dies, the model goes on, and the next driver takes it over.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Zero in a field selects the default in brackets. All are multiples of 64 KiB. */
struct smmuv3_model_page_conf {
	size_t regs_size;	/**< of the register pages, from 128 KiB, to 64 MiB [128 KiB] */
	uint64_t mem_addr;	/**< device address of the memory, below 2^52; the driver's process
				  * maps the memory at this address too [1 GiB] */
	size_t mem_size;	/**< [64 MiB]; each page takes memory from its first use on */
	size_t mem_driver;	/**< the first bytes are for the driver's queues and tables
				  * [a quarter of mem_size] */
};

struct smmuv3_model_page {
	char path[32];		/**< "/proc/PID/fd/FD", while this process has it open */
	int fd;			/**< a memfd */
	void *regs;		/**< zero */
	size_t regs_size;
	void *mem;		/**< zero */
	size_t mem_size;
	uint64_t mem_addr;
};

/**
 * Make a page file and map it. Any thread.
 *
 * @param conf NULL for all defaults.
 * @param[out] page only changed on success.
 * @return 0, -EINVAL (a value out of range; NULL), or the negated error of memfd_create(),
 *	ftruncate(), fcntl() or mmap().
 */
int smmuv3_model_page_create(const struct smmuv3_model_page_conf *conf,
		struct smmuv3_model_page *page);

/**
 * Unmap and close the file, after the model that uses it is destroyed. A driver that still has it
 * open sees registers that never change again. NULL is allowed.
 */
void smmuv3_model_page_destroy(struct smmuv3_model_page *page);

#ifdef __cplusplus
}
#endif

#endif /* SMMUV3_MODEL_PAGE_H */
