/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ACCEL_H
#define ACCEL_H

/*
 * A small accelerator runtime on managed memory: the host's side. A program passes its pointers to
 * kernels; it pins nothing, and copies nothing by hand, and its data may be larger than memory.
 *
 *	accel		managed memory (a pool and a space), an SMMU, its poller
 *	  device	a software device: a StreamID, with stalls, or with ATS and PRI
 *	    queue	a thread that runs the device's kernels in order, with a PASID and DMA of
 *			its own
 *	event		a place in a queue, to wait for on the host or in other queues
 *
 * All devices and queues share the managed memory, at the CPU's pointers. A kernel accesses it by
 * DMA only (accel_device.h); the first access to a page faults, and the poller serves the fault.
 * With a budget other pages leave memory for it.
 *
 * Call order: accel_create(), accel_open(), accel_queue_create(), then any other function, and
 * accel_destroy().
 *
 * Threads. The host's functions are for one thread; kernels run on the threads of their queues. The
 * CPU may access managed memory at any time. What a kernel writes is complete when accel_wait() or
 * accel_event_wait() has returned 0.
 *
 * Errors. A function that fails prints one line on stderr, and returns -1 or NULL. A kernel that
 * fails is an error of the whole runtime: no kernel starts any more, and each wait returns -1.
 *
 * Example: two devices, and a kernel that needs the results of both.
 *
 *	accel = accel_create(&(struct accel_conf){ .size = size, .budget = size / 4 });
 *	q0 = accel_queue_create(accel_open(accel));
 *	q1 = accel_queue_create(accel_open(accel));
 *	data = accel_malloc_managed(accel, size, MMEM_READ | MMEM_WRITE);
 *	fill(data);				// on the CPU
 *	accel_launch(q0, sort, &left);
 *	accel_launch(q1, sort, &right);
 *	accel_event_record(&sorted, q1);
 *	accel_event_delay(&sorted, q0);		// what follows in q0 waits
 *	accel_launch(q0, merge, &both);
 *	if (accel_wait(q0) == 0)
 *		use(data);			// on the CPU
 *	accel_destroy(accel);
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf_stats.h>
#include <mmem.h>

struct accel;
struct accel_device;
struct accel_queue;

#define ACCEL_MAX_DEVICES	4
#define ACCEL_MAX_QUEUES	4	/* of a device */
#define ACCEL_MAX_BUFFERS	16

struct accel_conf {
	size_t size;	/* bytes of all buffers together */
	size_t budget;	/* bytes of them that are in memory; the others are in a temporary file,
			 * in $TMPDIR or /var/tmp [no limit] */
	bool pri;	/* the devices do not stall, but request pages (ATS and PRI) */
	bool no_httu;	/* the SMMU does not set access flags and the dirty state */
};

/* EAL must be initialised. One at a time in a process. */
struct accel *accel_create(const struct accel_conf *conf);
/* With the devices, queues and buffers, when the kernels have ended. NULL is allowed. */
void accel_destroy(struct accel *accel);

/* For NULL, which a function before it returned, they return NULL. */
struct accel_device *accel_open(struct accel *accel);
struct accel_queue *accel_queue_create(struct accel_device *device);

/* A buffer of zeros. flags: MMEM_READ, MMEM_WRITE: the devices' rights. */
void *accel_malloc_managed(struct accel *accel, size_t size, unsigned int flags);
/* A buffer with the bytes of a file. What is written to it stays in memory. */
void *accel_map_file(struct accel *accel, const char *path, size_t size, unsigned int flags);
/* Waits for no kernel: none may use the buffer. */
int accel_free(struct accel *accel, void *ptr);

/* What is known of the accesses to a part of a buffer: mmem_advise(). At once. */
int accel_advise(struct accel *accel, void *ptr, size_t size, enum mmem_advice advice);
/* In its turn in the queue: fetch and map a part of a buffer, before the next kernel starts. */
int accel_prefetch(struct accel_queue *queue, void *ptr, size_t size);

/* A kernel returns 0, or -1 after printing one line on stderr. */
typedef int (*accel_kernel)(struct accel_queue *queue, void *args);

/*
 * Run a kernel when those before it in the queue have ended. The queue does not copy the arguments.
 * Waits only while the queue is full.
 */
int accel_launch(struct accel_queue *queue, accel_kernel kernel, void *args);
/* Until all that was launched in the queue has ended. */
int accel_wait(struct accel_queue *queue);

/* The caller's memory: zero before its first use, and in place until a wait for it has returned. */
struct accel_event {
	struct accel *accel;
	uint64_t recorded;	/* calls of accel_event_record() */
	uint64_t reached;	/* of them, those whose place in the queue has come */
	uint64_t cycles;	/* when the last one came */
};

/* The event is reached when all that was launched in the queue before this call has ended. */
int accel_event_record(struct accel_event *event, struct accel_queue *queue);
/* Wait for the last accel_event_record(); returns at once if there was none. */
int accel_event_wait(struct accel_event *event);
/* The same, but what is launched in the queue after this call waits. */
int accel_event_delay(struct accel_event *event, struct accel_queue *queue);
/* The time from one event to another, which both were waited for. */
double accel_event_seconds(const struct accel_event *begin, const struct accel_event *end);

struct accel_figures {
	uint64_t touched;	/* different pages that the devices' DMAs used */
	uint64_t faults;	/* faults delivered to the poller: page requests or stalls */
	uint64_t groups;	/* their groups; equal to faults with stalls */
	uint64_t mapped;	/* pages mapped by faults */
	uint64_t ahead;		/* pages mapped by faults on other pages of their streams */
	uint64_t prefetched;	/* pages mapped otherwise */
	uint64_t deferred;	/* faults that waited for contents of a file or for memory */
	uint64_t filled;	/* pages fetched from a file */
	uint64_t evicted;	/* pages that left memory */
	uint64_t bytes;		/* moved by DMA */
	double seconds;		/* from the first DMA to the end of the last one */
	unsigned int mistakes;	/* driver errors and oracle errors of the model */
	struct iopf_latency latency;
};

/* When no kernel runs. */
void accel_get_figures(const struct accel *accel, struct accel_figures *figures);

/*
 * Keep the pages of all DMAs from now on; and write them to the file, as a trace for iopf-bench,
 * when no kernel runs. The second returns 0, or -1 after one line on stderr.
 */
void accel_record(const char *path);
int accel_save_record(void);

/* Print "accel: ..." on stderr. Returns -1. From any thread. */
int accel_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* ACCEL_H */
