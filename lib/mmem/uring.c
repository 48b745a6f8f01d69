/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Requests through io_uring: mmem_uring.h. */

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>

#include <iopf_support.h>

#include "mmem_log.h"
#include "mmem_pool.h"
#include "mmem_uring.h"

/* The kernel has no room for a request: it is sent again, at most so often. */
#define MAX_AGAIN	100
#define AGAIN_US	1000

STAILQ_HEAD(request_list, mmem_request);

struct mmem_uring {
	struct io_uring io;
	pthread_t thread;
	int event;			/* read by the ring itself: there are requests, or quit */
	uint64_t event_count;

	pthread_mutex_t lock;
	struct request_list queue;	/* under lock */
	bool quit;			/* under lock */

	/* of the thread */
	struct request_list waiting;	/* for a place in the kernel */
	unsigned int nb_open;		/* in the kernel */
	_Atomic unsigned int most;
};

static void
wake(struct mmem_uring *ring)
{
	uint64_t one = 1;

	/* The counter cannot overflow: each write is of an empty queue that became full. */
	while (write(ring->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void
mmem_uring_submit(struct mmem_uring *ring, struct mmem_request *request)
{
	bool was_empty;

	request->done = 0;
	request->nb_again = 0;
	request->no_direct = false;
	pthread_mutex_lock(&ring->lock);
	was_empty = STAILQ_EMPTY(&ring->queue);
	STAILQ_INSERT_TAIL(&ring->queue, request, next);
	pthread_mutex_unlock(&ring->lock);
	if (was_empty)
		wake(ring);
}

/* Have the ring end a request, of NULL, with the next wake(). */
static void
arm_event(struct mmem_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->io);

	io_uring_prep_read(sqe, ring->event, &ring->event_count, sizeof(ring->event_count), 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void
prepare(struct mmem_uring *ring, struct mmem_request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->io);
	uint8_t *bytes = request->bytes + request->done;
	size_t len = request->len - request->done;
	off_t offset = request->offset + request->done;
	int fd = request->no_direct ? request->file->fd :
			mmem_file_choose(request->file, bytes, len, offset);

	if (request->is_write)
		io_uring_prep_write(sqe, fd, bytes, len, offset);
	else
		io_uring_prep_read(sqe, fd, bytes, len, offset);
	/* A write to a page cache that is full of written pages would hold up the thread. */
	if (request->is_write && fd == request->file->fd)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, request);
	if (++ring->nb_open > atomic_load_explicit(&ring->most, memory_order_relaxed))
		atomic_store_explicit(&ring->most, ring->nb_open, memory_order_relaxed);
}

/* The result of a request: 1 if it is to be sent again. */
static int
apply_result(struct mmem_request *request, int res)
{
	if (res > 0) {
		request->done += res;
		request->nb_again = 0;
		return request->done < request->len;
	}
	if (res == 0 && (request->is_write || mmem_file_check_end(request->file,
			request->offset + request->done) < 0))
		return -EIO;
	if (res == 0) {
		memset(request->bytes + request->done, 0, request->len - request->done);
		return 0;
	}
	if (res == -EINVAL && !request->no_direct && request->file->direct_fd >= 0) {
		request->no_direct = true;
		return 1;
	}
	if ((res == -EAGAIN || res == -EINTR) && request->nb_again++ < MAX_AGAIN) {
		usleep(res == -EAGAIN ? AGAIN_US : 0);
		return 1;
	}
	return res;
}

static void
reap(struct mmem_uring *ring)
{
	struct mmem_request *request;
	struct io_uring_cqe *cqe;
	int rc;

	while (io_uring_peek_cqe(&ring->io, &cqe) == 0) {
		request = io_uring_cqe_get_data(cqe);
		rc = cqe->res;
		io_uring_cqe_seen(&ring->io, cqe);
		if (request == NULL) {
			arm_event(ring);
			continue;
		}
		ring->nb_open--;
		rc = apply_result(request, rc);
		if (rc > 0)
			STAILQ_INSERT_HEAD(&ring->waiting, request, next);
		else
			request->end(request, rc);
	}
}

/* Returns false at the end. */
static bool
take_queue(struct mmem_uring *ring)
{
	bool goes_on;

	pthread_mutex_lock(&ring->lock);
	STAILQ_CONCAT(&ring->waiting, &ring->queue);
	goes_on = !ring->quit;
	pthread_mutex_unlock(&ring->lock);
	return goes_on;
}

static void *
ring_main(void *arg)
{
	struct mmem_uring *ring = arg;
	struct mmem_request *request;
	sigset_t set;
	int rc;

	/* A write beyond RLIMIT_FSIZE returns EFBIG. */
	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	arm_event(ring);
	while (take_queue(ring)) {
		/* The queue for the kernel has a place for each, and for the event. */
		while (ring->nb_open < MMEM_URING_DEPTH &&
				(request = STAILQ_FIRST(&ring->waiting)) != NULL) {
			STAILQ_REMOVE_HEAD(&ring->waiting, next);
			prepare(ring, request);
		}
		rc = io_uring_submit_and_wait(&ring->io, 1);
		/* No memory in the kernel: what is prepared stays so. */
		if (rc < 0 && rc != -EINTR)
			usleep(AGAIN_US);
		reap(ring);
	}
	return NULL;
}

static void
ring_free(struct mmem_uring *ring)
{
	pthread_mutex_destroy(&ring->lock);
	close(ring->event);
	free(ring);
}

/* Returns 0 or -errno. */
static int
ring_start(struct mmem_uring **out)
{
	struct mmem_uring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (ring == NULL)
		return -ENOMEM;
	STAILQ_INIT(&ring->queue);
	STAILQ_INIT(&ring->waiting);
	pthread_mutex_init(&ring->lock, NULL);
	ring->event = eventfd(0, EFD_CLOEXEC);
	rc = ring->event < 0 ? -errno :
			io_uring_queue_init(2 * MMEM_URING_DEPTH, &ring->io, 0);
	if (rc < 0) {
		ring_free(ring);
		return rc;
	}
	rc = iopf_thread_create(&ring->thread, "mmem-uring", ring_main, ring);
	if (rc < 0) {
		io_uring_queue_exit(&ring->io);
		ring_free(ring);
		return rc;
	}
	*out = ring;
	return 0;
}

struct mmem_uring *
mmem_uring_get(struct mmem_pool *pool)
{
	struct mmem_uring *ring;
	int rc;

	pthread_mutex_lock(&pool->lock);
	if (pool->uring == NULL && !(pool->io & MMEM_IO_THREADS)) {
		rc = ring_start(&pool->uring);
		if (rc < 0) {
			MMEM_LOG(WARNING, "pool %s: no io_uring: %s: threads read and write its "
					"files; allow io_uring (kernel.io_uring_disabled, "
					"seccomp), or set MMEM_IO_THREADS", pool->name,
					rte_strerror(-rc));
			pool->io |= MMEM_IO_THREADS;
		}
	}
	ring = pool->uring;
	pthread_mutex_unlock(&pool->lock);
	return ring;
}

void
mmem_uring_stop(struct mmem_uring *ring)
{
	if (ring == NULL)
		return;
	pthread_mutex_lock(&ring->lock);
	ring->quit = true;
	pthread_mutex_unlock(&ring->lock);
	wake(ring);
	pthread_join(ring->thread, NULL);
	io_uring_queue_exit(&ring->io);
	ring_free(ring);
}

unsigned int
mmem_uring_get_most(const struct mmem_uring *ring)
{
	return ring == NULL ? 0 : atomic_load_explicit(&ring->most, memory_order_relaxed);
}
