/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef INTERNAL_H
#define INTERNAL_H

/*
 * Shared by the runtime's files and hidden from its users.
 *
 *	runtime.c	accel_create(), memory, the poller, figures
 *	device.c	devices and their ATS and PRI
 *	queue.c		queues: their threads, and events
 *	dma.c		what kernels call
 *	record.c	traces of the DMAs
 *
 * One lock and one condition guard all queues and events: they change with each kernel, not with
 * each DMA.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <smmuv3_model.h>

#include "accel_device.h"

#define PAGE_SIZE	4096
#define QUEUE_DEPTH	32	/* DMAs; more only lengthen the queue of faults */
#define QUEUE_COMMANDS	64
#define STUCK_SECONDS	10

/* A managed buffer, and the pages of it that the devices' DMAs used. */
struct buf {
	char *_Atomic ptr;		/* NULL after accel_free() */
	size_t size;
	_Atomic bool *touched;
};

enum command_kind { COMMAND_LAUNCH, COMMAND_PREFETCH, COMMAND_RECORD, COMMAND_DELAY };

struct command {
	enum command_kind kind;
	accel_kernel kernel;
	void *ptr;			/* the kernel's arguments, or what is fetched */
	size_t size;
	struct accel_event *event;
	uint64_t ticket;		/* the call of accel_event_record() that it is or waits
					 * for */
};

/* A piece of local memory. */
struct local {
	struct local *next;
	max_align_t bytes[];
};

struct accel_queue {
	struct accel_device *device;
	uint32_t pasid;
	struct smmuv3_model_dma *dma;
	bool attached;
	pthread_t thread;
	bool running;

	/* Under accel->lock. */
	struct command commands[QUEUE_COMMANDS];
	uint64_t head;			/* the command that is being run, or the next one */
	uint64_t tail;
	bool quit;

	/* Of the queue's thread. */
	struct local *locals;
	uint64_t idle_since;		/* cycles, 0 after progress */
	uint64_t t_start;
	uint64_t t_end;
	uint64_t bytes;
};

struct accel_device {
	struct accel *accel;
	uint32_t sid;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *function;	/* for ATS and PRI of the endpoint */
	struct accel_queue queues[ACCEL_MAX_QUEUES];
	unsigned int nb_queues;
};

struct accel {
	bool pri;
	const char *smmu_name;
	struct iopf_iommu *smmu;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct iopf_poller *poller;
	struct smmuv3_model *model;
	unsigned int lcore;		/* of the poll thread; RTE_MAX_LCORE if thread polls */
	pthread_t thread;
	bool polling;
	atomic_bool quit;
	atomic_int refused;		/* the error of a refused access; written on the poll
					 * thread */
	atomic_bool failed;		/* the error has been printed */
	atomic_bool hung;		/* DMAs do not end */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct accel_device devices[ACCEL_MAX_DEVICES];
	unsigned int nb_devices;
	struct buf bufs[ACCEL_MAX_BUFFERS];
	atomic_uint nb_bufs;		/* kernels of other buffers may run */
};

/* Undo accel_open(), also of a device whose opening failed. Its queues are destroyed. */
void accel_close(struct accel_device *device);
/* End the thread after its commands. */
void accel_queue_stop(struct accel_queue *queue);
/* The thread is stopped. */
void accel_queue_destroy(struct accel_queue *queue);

/* Take completed DMAs; if there are none, yield to other threads. 0, or -1 after an error. */
int accel_reap(struct accel_queue *queue);
/* After a kernel: until its DMAs have ended, or will never end. Then its local memory is free. */
void accel_drain(struct accel_queue *queue);
void accel_free_locals(struct accel_queue *queue);

/* A DMA to managed memory. Without accel_record() nothing. 0, or -1 after one line on stderr. */
int record_add(uint64_t addr, size_t len, bool write);

#endif /* INTERNAL_H */
