/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The backend "page": the driver on a page file. Here the model has a thread, and the driver is in
 * this process or in a child. IOPF_TEST_BACKEND=page runs the other suites on page files.
 */

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_kvargs.h>
#include <rte_log.h>

#include "log_lines.h"
#include "mem.h"
#include "pmd_rig.h"
#include "smmuv3_model_page.h"
#include "smmuv3_order.h"
#include "smmuv3_page.h"
#include "smmuv3_spec.h"
#include "test.h"

#define MEM_ADDR	UINT64_C(0x70000000)
#define MEM_SIZE	(UINT64_C(32) << 20)
#define MEM_DRIVER	(MEM_SIZE / 2)
#define PAGE		4096u

static int
open_path(const char *path, void **priv)
{
	struct iopf_iommu_info info;
	struct rte_kvargs *args;
	char str[128];
	int ret;

	snprintf(str, sizeof(str), "page=%s", path);
	args = rte_kvargs_parse(str, smmuv3_pmd.params);
	assert_non_null(args);
	ret = smmuv3_pmd.ops.open(args, &info, priv);
	rte_kvargs_free(args);
	return ret;
}

struct served {
	struct smmuv3_model_page page;
	struct smmuv3_model *m;
};

static void
serve(struct served *v, uint64_t mem_driver)
{
	assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
		.mem_addr = MEM_ADDR, .mem_size = MEM_SIZE, .mem_driver = mem_driver }, &v->page),
		0);
	v->m = smmuv3_model_create(&(struct smmuv3_model_conf){
		.regs = v->page.regs, .regs_size = v->page.regs_size });
	assert_non_null(v->m);
	assert_int_equal(smmuv3_model_mem_add(v->m, v->page.mem_addr, v->page.mem,
			v->page.mem_size), 0);
	assert_int_equal(smmuv3_model_start(v->m, -1), 0);
}

