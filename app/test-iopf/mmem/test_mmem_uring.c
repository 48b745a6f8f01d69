/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Files through io_uring, through threads, and with O_DIRECT. The tests of the ring use pipes in
 * the place of files, so that the test decides when a request ends.
 */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "evict_rig.h"
#include "log_lines.h"
#include "mmem_uring.h"

#define NB_PIPES	8
#define LEN		64

struct piped {
	struct mmem_request request;
	struct mmem_file file;
	int fds[2];
	uint8_t bytes[LEN];
	_Atomic int ended;		/* 1 + -error */
};

static void
on_end(struct mmem_request *request, int error)
{
	atomic_store(&((struct piped *)request->ctx)->ended, 1 - error);
}

static struct mmem_uring *
get_ring(void)
{
	struct mmem_uring *ring;

	log_lines_begin();
	ring = mmem_uring_get(pg.pool);
	free(log_lines_end());
	if (ring == NULL)
		test_skip("no io_uring");
	return ring;
}

static void
submit(struct mmem_uring *ring, struct piped *p, bool is_write, int fd, size_t len)
{
	p->file = (struct mmem_file){ fd, -1, 0 };
	p->request = (struct mmem_request){ .file = &p->file, .is_write = is_write,
		.bytes = p->bytes, .len = len, .end = on_end, .ctx = p };
	atomic_store(&p->ended, 0);
	mmem_uring_submit(ring, &p->request);
}

static int
await_end(struct piped *p)
{
	AWAIT(atomic_load(&p->ended) != 0);
	return 1 - atomic_load(&p->ended);
}

static void
test_many_requests_are_under_way(void **state)
{
	struct mmem_uring *ring = get_ring();
	static struct piped pipes[NB_PIPES];
	unsigned int i;

	(void)state;
	for (i = 0; i < NB_PIPES; i++) {
		assert_int_equal(pipe(pipes[i].fds), 0);
		submit(ring, &pipes[i], false, pipes[i].fds[0], LEN);
	}
	AWAIT(mmem_uring_get_most(ring) == NB_PIPES);
	for (i = NB_PIPES; i-- > 0;) {
		memset(pg_bytes, 0x51 + i, LEN);
		assert_int_equal(atomic_load(&pipes[i].ended), 0);
		assert_int_equal(write(pipes[i].fds[1], pg_bytes, LEN), LEN);
		assert_int_equal(await_end(&pipes[i]), 0);
		assert_true(pg_is_filled_with(pipes[i].bytes, 0x51 + i, LEN));
		close(pipes[i].fds[0]);
		close(pipes[i].fds[1]);
	}
}

/* More than the kernel has at a time, so that some wait in the ring. */
static void
test_requests_wait_for_a_place_in_the_kernel(void **state)
{
	const unsigned int n = MMEM_URING_DEPTH + 20;
	struct piped *pipes = calloc(n, sizeof(*pipes));
	struct mmem_uring *ring = get_ring();
	unsigned int i;
	int fds[2];

	(void)state;
	assert_non_null(pipes);
	assert_int_equal(pipe(fds), 0);
	for (i = 0; i < n; i++)
		submit(ring, &pipes[i], false, fds[0], 1);
	AWAIT(mmem_uring_get_most(ring) == MMEM_URING_DEPTH);
	for (i = 0; i < n; i++)
		assert_int_equal(write(fds[1], "x", 1), 1);
	for (i = 0; i < n; i++) {
		assert_int_equal(await_end(&pipes[i]), 0);
		assert_int_equal(pipes[i].bytes[0], 'x');
	}
	assert_int_equal(mmem_uring_get_most(ring), MMEM_URING_DEPTH);
	close(fds[0]);
	close(fds[1]);
	free(pipes);
}

static void
test_a_short_read_goes_on_and_the_end_of_the_file_is_zero(void **state)
{
	struct mmem_uring *ring = get_ring();
	struct piped p;

	(void)state;
	assert_int_equal(pipe(p.fds), 0);
	memset(p.bytes, 0xff, LEN);
	submit(ring, &p, false, p.fds[0], LEN);
	assert_int_equal(write(p.fds[1], "abc", 3), 3);
	AWAIT(p.bytes[2] == 'c');
	assert_int_equal(write(p.fds[1], "de", 2), 2);
	close(p.fds[1]);
	assert_int_equal(await_end(&p), 0);
	assert_memory_equal(p.bytes, "abcde", 5);
	assert_true(pg_is_filled_with(p.bytes + 5, 0, LEN - 5));
	close(p.fds[0]);
}

