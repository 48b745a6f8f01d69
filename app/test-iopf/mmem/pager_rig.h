/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PAGER_RIG_H
#define PAGER_RIG_H

/*
 * Managed memory with pagers of the test: two devices, a thread for the model, a poll thread, and
 * two address spaces.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "mmem.h"
#include "mmem_chunk.h"
#include "mmem_fault.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "pgtable.h"
#include "smmuv3_model.h"

#define OTHER_SID	9
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define NB_CHUNKS	64
#define RW		(MMEM_READ | MMEM_WRITE)
#define PATIENCE_S	120
/* The time to wait for an event that must not come. */
#define WAIT_MS		20
#define MAX_PAGERS	8
#define MAX_FETCHES	64

struct test_pager {
	struct mmem_pager conf;
	_Atomic bool hold;		/* calls do not return */
	_Atomic int error;
	_Atomic unsigned int calls, inside, most, releases;
	_Atomic size_t asked;
	/* of the asynchronous form */
	pthread_mutex_t lock;
	struct {
		struct mmem_fetch *fetch;
		void *dst;
		uint64_t off;
		size_t len;
	} fetches[MAX_FETCHES];
	unsigned int nb_fetches;
	bool at_once;			/* done before start returns */
};

struct pg {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev, *other_dev;
	struct iopf_poller *poller;
	struct iopf_worker *worker;
	struct mmem_pool *pool;
	struct mmem_space *space, *other;
	struct smmuv3_model_dma *dma, *other_dma;
	struct test_pager pagers[MAX_PAGERS];
	unsigned int nb_pagers;
	_Atomic unsigned int nb_reports;
	_Atomic int error;		/* of the last report */
	_Atomic bool quit;
	pthread_t thread;
};

extern struct pg pg;

extern uint8_t pg_bytes[2 * MMEM_CHUNK_SIZE];

/* Of the next model. */
extern uint32_t pg_features;

/* The pool has no_userfaultfd. The two are for a suite's set-up and its end. */
extern bool pg_traps;
int pg_set_traps(void **state);
int pg_set_no_traps(void **state);

/* The next call of a pager or of the report calls this once. */
extern void (*_Atomic pg_call_inside)(void);

int pg_setup(void **state);
int pg_setup_own_worker(void **state);
int pg_setup_four_threads(void **state);
int pg_teardown(void **state);
struct iopf_dev *pg_add_dev(uint32_t sid);
void pg_submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr,
		void *buf, size_t len);
uint64_t pg_deadline(void);

#define AWAIT(condition) do {						\
	uint64_t end_ = pg_deadline();					\
									\
	while (!(condition)) {						\
		assert_true(rte_rdtsc() < end_);			\
		usleep(100);						\
	}								\
} while (0)

enum smmuv3_model_status pg_await(struct smmuv3_model_dma *dma);
enum smmuv3_model_status pg_dev_read(const void *addr, size_t len);
/* Write 8 bytes. */
enum smmuv3_model_status pg_dev_write(struct smmuv3_model_dma *dma, const void *addr);
bool pg_is_filled_with(const uint8_t *p, uint8_t byte, size_t len);
uint8_t pg_byte_at(const struct test_pager *pager, uint64_t off);
int pg_fill(void *ctx, uint64_t offset, void *dst, size_t len);
int pg_start(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len);
unsigned int pg_nb_started(struct test_pager *pager);
/* Hold the pager and start a read of its region: the pager is called and does not return. */
void pg_hold_fetch(struct test_pager *pager, const void *addr);
/* Finish the fetch that was started last. */
void pg_finish_fetch(struct test_pager *pager, int error);
struct test_pager *pg_new_pager(const struct mmem_pager *conf);
uint8_t *pg_alloc(size_t size, struct test_pager *pager);
uint64_t pg_stat(enum mmem_stat stat);

#define PG_TEST(f) cmocka_unit_test_setup_teardown(f, pg_setup, pg_teardown)

#endif /* PAGER_RIG_H */