static void
end_serving(struct served *v)
{
	for (unsigned int i = 0; smmuv3_model_oracle_error(v->m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(v->m, i));
	assert_int_equal(smmuv3_model_oracle_errors(v->m), 0);
	smmuv3_model_destroy(v->m);
	smmuv3_model_page_destroy(&v->page);
}

/* A memfd with this header, and its path. */
static int
make_file(const struct smmuv3_page *header, size_t len, off_t size, char path[static 32])
{
	int fd = memfd_create("header", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, header, len, 0), (ssize_t)len);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static void
test_a_file_with_a_wrong_header_is_refused(void **state)
{
	static const struct smmuv3_page good = {
		.magic = UINT64_C(0x6567617066706f69), .version = 1,
		.regs_offset = 0x10000, .regs_size = 0x20000,
		.mem_offset = 0x30000, .mem_size = 0x100000,
		.mem_addr = MEM_ADDR, .mem_driver = 0x80000,
	};
	static const struct { size_t field; uint64_t value; const char *why; } wrong[] = {
#define F(f) offsetof(struct smmuv3_page, f)
		{ F(magic), 0, "page file" },
		{ F(version), 2, "version" }, { F(version), 1 | UINT64_C(1) << 32, "version" },
		{ F(regs_offset), 0, "registers" }, { F(regs_offset), 0x11000, "registers" },
		{ F(regs_offset), 0x120000, "registers" },
		{ F(regs_offset), UINT64_MAX << 16, "registers" },
		{ F(regs_size), 0, "registers" }, { F(regs_size), 0x10000, "registers" },
		{ F(regs_size), 0x20004, "registers" }, { F(regs_size), 0x140000, "registers" },
		{ F(regs_size), UINT64_MAX << 16, "registers" },
		{ F(regs_size), 0x30000, "overlap" },
		{ F(mem_offset), 0x20000, "overlap" }, { F(mem_offset), 0, "memory" },
		{ F(mem_offset), 0x30004, "memory" }, { F(mem_offset), 0x40000, "memory" },
		{ F(mem_offset), UINT64_MAX << 16, "memory" },
		{ F(mem_size), 0, "memory" }, { F(mem_size), 0x100004, "memory" },
		{ F(mem_size), 0x110000, "memory" }, { F(mem_size), UINT64_MAX << 16, "memory" },
		{ F(mem_addr), 0, "addresses" }, { F(mem_addr), 0x1000, "addresses" },
		{ F(mem_addr), (UINT64_C(1) << 52) - 0x10000, "addresses" },
		{ F(mem_addr), UINT64_MAX << 16, "addresses" },
		{ F(mem_driver), 0, "driver's part" }, { F(mem_driver), 0x1000, "driver's part" },
		{ F(mem_driver), 0x110000, "driver's part" },
#undef F
	};
	struct smmuv3_page header;
	char path[32];
	void *priv;
	int fd;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(wrong); i++) {
		header = good;
		memcpy((uint8_t *)&header + wrong[i].field, &wrong[i].value, 8);
		fd = make_file(&header, sizeof(header), 0x130000, path);
		SAYS(wrong[i].why, assert_int_equal(open_path(path, &priv), -EINVAL));
		close(fd);
	}
	/* Shorter than the header, than the registers, than the memory. */
	fd = make_file(&good, 63, 63, path);
	SAYS("too short", assert_int_equal(open_path(path, &priv), -EINVAL));
	close(fd);
	fd = make_file(&good, 64, 0x20000, path);
	SAYS("registers", assert_int_equal(open_path(path, &priv), -EINVAL));
	close(fd);
	fd = make_file(&good, 64, 0x12ffff, path);
	SAYS("memory", assert_int_equal(open_path(path, &priv), -EINVAL));
	close(fd);
	SAYS("cannot open", assert_int_equal(open_path("/nonexistent", &priv), -ENODEV));
	SAYS("cannot open", assert_int_equal(open_path("/proc/self", &priv), -ENODEV));
	SAYS("a file is needed", assert_int_equal(open_path("", &priv), -EINVAL));
	/* A right header, and no SMMU behind it: the registers are 0. */
	fd = make_file(&good, 64, 0x130000, path);
	SAYS("no stage 1", assert_int_equal(open_path(path, &priv), -ENOTSUP));
	close(fd);
}

static void
test_one_driver_at_a_time_has_the_file_open(void **state)
{
	struct served v;
	void *priv, *other;

	(void)state;
	serve(&v, MEM_DRIVER);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	SAYS("another driver has it open",
			assert_int_equal(open_path(v.page.path, &other), -EBUSY));
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	end_serving(&v);
}

