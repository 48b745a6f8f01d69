/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <sched.h>

#include "busy_rig.h"
#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

struct busy busy;

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&busy.quit))
		if (iopf_poll(mm.poller) == 0)
			sched_yield();
	return NULL;
}

static void *
writer_main(void *arg)
{
	static uint64_t value;
	uint64_t seed = 1;
	int rc;

	(void)arg;
	while (!atomic_load(&busy.quit)) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		value++;
		rc = smmuv3_model_dma_write(mm.dma, (uintptr_t)busy.buf +
				(seed >> 33) % (busy.len / 8) * 8, &value, 8);
		atomic_fetch_add(rc == 0 ? &busy.done : &busy.aborted, 1);
	}
	return NULL;
}

void
busy_start(uint8_t *buf, size_t len)
{
	busy.buf = buf;
	busy.len = len;
	atomic_store(&busy.quit, false);
	atomic_store(&busy.done, 0);
	atomic_store(&busy.aborted, 0);
	assert_int_equal(smmuv3_model_start(mm.model, -1), 0);
	assert_int_equal(pthread_create(&busy.poller, NULL, poller_main, NULL), 0);
	assert_int_equal(pthread_create(&busy.writer, NULL, writer_main, NULL), 0);
}

void
busy_stop(void)
{
	/* The writer ends first: its stalled access needs the poller. */
	atomic_store(&busy.quit, true);
	while (pthread_tryjoin_np(busy.writer, NULL) != 0)
		if (iopf_poll(mm.poller) == 0)
			sched_yield();
	assert_int_equal(pthread_join(busy.poller, NULL), 0);
	assert_int_equal(smmuv3_model_stop(mm.model), 0);
}

void
busy_await(_Atomic uint64_t *count, uint64_t n)
{
	n += atomic_load(count);
	while (atomic_load(count) < n)
		sched_yield();
}
