/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Shortage and failure: no room, a store that fails or hangs, limits of the process. A defined
 * answer to the device, an error to the owner, nothing lost, others untouched.
 */

#include "evict_rig.h"

/* <sys/stat.h> has a stat() too. */
int mkfifo(const char *path, mode_t mode);

/* -1: no answer in this time. */
static int
await_ms(unsigned int ms)
{
	struct smmuv3_model_done done;

	for (; ms != 0; ms--) {
		if (smmuv3_model_dma_poll(pg.other_dma, &done, 1) != 0)
			return done.status;
		usleep(1000);
	}
	return -1;
}

static void
read_start(const uint8_t *p)
{
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p, pg_bytes, 8);
}

static struct mmem_pool *
make_pool_budget(struct mmem_space **a)
{
	struct mmem_pool *pool = replace_pool(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = BUDGET });

	*a = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .window = 1 });
	assert_non_null(*a);
	return pool;
}

static void
test_a_failed_fetch_gives_its_room_to_the_next(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.fetch_size = BLOCK });
	uint8_t *p = mmem_alloc_paged(space, REGION, RW, &pager->conf);
	unsigned int i, ms;

	(void)state;
	assert_non_null(p);
	for (i = 0; i < 9; i++)
		read_start(p + i * BLOCK);
	AWAIT(pg_nb_started(pager) == 8);
	usleep(50000);
	assert_int_equal(pg_nb_started(pager), 8);
	pg_finish_fetch(pager, -EIO);
	for (ms = 0; ms < 3000 && pg_nb_started(pager) != 8; ms++)
		usleep(1000);
	i = pg_nb_started(pager);
	while (pg_nb_started(pager) != 0)
		pg_finish_fetch(pager, 0);
	usleep(100000);
	while (pg_nb_started(pager) != 0)
		pg_finish_fetch(pager, 0);
	mmem_free(space, p);
	assert_int_equal(i, 8);
}