static void
test_an_address_range_in_use_is_refused(void **state)
{
	void *want = (void *)(uintptr_t)(MEM_ADDR + MEM_SIZE - PAGE), *mine, *priv;
	struct served v;

	(void)state;
	serve(&v, MEM_DRIVER);
	mine = mmap(want, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(mine, want);
	*(char *)mine = 1;
	SAYS("the process uses this range",
			assert_int_equal(open_path(v.page.path, &priv), -EBUSY));
	assert_int_equal(*(char *)mine, 1);
	munmap(mine, PAGE);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	end_serving(&v);
}

static void
test_dma_memory_is_in_the_file_and_nowhere_else(void **state)
{
	static uint8_t outside[PAGE];
	uint8_t *mem = (uint8_t *)(uintptr_t)MEM_ADDR;
	struct served v;
	uint64_t addr;
	void *priv;

	(void)state;
	serve(&v, MEM_DRIVER);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	assert_int_equal(smmuv3_pmd.ops.dma_map(priv, mem + MEM_DRIVER, MEM_DRIVER, &addr), 0);
	assert_int_equal(addr, MEM_ADDR + MEM_DRIVER);
	mem[MEM_DRIVER] = 0x17;
	assert_int_equal(((uint8_t *)v.page.mem)[MEM_DRIVER], 0x17);
	assert_int_equal(smmuv3_pmd.ops.dma_unmap(priv, mem + MEM_DRIVER, MEM_DRIVER, addr), 0);
	SAYS("is not in the page file: take it from [0x71000000, 0x72000000)",
		assert_int_equal(smmuv3_pmd.ops.dma_map(priv, outside, PAGE, &addr), -ENOTSUP));
	SAYS("is not in the page file", assert_int_equal(smmuv3_pmd.ops.dma_map(priv,
			mem + MEM_SIZE - PAGE, 2 * PAGE, &addr), -ENOTSUP));
	SAYS("is not in the page file", assert_int_equal(smmuv3_pmd.ops.dma_map(priv, mem - PAGE,
			2 * PAGE, &addr), -ENOTSUP));
	SAYS("is not in the page file", assert_int_equal(smmuv3_pmd.ops.dma_map(priv, mem + PAGE,
			SIZE_MAX - PAGE, &addr), -ENOTSUP));
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	end_serving(&v);
}

/* Pieces do not overlap, are aligned, and a freed one is used again. */
static void
test_queues_and_tables_stay_in_the_drivers_part(void **state)
{
	static const size_t sizes[] = { 64, 4096, 1 << 16, 1 << 20, 1 << 17, 1 << 22, 1 << 16 };
	struct smmuv3_mem mem[RTE_DIM(sizes)], more[256];
	unsigned int nb = 0;
	struct smmuv3 *s;
	struct served v;
	void *priv;

	(void)state;
	serve(&v, MEM_DRIVER);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	s = priv;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
			assert_int_equal(smmuv3_mem_alloc(s, sizes[i], &mem[i]), 0);
			assert_int_equal(mem[i].addr, (uintptr_t)mem[i].va);
			assert_int_equal(mem[i].addr % sizes[i], 0);
			assert_in_range(mem[i].addr, MEM_ADDR, MEM_ADDR + MEM_DRIVER - sizes[i]);
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(((uint8_t *)mem[i].va)[at], 0);
			memset(mem[i].va, 1 + i, sizes[i]);
		}
		for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(((uint8_t *)mem[i].va)[at], 1 + i);
			smmuv3_mem_free(s, &mem[i]);
		}
	}
	/* Until it is full. */
	log_lines_begin();
	while (smmuv3_mem_alloc(s, 1 << 16, &more[nb]) == 0)
		nb++;
	log_lines_one("of memory for queues or tables: make the queues smaller");
	assert_in_range(nb, MEM_DRIVER / (1 << 16) - 40, MEM_DRIVER / (1 << 16) - 1);
	smmuv3_mem_free(s, &more[nb / 2]);
	assert_int_equal(smmuv3_mem_alloc(s, 1 << 16, &more[nb / 2]), 0);
	while (nb > 0)
		smmuv3_mem_free(s, &more[--nb]);
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	end_serving(&v);
}

static void
test_too_little_memory_for_the_driver_fails_the_open(void **state)
{
	struct served v;
	void *priv;
	char *text;

	(void)state;
	serve(&v, 1 << 16);
	log_lines_begin();
	assert_int_equal(open_path(v.page.path, &priv), -ENOMEM);
	text = log_lines_end();
	assert_non_null(strstr(text, "make the queues smaller"));
	free(text);
	end_serving(&v);
}

static void
test_a_thread_does_not_sleep_without_an_interrupt(void **state)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct served v;
	void *priv;

	(void)state;
	serve(&v, MEM_DRIVER);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
	assert_int_equal(smmuv3_pmd.ops.idle(priv, fd), -ENOTSUP);
	/* It polls on, by MSIs. */
	assert_int_equal(smmuv3_read32(v.page.regs, SMMUV3_IRQ_CTRLACK), SMMUV3_IRQ_CTRL_EVENTQ |
			SMMUV3_IRQ_CTRL_GERROR);
	assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	close(fd);
	end_serving(&v);
}