/* A block device that is gone has size 0. */
static void
test_the_end_of_a_block_device_that_was_larger_is_an_error(void **state)
{
	struct mmem_uring *ring = get_ring();
	struct piped p;
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_true(fd >= 0);
	submit(ring, &p, false, fd, LEN);
	assert_int_equal(await_end(&p), 0);
	p.file.size = LEN / 2;
	mmem_uring_submit(ring, (atomic_store(&p.ended, 0), &p.request));
	assert_int_equal(await_end(&p), -EIO);
	assert_int_equal(mmem_file_read(&p.file, p.bytes, LEN, 0), -EIO);
	p.request.offset = LEN / 2;
	mmem_uring_submit(ring, (atomic_store(&p.ended, 0), &p.request));
	assert_int_equal(await_end(&p), 0);
	close(fd);
}

static void
test_the_errors_of_requests_are_theirs(void **state)
{
	struct mmem_uring *ring = get_ring();
	struct piped p;
	int fd;

	(void)state;
	submit(ring, &p, false, -1, LEN);
	assert_int_equal(await_end(&p), -EBADF);
	fd = open("/dev/full", O_RDWR);
	assert_true(fd >= 0);
	submit(ring, &p, true, fd, LEN);
	assert_int_equal(await_end(&p), -ENOSPC);
	submit(ring, &p, false, fd, LEN);
	assert_int_equal(await_end(&p), 0);
	close(fd);
}

/* In the place of a file with O_DIRECT: the kernel says EINVAL to each write. */
static void
test_what_o_direct_refuses_goes_through_the_page_cache(void **state)
{
	struct mmem_file file = { .direct_fd = open("/proc/self/oom_score_adj", O_RDWR) };
	char path[] = "/tmp/iopf-file-XXXXXX";
	struct mmem_uring *ring = get_ring();
	static uint8_t page[PAGE] __rte_aligned(PAGE), is[PAGE];
	struct piped p = { 0 };

	(void)state;
	assert_true(file.direct_fd >= 0);
	make_file(path, PAGE);
	file.fd = open(path, O_RDWR);
	memset(page, 'a', PAGE);
	assert_int_equal(pwrite(file.direct_fd, page, PAGE, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mmem_file_write(&file, page, PAGE, 0), 0);
	assert_int_equal(pread(file.fd, is, PAGE, 0), PAGE);
	assert_memory_equal(page, is, PAGE);
	memset(page, 'b', PAGE);
	p.request = (struct mmem_request){ .file = &file, .bytes = page, .len = PAGE,
		.is_write = true, .end = on_end, .ctx = &p };
	mmem_uring_submit(ring, &p.request);
	assert_int_equal(await_end(&p), 0);
	assert_int_equal(pread(file.fd, is, PAGE, 0), PAGE);
	assert_memory_equal(page, is, PAGE);
	close(file.fd);
	close(file.direct_fd);
	unlink(path);
}

/*
 * Files and swap with each way of reading and writing
 */

static const unsigned int ways[] = { 0, MMEM_IO_DIRECT, MMEM_IO_THREADS,
	MMEM_IO_THREADS | MMEM_IO_DIRECT };

#define FILE_BLOCKS	6
#define FILE_SIZE	(FILE_BLOCKS * CHUNK + 100)

static void
check_file(int fd, uint8_t byte)
{
	size_t off;
	uint8_t b[2];

	for (off = 0; off < FILE_SIZE; off += CHUNK) {
		assert_int_equal(pread(fd, b, 2, off), 2);
		assert_int_equal(b[0], byte + off / CHUNK);
		assert_int_equal(b[1], 0);
	}
	assert_int_equal(lseek(fd, 0, SEEK_END), FILE_SIZE);
}

/* A file of no whole number of pages, three times the budget. */
static void
use_file(struct mmem_pool *pool, const char *path)
{
	uint8_t *p = mmem_map_file(space, path, 0, FILE_SIZE, RW | MMEM_SHARED);
	int fd = open(path, O_RDWR);
	size_t off;

	assert_non_null(p);
	assert_true(fd >= 0);
	for (off = 0; off < FILE_SIZE; off += CHUNK)
		dev_write(p + off, 0x10 + off / CHUNK);
	assert_int_equal(p[FILE_BLOCKS * CHUNK + 99], 0);
	assert_int_equal(p[FILE_BLOCKS * CHUNK + 100], 0);
	for (off = 0; off < FILE_SIZE; off += CHUNK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0x10 + off / CHUNK);
		p[off + 1] = 0;
	}
	assert_true(pool->budget.resident <= 2 * CHUNK);
	assert_int_equal(mmem_sync(space, p, CHUNK * FILE_BLOCKS), 0);
	for (off = 0; off < FILE_SIZE; off += CHUNK)
		p[off] = 0x30 + off / CHUNK;
	assert_int_equal(mmem_free(space, p), 0);
	check_file(fd, 0x30);
	/* Truncated: zeros, and it stays so. */
	p = mmem_map_file(space, path, 0, FILE_SIZE, RW | MMEM_SHARED);
	assert_non_null(p);
	assert_int_equal(ftruncate(fd, CHUNK + 10), 0);
	assert_int_equal(dev_read(p + CHUNK, 64), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0x31);
	assert_true(pg_is_filled_with(pg_bytes + 10, 0, 54));
	assert_int_equal(dev_read(p + 3 * CHUNK, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0);
	p[3 * CHUNK] = 1;
	assert_int_equal(mmem_free(space, p), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), CHUNK + 10);
	close(fd);
}

