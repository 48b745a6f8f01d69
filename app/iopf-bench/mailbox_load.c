/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mailbox.h>

#include "mailbox_load.h"

struct mailbox {
	const struct bench_conf *conf;
	struct passive *passive;
	struct lab_mailbox *shared;	/* the other side writes it: each answer is read once */
	uint64_t region;
	uint64_t pages, next;
	pthread_t thread;
	atomic_bool stop;
	int error;
};

/* Returns NULL with errno: EFBIG if the file is shorter than a mailbox. */
static struct lab_mailbox *
map_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), error = 0;
	void *shared = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return NULL;
	/* An access beyond the end of a regular file would be a SIGBUS. */
	if (fstat(fd, &st) < 0)
		error = errno;
	else if (S_ISREG(st.st_mode) && st.st_size < LAB_MAILBOX_SIZE)
		error = EFBIG;
	else
		shared = mmap(NULL, LAB_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (error == 0 && shared == MAP_FAILED)
		error = errno;
	close(fd);
	errno = error;
	return error == 0 ? shared : NULL;
}

struct mailbox *
mailbox_open(const struct bench_conf *conf)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
	const char *path = conf->passive.mailbox;

	if (mailbox == NULL) {
		bench_error("no memory for the mailbox");
		return NULL;
	}
	mailbox->conf = conf;
	mailbox->shared = map_file(path);
	if (mailbox->shared != NULL)
		return mailbox;
	if (errno == EFBIG)
		bench_error("--engine mailbox=%s: the file is shorter than a mailbox, %d bytes",
				path, LAB_MAILBOX_SIZE);
	else
		bench_error("--engine mailbox=%s: cannot map it: %s", path, strerror(errno));
	free(mailbox);
	return NULL;
}

void
mailbox_close(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	munmap(mailbox->shared, LAB_MAILBOX_SIZE);
	free(mailbox);
}

/* Wait for the answer to request @p seq. */
static int
wait_answer(struct mailbox *mailbox, unsigned int seq)
{
	time_t end = time(NULL) + BENCH_STUCK_SECONDS;

	/* Acquires the other side's release: its answer. */
	while (__atomic_load_n(&mailbox->shared->done, __ATOMIC_ACQUIRE) != seq) {
		if (time(NULL) > end) {
			bench_error("--engine mailbox=%s: no answer for %d s: does the program on "
					"the other side run, and has the device the StreamID?",
					mailbox->conf->passive.mailbox, BENCH_STUCK_SECONDS);
			return -ETIMEDOUT;
		}
		sched_yield();
	}
	return 0;
}

/* Let the device write to the next @p n pages. */
static int
make_burst(struct mailbox *mailbox, unsigned int n)
{
	const struct passive_conf *conf = &mailbox->conf->passive;
	struct lab_mailbox *shared = mailbox->shared;
	unsigned int seq = __atomic_load_n(&shared->done, __ATOMIC_RELAXED) + 1;
	unsigned int failed, stalls;
	int ret;

	shared->op = LAB_BURST;
	shared->status = 0;
	shared->nb_stalls = 0;
	shared->addr = mailbox->region + mailbox->next * BENCH_PAGE_SIZE;
	shared->stride = BENCH_PAGE_SIZE;
	shared->count = n;
	shared->sid = conf->streams[0];
	shared->has_pasid = conf->pasid != 0;
	shared->pasid = conf->pasid;
	shared->ats = 0;
	shared->write = 1;
	/* Releases the request; the other side acquires it. */
	__atomic_store_n(&shared->seq, seq, __ATOMIC_RELEASE);
	ret = wait_answer(mailbox, seq);
	if (ret < 0)
		return ret;
	failed = __atomic_load_n(&shared->status, __ATOMIC_RELAXED);
	stalls = __atomic_load_n(&shared->nb_stalls, __ATOMIC_RELAXED);
	if (failed == 0 && stalls == n)
		return 0;
	bench_error("--engine mailbox=%s: of %u writes %u failed, or the request (above 1000), and "
			"they had %u stalls instead of one each", conf->mailbox, n, failed, stalls);
	return -EIO;
}

static void *
run_load(void *arg)
{
	struct mailbox *mailbox = arg;
	uint64_t n;
	int ret = 0;

	while (ret == 0 && !atomic_load(&mailbox->stop)) {
		n = mailbox->pages - mailbox->next;
		if (n > mailbox->conf->passive.burst)
			n = mailbox->conf->passive.burst;
		ret = make_burst(mailbox, n);
		mailbox->next += n;
		if (ret == 0 && mailbox->next == mailbox->pages) {
			ret = passive_unmap(mailbox->passive);
			mailbox->next = 0;
		}
	}
	mailbox->error = ret;
	if (ret < 0)
		passive_end(mailbox->passive);
	return NULL;
}

int
mailbox_start(struct mailbox *mailbox, struct passive *p)
{
	size_t size;
	int ret;

	mailbox->passive = p;
	mailbox->region = (uintptr_t)passive_get_region(p, &size);
	mailbox->pages = size / BENCH_PAGE_SIZE;
	ret = pthread_create(&mailbox->thread, NULL, run_load, mailbox);
	if (ret != 0)
		bench_error("cannot create the load thread: %s", strerror(ret));
	return -ret;
}

int
mailbox_stop(struct mailbox *mailbox)
{
	atomic_store(&mailbox->stop, true);
	pthread_join(mailbox->thread, NULL);
	return mailbox->error;
}