/*
 * A driver in a process of its own. It serves the faults at VA + n pages, each with a page of the
 * application's part, until it is killed, or until *stop is set.
 */
#define NB_WRITES	256u

struct shared {		/* at the end of the memory */
	_Atomic uint32_t running, served, stop;
};

static struct shared *
find_shared(void *mem)
{
	return (struct shared *)(void *)((uint8_t *)mem + MEM_SIZE - PAGE);
}

/* The place in the memory of data page @p n. */
static size_t
find_data(uint32_t n)
{
	return MEM_SIZE - (2 + n) * PAGE;
}

/* Returns the exit code. */
static int
drive(const char *path)
{
	uint8_t *mem = (uint8_t *)(uintptr_t)MEM_ADDR;
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct pmd p = { .ops = &smmuv3_pmd.ops, .arena = mem + MEM_DRIVER, .granule_log2 = 12 };
	struct shared *shared = find_shared(mem);
	struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S1, .va_bits = 48,
		.granule_log2 = 12 };
	struct iopf_event event;
	void *priv;
	uint64_t n;

	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_ERR);
	if (open_path(path, &priv) != 0)
		return 10;
	p.s = priv;
	memset(p.arena, 0, MEM_DRIVER - (2 + NB_WRITES) * PAGE);
	p.root = pmd_alloc(&p, PAGE, PAGE);
	tr.root = (uintptr_t)p.root;
	if (p.ops->start(priv) != 0 || p.ops->dev_add(priv, &conf, &p.dev) != 0 ||
			p.ops->domain_add(priv, &tr, NULL, &p.domain) != 0 ||
			rig_attach(p.ops, priv, p.dev, IOPF_NO_PASID, p.domain) != 0)
		return 11;
	atomic_store(&shared->running, 1);
	while (atomic_load(&shared->stop) == 0) {
		if (p.ops->poll(priv, IOPF_QUEUE_EVENTS, &event, 1) == 0) {
			p.ops->wait(priv);
			continue;
		}
		n = (event.addr - PMD_VA) / PAGE;
		if (!(event.flags & IOPF_EVENT_STALL) || n >= NB_WRITES)
			return 12;
		pmd_map(&p, event.addr, mem + find_data(n));
		pmd_answer(&p, &event, IOPF_SUCCESS);
		atomic_fetch_add(&shared->served, 1);
	}
	if (rig_detach(p.ops, priv, p.dev, IOPF_NO_PASID) != 0)
		return 13;
	p.ops->domain_del(priv, p.domain);
	return p.ops->dev_del(priv, p.dev) != 0 || p.ops->stop(priv) != 0 ||
		p.ops->close(priv) != 0 ? 14 : 0;
}

/* Let a driver run that must not end by itself. */
static void
yield_to(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != 0)
		fail_msg("the driver ended early: status 0x%x", status);
	sched_yield();
}

/* Start a driver, and wait until its device is attached. */
static pid_t
start_driver(struct served *v)
{
	struct shared *shared = find_shared(v->page.mem);
	pid_t pid;

	atomic_store(&shared->running, 0);
	atomic_store(&shared->served, 0);
	atomic_store(&shared->stop, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* cmocka's handlers would run the parent's tests. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		_exit(drive(v->page.path));
	}
	while (atomic_load(&shared->running) == 0)
		yield_to(pid);
	return pid;
}

/* Take the DMAs that have ended. Returns the number of those that were aborted. */
static unsigned int
take_done(struct smmuv3_model_dma *dma, pid_t pid)
{
	struct smmuv3_model_done done;
	unsigned int aborted = 0;

	while (smmuv3_model_dma_outstanding(dma) != 0) {
		if (smmuv3_model_dma_poll(dma, &done, 1) == 0) {
			yield_to(pid);
			continue;
		}
		assert_true(done.status == SMMUV3_MODEL_OK || done.status == SMMUV3_MODEL_ABORTED);
		aborted += done.status == SMMUV3_MODEL_ABORTED;
	}
	return aborted;
}

