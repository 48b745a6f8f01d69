/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Queues: each has a thread that runs its commands in order. Events. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include "internal.h"

#define GROUP_PAGES	16	/* for one tile; an unaligned tile takes two groups */

/* Until the event has been reached so often. Under the lock. */
static void
wait_event(struct accel *accel, const struct accel_event *event, uint64_t ticket)
{
	while (event->reached < ticket)
		pthread_cond_wait(&accel->changed, &accel->lock);
}

static int
prefetch(struct accel *accel, const struct command *command)
{
	if (mmem_prefetch(accel->space, command->ptr,
			RTE_ALIGN_CEIL(command->size, PAGE_SIZE)) < 0)
		return accel_fail("cannot prefetch %zu bytes: %s", command->size,
				rte_strerror(rte_errno));
	return 0;
}

/* Without the lock. After an error of any queue nothing is run, but events are reached. */
static void
run_command(struct accel_queue *queue, const struct command *command)
{
	struct accel *accel = queue->device->accel;
	int ret = 0;

	switch (command->kind) {
	case COMMAND_LAUNCH:
		if (!atomic_load(&accel->failed)) {
			ret = command->kernel(queue, command->ptr);
			accel_drain(queue);
		}
		break;
	case COMMAND_PREFETCH:
		if (!atomic_load(&accel->failed))
			ret = prefetch(accel, command);
		break;
	case COMMAND_RECORD:
		pthread_mutex_lock(&accel->lock);
		command->event->reached = RTE_MAX(command->event->reached, command->ticket);
		command->event->cycles = rte_rdtsc();
		pthread_cond_broadcast(&accel->changed);
		pthread_mutex_unlock(&accel->lock);
		break;
	case COMMAND_DELAY:
		pthread_mutex_lock(&accel->lock);
		wait_event(accel, command->event, command->ticket);
		pthread_mutex_unlock(&accel->lock);
		break;
	}
	if (ret < 0)
		atomic_store(&accel->failed, true);
}

static void *
run_queue(void *arg)
{
	struct accel_queue *queue = arg;
	struct accel *accel = queue->device->accel;
	struct command command;

	pthread_mutex_lock(&accel->lock);
	for (;;) {
		while (queue->head == queue->tail && !queue->quit)
			pthread_cond_wait(&accel->changed, &accel->lock);
		if (queue->head == queue->tail)
			break;
		command = queue->commands[queue->head % QUEUE_COMMANDS];
		pthread_mutex_unlock(&accel->lock);
		run_command(queue, &command);
		pthread_mutex_lock(&accel->lock);
		queue->head++;
		pthread_cond_broadcast(&accel->changed);
	}
	pthread_mutex_unlock(&accel->lock);
	return NULL;
}

/* Under the lock. */
static void
put_command(struct accel_queue *queue, const struct command *command)
{
	struct accel *accel = queue->device->accel;

	while (queue->tail - queue->head == QUEUE_COMMANDS)
		pthread_cond_wait(&accel->changed, &accel->lock);
	queue->commands[queue->tail++ % QUEUE_COMMANDS] = *command;
	pthread_cond_broadcast(&accel->changed);
}

static int
submit_command(struct accel_queue *queue, const struct command *command)
{
	struct accel *accel = queue->device->accel;

	pthread_mutex_lock(&accel->lock);
	put_command(queue, command);
	pthread_mutex_unlock(&accel->lock);
	return atomic_load(&accel->failed) ? -1 : 0;
}

