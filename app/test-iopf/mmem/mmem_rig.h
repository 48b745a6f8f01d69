/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_RIG_H
#define MMEM_RIG_H

/*
 * Managed memory, seen by the CPU through its pointers and by a device of the model, with and
 * without a PASID. The thread of the test runs the model and polls alternately.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmem.h"
#include "mmem_chunk.h"
#include "mmem_fault.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "pgtable.h"
#include "smmuv3_model.h"

#define PASID		3
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define NB_CHUNKS	16
#define RW		(MMEM_READ | MMEM_WRITE)
#define MAX_REPORTS	64
/* Far more than any test needs, for a machine under load. */
#define PATIENCE_S	120

struct mm {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;		/* without PASID */
	struct smmuv3_model_dma *dma_pasid;
	struct mmem_report reports[MAX_REPORTS];
	_Atomic unsigned int nb_reports;
};

extern struct mm mm;

extern uint8_t mm_scratch[2 * MMEM_CHUNK_SIZE];

/* The report of a fault calls this on the poll thread, inside the handler. */
extern void (*mm_in_handler)(void);

int mm_setup(void **state);
int mm_teardown(void **state);

/* Set-up of a suite: memory has one device address, or one for each piece (pieces.h). */
int mm_set_pieces(void **state);
int mm_set_address(void **state);

struct mmem_pool *mm_make_pool(void);
struct mmem_space *mm_make_space(void);
void mm_run_turn(void);
void mm_submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr,
		void *buf, size_t len);
struct smmuv3_model_done mm_await(struct smmuv3_model_dma *dma);
struct smmuv3_model_done mm_dev_read(const void *addr, void *buf, size_t len);
struct smmuv3_model_done mm_dev_write(const void *addr, const void *buf, size_t len);
void mm_dev_set(const void *addr, uint8_t byte, size_t len);
/* Check that the device reads this byte throughout. */
void mm_dev_expect(const void *addr, uint8_t byte, size_t len);
void mm_cpu_expect(const uint8_t *p, uint8_t byte, size_t len);
uint64_t mm_stat(enum mmem_stat stat);
uint64_t mm_count_faults(void);
/* Check the last report. */
void mm_expect_report(const void *addr, uint32_t pasid, uint8_t perm, int error);
uint8_t *mm_alloc(size_t size, unsigned int flags);
/* Shared memory of the caller, aligned to 2 MiB: for munmap(). */
uint8_t *mm_map_shared(size_t len);
void mm_import(uint8_t *p, size_t len, unsigned int flags);
void mm_release(uint8_t *p);
/* The SMMU does not confirm invalidations, or does again. Mutes the log meanwhile. */
void mm_smmu_stick(bool on);
/* Mute or unmute the log of the libraries. */
void mm_mute_log(bool on);

#define MM_TEST(f) cmocka_unit_test_setup_teardown(f, mm_setup, mm_teardown)

#endif /* MMEM_RIG_H */