static void
test_pins_of_one_space_do_not_stop_another(void **state)
{
	struct mmem_space *a;
	struct mmem_pool *pool = make_pool_budget(&a);
	uint8_t *pa = mmem_alloc_paged(a, REGION, MMEM_READ, &pager_ro), *p;
	unsigned int i;
	int rc;

	(void)state;
	assert_int_equal(mmem_pin(a, pa, 4 * BLOCK), 0);
	p = alloc(&pager_ro, MMEM_READ);
	for (i = 0; i < 4; i++)
		assert_int_equal(dev_read(p + i * BLOCK, 8), SMMUV3_MODEL_OK);
	read_start(p + 4 * BLOCK);
	rc = await_ms(PATIENCE_S * 1000);
	assert_int_equal(mmem_unpin(a, pa, 4 * BLOCK), 0);
	assert_int_equal(mmem_space_destroy(a), 0);
	drop_swapping(pool);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
test_a_space_that_cannot_give_does_not_stop_another(void **state)
{
	struct mmem_space *a;
	struct mmem_pool *pool = make_pool_budget(&a);
	uint8_t *pa = mmem_alloc_paged(a, REGION, RW, &pager_ro), *p;
	unsigned int i;
	int rc;

	(void)state;
	for (i = 0; i < 5; i++)
		pa[i * BLOCK] = 1;
	p = alloc(&pager_ro, MMEM_READ);
	for (i = 0; i < 3; i++)
		assert_int_equal(dev_read(p + i * BLOCK, 8), SMMUV3_MODEL_OK);
	read_start(p + 4 * BLOCK);
	rc = await_ms(PATIENCE_S * 1000);
	assert_int_equal(mmem_space_destroy(a), 0);
	drop_swapping(pool);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
test_nothing_can_leave_because_of_pins(void **state)
{
	uint8_t *p = alloc(&pager_ro, RW);
	unsigned int i;
	int rc;

	(void)state;
	assert_int_equal(mmem_pin(space, p, 4 * BLOCK), 0);
	for (i = 4; i < 8; i++)
		dev_write(p + i * BLOCK, 1);
	read_start(p + 8 * BLOCK);
	rc = await_ms(PATIENCE_S * 1000);
	assert_int_equal(mmem_unpin(space, p, 4 * BLOCK), 0);
	assert_int_equal(rc, SMMUV3_MODEL_ABORTED);
}

static _Atomic unsigned int writes;

static int
held_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	if (atomic_fetch_add(&writes, 1) != 0) {
		memcpy(store.bytes + offset, src, len);
		return 0;
	}
	(void)ctx;
	atomic_fetch_add(&store.in_write, 1);
	while (atomic_load(&store.hold_writes))
		usleep(100);
	return -EIO;
}

struct call {
	pthread_t thread;
	uint8_t *p;
	const char *path;
	int what, rc;
	_Atomic bool done;
};

static void *
call_main(void *arg)
{
	struct call *c = arg;

	if (c->what == 0)
		c->rc = mmem_sync(space, c->p, BUDGET);
	else if (c->what == 1)
		c->rc = mmem_free(space, c->p);
	else if (c->what == 2)
		c->rc = mmem_hotset_replay(space, c->path, NULL);
	else if (c->what == 3)
		c->rc = mmem_unmap(space, c->p, PAGE);
	else
		c->rc = mmem_sync(space, c->p, REGION);
	atomic_store(&c->done, true);
	return NULL;
}

static void
call_start(struct call *c, int what, uint8_t *p)
{
	*c = (struct call){ .p = p, .what = what, .path = c->path };
	assert_int_equal(pthread_create(&c->thread, NULL, call_main, c), 0);
}

static bool
call_ended(struct call *c, unsigned int ms)
{
	for (; ms != 0 && !atomic_load(&c->done); ms--)
		usleep(1000);
	return atomic_load(&c->done);
}

static void
failed_eviction_write(int what)
{
	struct mmem_pager pager = pager_rw;
	struct call c = { 0 };
	unsigned int i, lost = 0;
	uint8_t *p;

	pager.write = held_write;
	atomic_store(&writes, 0);
	p = alloc(&pager, RW);
	for (i = 0; i < 8; i++)
		dev_write(p + i * BLOCK, 0xd1);
	atomic_store(&store.hold_writes, true);
	read_start(p + BUDGET);
	AWAIT(atomic_load(&store.in_write) == 1);
	call_start(&c, what, p);
	usleep(100000);
	atomic_store(&store.hold_writes, false);
	pthread_join(c.thread, NULL);
	for (i = 0; i < 8; i++)
		lost += store.bytes[i * BLOCK] != 0xd1;
	await_ms(PATIENCE_S * 1000);
	assert_true(c.rc < 0 || lost == 0);
}

static void
test_sync_tells_of_a_write_that_failed(void **state)
{
	(void)state;
	failed_eviction_write(0);
}

static void
test_free_loses_nothing_if_a_write_failed(void **state)
{
	(void)state;
	failed_eviction_write(1);
}

static void
test_destroy_loses_nothing_if_a_write_failed(void **state)
{
	struct mmem_pager pager = pager_rw;
	unsigned int i;
	uint8_t *p, *q;

	(void)state;
	p = alloc(&pager_ro, MMEM_READ);
	q = alloc(&pager, RW);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	for (i = 0; i < 4; i++)
		dev_write(q + i * BLOCK, 0xd2);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	atomic_store(&store.write_error, -ENOSPC);
	for (i = 0; i < 2; i++) {
		assert_int_equal(mmem_space_destroy(space), -EIO);
		assert_null(mmem_space_domain(space));
		assert_int_equal(store.bytes[0], 0);
		/* The bytes are still in memory. */
		assert_int_equal(q[3 * BLOCK], 0xd2);
	}
	atomic_store(&store.write_error, 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = NULL;
	for (i = 0; i < 4; i++)
		assert_int_equal(store.bytes[i * BLOCK], 0xd2);
}

/* As a full disk under a swap file. */
static void
test_an_access_without_room_behind_failing_writes_is_refused(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xe1);
	atomic_store(&store.write_error, -ENOSPC);
	assert_int_equal(dev_read(p + BUDGET, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -ENOMEM);
	/* What is in memory is in use. */
	for (off = 0; off < BUDGET; off += BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0xe1);
	}
	atomic_store(&store.write_error, 0);
	AWAIT(dev_read(p + BUDGET, 8) == SMMUV3_MODEL_OK);
	for (off = 0; off < BUDGET; off += BLOCK)
		assert_int_equal(p[off], 0xe1);
}

static void
test_free_waits_wait_ms_for_a_write(void **state)
{
	struct call c = { 0 };
	bool ended;
	uint8_t *p;

	(void)state;
	space->wait_ms = 50;
	p = alloc(&pager_rw, RW);
	dev_write(p, 1);
	atomic_store(&store.hold_writes, true);
	call_start(&c, 1, p);
	ended = call_ended(&c, PATIENCE_S * 1000);
	atomic_store(&store.hold_writes, false);
	pthread_join(c.thread, NULL);
	space->wait_ms = 5000;
	assert_true(ended);
}

static void
test_a_hot_set_file_is_not_read_under_the_lock(void **state)
{
	char path[] = "/tmp/iopf-rev4-fifo";
	struct call c = { .path = path }, u = { 0 };
	bool ended;
	uint8_t *p;
	int fd;

	(void)state;
	p = alloc(&pager_ro, MMEM_READ);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR);
	call_start(&c, 2, p);
	usleep(100000);
	call_start(&u, 3, p);
	ended = call_ended(&u, PATIENCE_S * 1000);
	assert_int_equal(write(fd, "x\n", 2), 2);
	pthread_join(c.thread, NULL);
	pthread_join(u.thread, NULL);
	close(fd);
	unlink(path);
	assert_true(ended);
}