static void
write_page(struct smmuv3_model_dma *dma, uint32_t n, const uint32_t *value)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA + n * PAGE,
		.buf = (void *)(uintptr_t)value, .len = sizeof(*value) }), 0);
}

static void
test_a_driver_killed_at_any_moment_leaves_a_server_for_the_next(void **state)
{
	static uint32_t values[NB_WRITES];
	unsigned int nb_aborted = 0;
	struct smmuv3_model_dma *dma;
	struct shared *shared;
	struct served v;
	uint32_t found;
	int status;
	pid_t pid;

	(void)state;
	serve(&v, MEM_DRIVER);
	shared = find_shared(v.page.mem);
	dma = smmuv3_model_dma_create(v.m, &(struct smmuv3_model_dma_conf){
		.sid = PMD_SID, .depth = NB_WRITES });
	assert_non_null(dma);
	for (unsigned int round = 0; round < 8; round++) {
		pid = start_driver(&v);
		/* The driver's takeover has ended the stalls of its predecessor. */
		nb_aborted += take_done(dma, pid);
		for (uint32_t n = 0; n < NB_WRITES; n++) {
			values[n] = round << 16 | n;
			write_page(dma, n, &values[n]);
		}
		while (round != 7 && atomic_load(&shared->served) < round * 24)
			yield_to(pid);
		if (round == 7)
			break;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	/* The last one serves all and ends in order. */
	assert_int_equal(take_done(dma, pid), 0);
	assert_int_equal(atomic_load(&shared->served), NB_WRITES);
	for (uint32_t n = 0; n < NB_WRITES; n++) {
		memcpy(&found, (uint8_t *)v.page.mem + find_data(n), sizeof(found));
		assert_int_equal(found, values[n]);
	}
	atomic_store(&shared->stop, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	print_message("  %u DMAs of killed drivers aborted\n", nb_aborted);
	assert_true(nb_aborted != 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(v.m), 0);
	smmuv3_model_dma_destroy(dma);
	end_serving(&v);
}

/* A server that dies: the registers never change again, and each wait of the driver ends. */
static void
test_a_server_that_dies_times_the_driver_out(void **state)
{
	struct served v;
	struct smmuv3 *s;
	void *priv;

	(void)state;
	serve(&v, MEM_DRIVER);
	assert_int_equal(open_path(v.page.path, &priv), 0);
	assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
	s = priv;
	s->timeout /= 50;
	smmuv3_model_stop(v.m);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	assert_int_equal(smmuv3_pmd.ops.sync(priv), -ETIMEDOUT);
	assert_int_equal(smmuv3_pmd.ops.stop(priv), -ETIMEDOUT);
	assert_int_equal(smmuv3_pmd.ops.close(priv), -EBUSY);
	/* It comes back. */
	assert_int_equal(smmuv3_model_start(v.m, -1), 0);
	s->timeout *= 50;
	assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
	assert_int_equal(smmuv3_pmd.ops.close(priv), 0);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	end_serving(&v);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_file_with_a_wrong_header_is_refused),
	cmocka_unit_test(test_one_driver_at_a_time_has_the_file_open),
	cmocka_unit_test(test_an_address_range_in_use_is_refused),
	cmocka_unit_test(test_dma_memory_is_in_the_file_and_nowhere_else),
	cmocka_unit_test(test_queues_and_tables_stay_in_the_drivers_part),
	cmocka_unit_test(test_too_little_memory_for_the_driver_fails_the_open),
	cmocka_unit_test(test_a_thread_does_not_sleep_without_an_interrupt),
	cmocka_unit_test(test_a_driver_killed_at_any_moment_leaves_a_server_for_the_next),
	cmocka_unit_test(test_a_server_that_dies_times_the_driver_out),
};

TEST_SUITE(pmd_page, tests, NULL, NULL);
