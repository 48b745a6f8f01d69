/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PAGE_H
#define SMMUV3_PAGE_H

/**
 * @file
 * A page file: the registers of an SMMU, and the memory that the SMMU can access, in a file that
 * two processes map. The *server* makes the file and is the SMMU: the software SMMUv3, or a VMM
 * that emulates one for a guest. The *driver* opens the file and drives the SMMU.
 *
 *	+--------+-------------------+------------------------------------------+
 *	| header | register pages    | memory                                   |
 *	|        |                   | [0, mem_driver)    | [mem_driver, ...)   |
 *	| 64 KiB | regs_size         | queues and tables, | data and its tables,|
 *	|        |                   | of the driver      | of the application  |
 *	+--------+-------------------+------------------------------------------+
 *	0        regs_offset         mem_offset
 *
 * Addresses. Byte n of the memory has the device address mem_addr + n. The driver maps the memory
 * at this address, so a pointer into the memory is also its device address, and no address needs
 * translation between the driver, its application and the tables. If the driver's process uses a
 * part of this range for something else, the open fails. The server maps the memory anywhere.
 *
 * Registers. Both sides access them as memory, with the ordering of smmuv3_order.h: each register
 * has one writer at a time, as in the architecture. Nothing traps an access. The server reads the
 * registers that software writes, so it notices a write within its next pass, and does not notice a
 * value that software replaces before.
 *
 * Time. Neither side can wake the other. A driver that waits pauses, and yields its processor at
 * times, since the server may run on the same one. There is no wired interrupt: a thread cannot
 * sleep until a record comes. MSIs are words in the memory, as with every SMMU.
 *
 * Trust. Neither side believes the other. The driver copies the header, checks the copy once
 * (smmuv3_page_check()), and then uses the copy. The server never reads the header again. All
 * that the driver writes is a guest's: the server checks each address, and an access outside of the
 * memory is an external abort. A file that shrinks while it is mapped would end both processes by
 * SIGBUS, so the server seals its size (F_SEAL_SHRINK of a memfd). A driver has to trust the server
 * of a file that is not sealed.
 *
 * Life. A driver that dies leaves the registers as they are. The next driver that opens the file
 * finds an SMMU that runs, and takes it over. Only one driver at a time may have the file open; a
 * lock of the file (flock()) refuses a second one.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smmuv3_spec.h"

#define SMMUV3_PAGE_MAGIC	UINT64_C(0x6567617066706f69)	/* "iopfpage" in the file */
#define SMMUV3_PAGE_VERSION	1
/* Each part begins at, and has a size of, a multiple of this. */
#define SMMUV3_PAGE_ALIGN	((uint64_t)SMMUV3_PAGE_SIZE)
/* More than all control pages of ECMDQs. */
#define SMMUV3_PAGE_REGS_MAX	(UINT64_C(64) << 20)

/* At the start of the file, little-endian. */
struct smmuv3_page {
	uint64_t magic;
	uint32_t version;
	uint32_t reserved;	/* 0 */
	uint64_t regs_offset;
	uint64_t regs_size;
	uint64_t mem_offset;
	uint64_t mem_size;
	uint64_t mem_addr;
	uint64_t mem_driver;
};
static_assert(sizeof(struct smmuv3_page) == 64, "layout of the file");
static_assert(offsetof(struct smmuv3_page, regs_offset) == 16, "layout of the file");
static_assert(offsetof(struct smmuv3_page, mem_driver) == 56, "layout of the file");

/* [at, at + size) is not empty, aligned, behind the header, and below @p end. */
static inline bool
smmuv3_page_is_part(uint64_t at, uint64_t size, uint64_t end)
{
	return at >= SMMUV3_PAGE_ALIGN && size != 0 && (at | size) % SMMUV3_PAGE_ALIGN == 0 &&
		at < end && size <= end - at;
}

/** The reason why a driver cannot use a file of @p file_size bytes; NULL: it can. */
static inline const char *
smmuv3_page_check(const struct smmuv3_page *page, uint64_t file_size)
{
	if (page->magic != SMMUV3_PAGE_MAGIC)
		return "it does not begin as a page file";
	if (page->version != SMMUV3_PAGE_VERSION || page->reserved != 0)
		return "it has another version";
	if (!smmuv3_page_is_part(page->regs_offset, page->regs_size, file_size) ||
			page->regs_size < SMMUV3_REGS_SIZE ||
			page->regs_size > SMMUV3_PAGE_REGS_MAX)
		return "its registers are out of range";
	if (!smmuv3_page_is_part(page->mem_offset, page->mem_size, file_size))
		return "its memory is out of range";
	if (page->regs_offset < page->mem_offset + page->mem_size &&
			page->mem_offset < page->regs_offset + page->regs_size)
		return "its registers and its memory overlap";
	if (!smmuv3_page_is_part(page->mem_addr, page->mem_size, UINT64_C(1) << 52))
		return "the device addresses of its memory are out of range";
	if (page->mem_driver == 0 || page->mem_driver > page->mem_size ||
			page->mem_driver % SMMUV3_PAGE_ALIGN != 0)
		return "the driver's part of its memory is out of range";
	return NULL;
}

#endif /* SMMUV3_PAGE_H */
