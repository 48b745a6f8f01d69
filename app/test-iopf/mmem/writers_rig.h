/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef WRITERS_RIG_H
#define WRITERS_RIG_H

/*
 * CPUs and a device that write a region of evict_rig.h while another thread does what the test is
 * about. Each has a word of its own in each page, and remembers what it wrote last.
 */

#include "evict_rig.h"

#define NB_CPUS		2
#define NB_PAGES	(REGION / PAGE)
/* The other thread has had its turn so often at the end. */
#define NB_TURNS	8

struct writer {
	pthread_t thread;
	uint64_t *words;
	unsigned int id;
	uint64_t last[NB_PAGES];
};

/* The CPUs have words 0 and 1 of a page, the device word NB_CPUS. */
static struct writer cpus[NB_CPUS], dev;
static atomic_bool writers_end;
static _Atomic unsigned int nb_turns;	/* of the other thread, which counts them */

/*
 * Accesses of the CPU to managed memory, of several threads. Not atomic, and not instrumented:
 * ThreadSanitizer holds a lock of its own during an atomic access, and the access may wait for the
 * service thread, which needs that lock.
 */
static __attribute__((no_sanitize("thread"), noinline)) uint64_t
cpu_load(const uint64_t *word)
{
	return *(const volatile uint64_t *)word;
}

static __attribute__((no_sanitize("thread"), noinline)) void
cpu_store(uint64_t *word, uint64_t value)
{
	*(volatile uint64_t *)word = value;
}

static uint64_t *
word_at(uint64_t *words, size_t page, unsigned int i)
{
	return &words[page * (PAGE / 8) + i];
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	unsigned int seed = w->id;
	uint64_t *word, n;
	size_t page;

	for (n = 1; !atomic_load(&writers_end); n++) {
		page = rand_r(&seed) % NB_PAGES;
		word = word_at(w->words, page, w->id);
		if (w->last[page] != 0)
			assert_int_equal(cpu_load(word), w->last[page]);
		cpu_store(word, n);
		w->last[page] = n;
		if (n % 8 == 0)
			usleep(100);
	}
	return NULL;
}

/* The device writes at least @p nb times; @p other runs until writers_end. */
static void
write_beside(uint8_t *p, unsigned int nb, void *(*other)(void *))
{
	unsigned int i, seed = 99;
	pthread_t thread;
	size_t page;

	memset(cpus, 0, sizeof(cpus));
	memset(&dev, 0, sizeof(dev));
	atomic_store(&writers_end, false);
	atomic_store(&nb_turns, 0);
	for (i = 0; i < NB_CPUS; i++) {
		cpus[i].words = (uint64_t *)p;
		cpus[i].id = i;
		assert_int_equal(pthread_create(&cpus[i].thread, NULL, writer_main, &cpus[i]), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, other, p), 0);
	for (i = 0; i < nb || atomic_load(&nb_turns) < NB_TURNS; i++) {
		page = rand_r(&seed) % NB_PAGES;
		dev.last[page] = UINT64_C(0x0101010101010101) * (1 + i % 251);
		dev_write(p + page * PAGE + 8 * NB_CPUS, 1 + i % 251);
	}
	atomic_store(&writers_end, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (i = 0; i < NB_CPUS; i++)
		assert_int_equal(pthread_join(cpus[i].thread, NULL), 0);
}

#endif /* WRITERS_RIG_H */
