/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TABLE_RIG_H
#define TABLE_RIG_H

/*
 * Page tables in memory of a test, which counts allocations and lets them fail, and reads
 * descriptors as a device does.
 *
 * Literal descriptors are worked out by hand from VMSAv8-64: page bits 1:0 = 11, block 01, AP[7:6],
 * SH inner 9:8, AF 10, nG 11, PXN 53, UXN 54. So RW is 0xf43, RO 0xfc3, privileged RW 0xf03, a
 * block RW 0xf41, and 0x0060... is no execution. In stage 2, MemAttr 5:2 is 1111, S2AP[7:6] is 01
 * to read and 11 to write, there is no nG, and XN is bit 54: so RW is 0x7ff, RO 0x77f, a block RW
 * 0x7fd, and 0x0040... is no execution.
 *
 * A suite that tests contracts of both stages is registered twice: as it is, and as NAME_stage2
 * with table_use_stage2() and table_use_stage1() as its setup and teardown. Its tables have 39 or 48
 * bits and 4K granules, so that both stages have the same levels and one table at the root.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pgtable.h>

#define TABLE_PA	UINT64_C(0x40000000)
#define NB_TABLES	64
#define K4	UINT64_C(0x1000)
#define M2	UINT64_C(0x200000)
#define G1	UINT64_C(0x40000000)

/* Table memory: granule n lies at device address TABLE_PA + n * granule, in order of allocation. */
struct mem {
	uint8_t *base;
	size_t granule;
	_Atomic unsigned int next;
	_Atomic unsigned int nb_alloc;
	_Atomic unsigned int nb_free;
	unsigned int fail_from;		/* first allocation that fails; 0: none */
	unsigned int skew;		/* allocations are misaligned by this many bytes */
	void (*hook)(struct mem *mem);	/* called once, inside the next allocation */
	struct pgt *pgt;
	int hook_rc;
};

/* The stage of the tables that this rig makes. */
extern bool table_stage2;

int table_use_stage2(void **state);
int table_use_stage1(void **state);
uint64_t mem_va_to_pa(void *ctx, const void *p);
void mem_init(struct mem *mem, unsigned int granule_log2);
struct pgt_conf mem_conf(struct mem *mem, unsigned int granule_log2, unsigned int va_bits);
struct pgt *table_open(struct mem *mem, unsigned int granule_log2, unsigned int va_bits);
/* The same with mem_heap(). */
struct pgt *table_open_heap(struct mem *mem, unsigned int granule_log2, unsigned int va_bits);
void table_close(struct mem *mem);
/* The descriptor of a page that is not executable, RW with PGT_WRITE, else RO. */
uint64_t table_page(uint64_t pa, uint32_t prot);
/* Tables from the heap, with device addresses that are pointers; callable from threads. */
struct pgt_mem mem_heap(struct mem *mem);
/* A descriptor as a device would read it: entry `index` of the table at `pa`. */
uint64_t table_desc(struct mem *mem, uint64_t pa, unsigned int index);
struct pgt_leaf table_walk(struct pgt *pgt, uint64_t va);
enum pgt_state table_state(struct pgt *pgt, uint64_t va);

#endif /* TABLE_RIG_H */