static void
test_a_swap_file_has_one_owner(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct mmem_pool *pool, *second;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	second = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = 8 * SWAP_BLOCK, .swap = path });
	if (second != NULL)
		mmem_pool_destroy(second);
	drop_swapping(pool);
	unlink(path);
	assert_null(second);
}

struct sync {
	uint8_t *p;
	_Atomic unsigned int go, done;
	_Atomic bool quit;
};

static void *
sync_main(void *arg)
{
	struct sync *s = arg;
	unsigned int n = 0;

	while (!atomic_load(&s->quit)) {
		if (atomic_load(&s->go) == n) {
			sched_yield();
			continue;
		}
		n++;
		usleep(n % 64);
		mmem_sync(space, s->p, BLOCK);
		atomic_store(&s->done, n);
	}
	return NULL;
}

static void
test_a_cpu_write_that_races_with_a_sync_is_kept(void **state)
{
	struct sync s = { .p = alloc(&pager_rw, RW) };
	volatile uint8_t *p = s.p;
	unsigned int i, lost = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, sync_main, &s), 0);
	for (i = 1; i < 6000; i++) {
		assert_int_equal(mmem_sync(space, s.p, BLOCK), 0);
		atomic_store(&s.go, i);
		p[0] = i;
		while (atomic_load(&s.done) != i)
			sched_yield();
		p[1] = i;
		assert_int_equal(mmem_sync(space, s.p, BLOCK), 0);
		lost += store.bytes[1] != (i & 0xff);
	}
	atomic_store(&s.quit, true);
	pthread_join(thread, NULL);
	assert_int_equal(lost, 0);
}

static void (*in_fallocate)(void);
int fallocate64(int fd, int mode, off64_t off, off64_t len);
int
fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	void (*f)(void) = in_fallocate;

	in_fallocate = NULL;
	if (f != NULL)
		f();
	return syscall(SYS_fallocate, fd, mode, off, len);
}

static uint8_t *new;
static void
alloc_inside(void)
{
	size_t off;

	new = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	for (off = 0; off < 64 * SWAP_BLOCK; off += SWAP_BLOCK)
		new[off] = 0x5a;
}

static void
test_a_free_does_not_touch_the_swap_of_the_next_region(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct mmem_pool *pool;
	unsigned int lost = 0;
	uint8_t *p;
	size_t off;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	in_fallocate = alloc_inside;
	assert_int_equal(mmem_free(space, p), 0);
	for (off = 0; off < 64 * SWAP_BLOCK && new != NULL; off += SWAP_BLOCK)
		lost += new[off] != 0x5a;
	drop_swapping(pool);
	unlink(path);
	assert_int_equal(lost, 0);
}

static void
test_populate_keeps_the_budget(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	static unsigned char vec[64 * 16];
	struct mmem_pool *pool;
	unsigned int i, n = 0;
	uint8_t *p;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW | MMEM_POPULATE);
	assert_non_null(p);
	assert_int_equal(mincore(pool->dev + (p - pool->mem), 64 * SWAP_BLOCK, vec), 0);
	for (i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	drop_swapping(pool);
	unlink(path);
	assert_true(n * PAGE <= 8 * SWAP_BLOCK);
}

static int
slow_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	(void)ctx;
	usleep(1000);
	memcpy(store.bytes + offset, src, len);
	return 0;
}

static void
test_a_sync_ends_while_blocks_leave_all_the_time(void **state)
{
	struct mmem_pager pager = pager_rw;
	struct call c = { 0 };
	struct smmuv3_model_done done;
	unsigned int i, busy = 0, seed = 3, ops = 0;
	static uint8_t bytes[8];
	bool ended;
	uint8_t *p;

	(void)state;
	pager.write = slow_write;
	p = alloc(&pager, RW);
	for (i = 0; i < 10000 && !(i > 200 && atomic_load(&c.done)); i++) {
		while (busy < 32) {
			pg_submit(pg.other_dma, SMMUV3_MODEL_WRITE, p + rand_r(&seed) % 64 * BLOCK,
					bytes, 8);
			busy++;
		}
		while (smmuv3_model_dma_poll(pg.other_dma, &done, 1) != 0) {
			busy--;
			ops++;
		}
		if (i == 200)
			call_start(&c, 4, p);
		usleep(1000);
	}
	ended = atomic_load(&c.done);
	while (busy-- != 0)
		pg_await(pg.other_dma);
	pthread_join(c.thread, NULL);
	assert_true(ended);
}