static int
start_queue(struct accel_queue *queue)
{
	struct accel_device *device = queue->device;
	struct accel *accel = device->accel;
	struct smmuv3_model_dma_conf conf = { .sid = device->sid, .has_ssid = true,
		.ssid = queue->pasid, .depth = QUEUE_DEPTH };
	int ret;

	if (accel->pri) {
		conf.kind = SMMUV3_MODEL_DMA_ATS;
		conf.group_pages = GROUP_PAGES;
	}
	queue->dma = smmuv3_model_dma_create(accel->model, &conf);
	if (queue->dma == NULL)
		return accel_fail("cannot make a queue: %s", strerror(errno));
	queue->attached = mmem_attach(accel->space, device->dev, queue->pasid) == 0;
	if (!queue->attached)
		return accel_fail("cannot attach PASID %u: %s", queue->pasid,
				rte_strerror(rte_errno));
	ret = pthread_create(&queue->thread, NULL, run_queue, queue);
	queue->running = ret == 0;
	return ret == 0 ? 0 : accel_fail("cannot start a queue: %s", strerror(ret));
}

struct accel_queue *
accel_queue_create(struct accel_device *device)
{
	struct accel_queue *queue;

	if (device == NULL)
		return NULL;
	if (device->nb_queues == ACCEL_MAX_QUEUES) {
		accel_fail("more than %d queues of a device", ACCEL_MAX_QUEUES);
		return NULL;
	}
	queue = &device->queues[device->nb_queues++];
	queue->device = device;
	queue->pasid = device->nb_queues;
	/* accel_destroy() undoes what was done. */
	return start_queue(queue) == 0 ? queue : NULL;
}

void
accel_queue_stop(struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;

	if (!queue->running)
		return;
	pthread_mutex_lock(&accel->lock);
	queue->quit = true;
	pthread_cond_broadcast(&accel->changed);
	pthread_mutex_unlock(&accel->lock);
	pthread_join(queue->thread, NULL);
	queue->running = false;
}

void
accel_queue_destroy(struct accel_queue *queue)
{
	struct accel_device *device = queue->device;

	if (queue->attached && mmem_detach(device->accel->space, device->dev, queue->pasid) < 0)
		accel_fail("cannot detach PASID %u: %s", queue->pasid, rte_strerror(rte_errno));
	smmuv3_model_dma_destroy(queue->dma);
	accel_free_locals(queue);
}

int
accel_launch(struct accel_queue *queue, accel_kernel kernel, void *args)
{
	return submit_command(queue, &(struct command){ .kind = COMMAND_LAUNCH, .kernel = kernel,
			.ptr = args });
}

int
accel_prefetch(struct accel_queue *queue, void *ptr, size_t size)
{
	return submit_command(queue, &(struct command){ .kind = COMMAND_PREFETCH, .ptr = ptr,
			.size = size });
}

int
accel_wait(struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;

	pthread_mutex_lock(&accel->lock);
	while (queue->head != queue->tail)
		pthread_cond_wait(&accel->changed, &accel->lock);
	pthread_mutex_unlock(&accel->lock);
	return atomic_load(&accel->failed) ? -1 : 0;
}

int
accel_event_record(struct accel_event *event, struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;

	pthread_mutex_lock(&accel->lock);
	event->accel = accel;
	put_command(queue, &(struct command){ .kind = COMMAND_RECORD, .event = event,
			.ticket = ++event->recorded });
	pthread_mutex_unlock(&accel->lock);
	return atomic_load(&accel->failed) ? -1 : 0;
}

int
accel_event_wait(struct accel_event *event)
{
	struct accel *accel = event->accel;

	if (accel == NULL)
		return 0;
	pthread_mutex_lock(&accel->lock);
	wait_event(accel, event, event->recorded);
	pthread_mutex_unlock(&accel->lock);
	return atomic_load(&accel->failed) ? -1 : 0;
}

int
accel_event_delay(struct accel_event *event, struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;

	pthread_mutex_lock(&accel->lock);
	put_command(queue, &(struct command){ .kind = COMMAND_DELAY, .event = event,
			.ticket = event->recorded });
	pthread_mutex_unlock(&accel->lock);
	return atomic_load(&accel->failed) ? -1 : 0;
}

double
accel_event_seconds(const struct accel_event *begin, const struct accel_event *end)
{
	return (double)(end->cycles - begin->cycles) / rte_get_tsc_hz();
}