static void
use_swap(struct mmem_pool *pool)
{
	uint8_t *p = mmem_alloc(space, 8 * CHUNK, RW);
	size_t off;

	assert_non_null(p);
	for (off = 0; off < 8 * CHUNK; off += SWAP_BLOCK) {
		p[off] = 1 + off / SWAP_BLOCK;
		dev_write(p + off + PAGE, off / SWAP_BLOCK);
	}
	for (off = 0; off < 8 * CHUNK; off += SWAP_BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], (1 + off / SWAP_BLOCK) & 0xff);
		assert_int_equal(p[off + PAGE], (off / SWAP_BLOCK) & 0xff);
	}
	assert_true(pool->budget.resident <= 2 * CHUNK);
	assert_int_equal(mmem_free(space, p), 0);
}

static void
test_files_and_swap_keep_their_bytes_in_each_way(void **state)
{
	char path[] = "/var/tmp/iopf-file-XXXXXX", swap[] = "/var/tmp/iopf-swap-XXXXXX";
	struct mmem_space *first = space;
	struct mmem_pool *pool;
	unsigned int i;

	(void)state;
	make_file(path, FILE_SIZE);
	make_file(swap, 0);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	for (i = 0; i < RTE_DIM(ways); i++) {
		pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = 2 * CHUNK, .swap = swap,
			.io = ways[i] });
		assert_non_null(pool);
		space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool,
				.report = on_report });
		assert_non_null(space);
		assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
		assert_int_equal(truncate(path, FILE_SIZE), 0);
		use_file(pool, path);
		use_swap(pool);
		if (ways[i] & MMEM_IO_THREADS)
			assert_null(pool->uring);
		drop_swapping(pool);
	}
	space = first;
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(atomic_load(&nb_reports), 0);
	unlink(path);
	unlink(swap);
}

/* The thread may not use io_uring, as in a container. */
static void *
map_without_io_uring(void *path)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { RTE_DIM(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return NULL;
	return mmem_map_file(pg.space, path, 0, CHUNK, RW);
}

static void
test_without_io_uring_threads_read_and_the_log_says_why(void **state)
{
	char path[] = "/tmp/iopf-file-XXXXXX";
	pthread_t thread;
	char *log;
	void *p;

	(void)state;
	make_file(path, CHUNK);
	assert_int_equal(truncate(path, CHUNK), 0);
	log_lines_begin();
	assert_int_equal(pthread_create(&thread, NULL, map_without_io_uring, path), 0);
	assert_int_equal(pthread_join(thread, &p), 0);
	log = log_lines_end();
	if (p == NULL)
		test_skip("no seccomp");
	assert_null(pg.pool->uring);
	if (strstr(log, "no io_uring: Operation not permitted") == NULL && *log != '\0')
		fail_msg("%s", log);
	free(log);
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(pg.space, p), 0);
	unlink(path);
}

static void
test_an_unknown_way_of_reading_is_refused(void **state)
{
	(void)state;
	SAYS("MMEM_IO_", assert_null(mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = CHUNK, .io = 1u << 30 })));
	assert_int_equal(rte_errno, EINVAL);
}

static const struct CMUnitTest tests[] = {
	EV_TEST(test_many_requests_are_under_way),
	EV_TEST(test_requests_wait_for_a_place_in_the_kernel),
	EV_TEST(test_a_short_read_goes_on_and_the_end_of_the_file_is_zero),
	EV_TEST(test_the_end_of_a_block_device_that_was_larger_is_an_error),
	EV_TEST(test_the_errors_of_requests_are_theirs),
	EV_TEST(test_what_o_direct_refuses_goes_through_the_page_cache),
	EV_TEST(test_files_and_swap_keep_their_bytes_in_each_way),
	EV_TEST(test_without_io_uring_threads_read_and_the_log_says_why),
	EV_TEST(test_an_unknown_way_of_reading_is_refused),
};
TEST_SUITE(mmem_uring, tests, NULL, NULL);