static int
slower_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	(void)ctx;
	usleep(60000);
	memcpy(store.bytes + offset, src, len);
	return 0;
}

static void
test_accesses_do_not_wait_for_all_of_a_sync(void **state)
{
	struct mmem_pager pager = pager_rw;
	struct call c = { 0 };
	unsigned int i;
	uint8_t *p;
	int rc;

	(void)state;
	pager.write = slower_write;
	pager.nb_threads = 1;
	pager.deadline_ms = 200;
	p = alloc(&pager, RW);
	for (i = 0; i < 7; i++)
		dev_write(p + i * BLOCK, 1);
	call_start(&c, 0, p);
	usleep(30000);
	read_start(p + 20 * BLOCK);
	rc = await_ms(PATIENCE_S * 1000);
	pthread_join(c.thread, NULL);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

/* The kernel does not take locked memory back. */
static void
test_a_budget_of_locked_memory_is_refused(void **state)
{
	struct mmem_pool *pool;

	(void)state;
	if (mlockall(MCL_FUTURE | MCL_ONFAULT) < 0)
		test_skip("mlockall() is not allowed");
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu, .size = 4 * CHUNK,
			.no_hugepages = true });
	munlockall();
	assert_non_null(pool);
	if (!pool->is_locked) {
		assert_int_equal(mmem_pool_destroy(pool), 0);
		test_skip("the sanitizers disable mlockall()");
	}
	assert_null(mmem_space_create(&(struct mmem_space_conf){ .pool = pool,
			.budget = CHUNK }));
	assert_int_equal(rte_errno, ENOTSUP);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}


static _Atomic unsigned int signals;
static void
on_xfsz(int sig)
{
	(void)sig;
	atomic_fetch_add(&signals, 1);
}

static void
test_a_swap_file_past_rlimit_fsize_is_an_error_not_a_signal(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct rlimit old, low;
	struct mmem_pool *pool;
	unsigned int i;
	uint8_t *p;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	signal(SIGXFSZ, on_xfsz);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	low.rlim_cur = SWAP_BLOCK;
	setrlimit(RLIMIT_FSIZE, &low);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	for (i = 0; i < 8; i++)
		dev_write(p + i * SWAP_BLOCK, 1);
	for (i = 8; i < 14; i++) {
		read_start(p + i * SWAP_BLOCK);
		await_ms(300);
	}
	setrlimit(RLIMIT_FSIZE, &old);
	for (i = 0; i < 6; i++)
		await_ms(700);
	signal(SIGXFSZ, SIG_DFL);
	drop_swapping(pool);
	unlink(path);
	assert_int_equal(signals, 0);
}

static const struct CMUnitTest tests[] = {
	EV_TEST(test_a_swap_file_past_rlimit_fsize_is_an_error_not_a_signal),
	EV_TEST(test_accesses_do_not_wait_for_all_of_a_sync),
	EV_TEST(test_a_budget_of_locked_memory_is_refused),
	EV_TEST(test_a_failed_fetch_gives_its_room_to_the_next),
	EV_TEST(test_pins_of_one_space_do_not_stop_another),
	EV_TEST(test_a_space_that_cannot_give_does_not_stop_another),
	EV_TEST(test_nothing_can_leave_because_of_pins),
	EV_TEST(test_sync_tells_of_a_write_that_failed),
	EV_TEST(test_free_loses_nothing_if_a_write_failed),
	EV_TEST(test_destroy_loses_nothing_if_a_write_failed),
	EV_TEST(test_an_access_without_room_behind_failing_writes_is_refused),
	EV_TEST(test_free_waits_wait_ms_for_a_write),
	EV_TEST(test_a_hot_set_file_is_not_read_under_the_lock),
	EV_TEST(test_a_swap_file_has_one_owner),
	EV_TEST(test_a_cpu_write_that_races_with_a_sync_is_kept),
	EV_TEST(test_a_free_does_not_touch_the_swap_of_the_next_region),
	EV_TEST(test_populate_keeps_the_budget),
	EV_TEST(test_a_sync_ends_while_blocks_leave_all_the_time),
};
TEST_SUITE(mmem_shortage, tests, NULL, NULL);
