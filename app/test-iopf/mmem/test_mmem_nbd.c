/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Memory that is paged on a network block device which is slow, fails, and is gone and comes back:
 * as swap, as a mapped block device, and below a file system. In the QEMU lab, whose nbd.sh
 * (IOPF_LAB_NBD) is the server: nbdkit.
 */

#include <stdio.h>

#include "evict_rig.h"
#include "mmem_uring.h"
#include "nbd_client.h"

#define DEVICE	"/dev/nbd0"
#define SERVER	"/tmp/nbd.socket"
/* A device without a server fails after this time. */
#define GONE_S	1
#define SIZE	(8 * CHUNK)

static bool is_up;

/* Returns the exit status of nbd.sh. */
static int
nbd(const char *command)
{
	char line[256];

	snprintf(line, sizeof(line), "%s %s", getenv("IOPF_LAB_NBD"), command);
	return system(line);
}

static int
setup_nbd(void **state)
{
	is_up = false;
	return setup(state);
}

static int
teardown_nbd(void **state)
{
	int rc = teardown(state);

	if (is_up) {
		nbd_disconnect();
		nbd("stop");
	}
	return rc;
}

static void
up(const char *command)
{
	if (getenv("IOPF_LAB_NBD") == NULL)
		test_skip("not in the QEMU lab");
	assert_int_equal(nbd(command), 0);
	is_up = true;
	assert_int_equal(nbd_connect(SERVER, GONE_S), 0);
	AWAIT(access("/sys/block/nbd0/pid", R_OK) == 0);
}

static struct mmem_pool *
make_pool(const char *swap, unsigned int io)
{
	return replace_pool(&(struct mmem_pool_conf){ .iommu = pg.smmu, .size = NB_CHUNKS * CHUNK,
			.budget = swap != NULL ? 8 * SWAP_BLOCK : 2 * CHUNK, .swap = swap,
			.io = io });
}

static void
write_all(uint8_t *p, size_t step, uint8_t byte)
{
	size_t off;

	for (off = 0; off < SIZE; off += step) {
		p[off] = byte + off / step;
		dev_write(p + off + PAGE, byte + 1 + off / step);
	}
}

static void
check_all(uint8_t *p, size_t step, uint8_t byte)
{
	size_t off;

	for (off = 0; off < SIZE; off += step) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], (byte + off / step) & 0xff);
		assert_int_equal(p[off + PAGE], (byte + 1 + off / step) & 0xff);
	}
}

static void
test_a_slow_device_holds_what_does_not_fit(void **state)
{
	struct mmem_pool *pool;
	uint8_t *p;

	(void)state;
	up("begin 20");
	pool = make_pool(DEVICE, 0);
	p = mmem_alloc(space, SIZE, RW);
	assert_non_null(p);
	write_all(p, 8 * SWAP_BLOCK, 0x11);
	check_all(p, 8 * SWAP_BLOCK, 0x11);
	assert_true(stat(MMEM_STAT_WRITTEN) != 0);
	print_message("%u requests in the kernel at a time\n", mmem_uring_get_most(pool->uring));
	drop_swapping(pool);
	assert_int_equal(atomic_load(&nb_reports), 0);
}

/* The device has no access to bytes that are not there, and finds them later. */
static void
check_outage(uint8_t *p, const char *begin, const char *end)
{
	unsigned int refused = 0;
	size_t off;

	assert_int_equal(nbd(begin), 0);
	for (off = 0; off < SIZE && refused == 0; off += SWAP_BLOCK)
		if (dev_read(p + off, 8) != SMMUV3_MODEL_OK)
			refused++;
	assert_int_equal(refused, 1);
	assert_int_equal(atomic_load(&last_error), -EIO);
	assert_true(atomic_load(&nb_reports) != 0);
	assert_int_equal(nbd(end), 0);
	if (strcmp(end, "start") == 0)
		assert_int_equal(nbd_reconnect(SERVER), 0);
}

/* All is as before after the outage, also what is written then. */
static void
swap_over_outage(const char *begin, const char *end)
{
	struct mmem_pool *pool;
	uint8_t *p;

	up("begin");
	pool = make_pool(DEVICE, 0);
	p = mmem_alloc(space, SIZE, RW);
	assert_non_null(p);
	write_all(p, SWAP_BLOCK, 0x31);
	check_all(p, SWAP_BLOCK, 0x31);
	check_outage(p, begin, end);
	check_all(p, SWAP_BLOCK, 0x31);
	write_all(p, SWAP_BLOCK, 0x35);
	check_all(p, SWAP_BLOCK, 0x35);
	drop_swapping(pool);
}

static void
test_swap_on_a_device_that_fails_and_works_again(void **state)
{
	(void)state;
	swap_over_outage("fail", "heal");
}

static void
test_swap_on_a_device_that_is_gone_and_comes_back(void **state)
{
	(void)state;
	swap_over_outage("stop", "start");
}

/* A device that fails loses no write: mmem_sync() says so, and can be repeated. */
static void
test_a_mapped_device_that_fails_loses_no_write(void **state)
{
	struct mmem_pool *pool;
	uint8_t *p;

	(void)state;
	up("begin");
	pool = make_pool(NULL, 0);
	p = mmem_map_file(space, DEVICE, 0, SIZE, RW | MMEM_SHARED);
	assert_non_null(p);
	write_all(p, CHUNK, 0x41);
	check_all(p, CHUNK, 0x41);
	p[0] = 0x91;
	assert_int_equal(nbd("fail"), 0);
	assert_int_equal(mmem_sync(space, p, SIZE), -EIO);
	assert_int_equal(p[0], 0x91);
	assert_int_equal(mmem_free(space, p), -EIO);
	assert_int_equal(nbd("heal"), 0);
	assert_int_equal(mmem_sync(space, p, SIZE), 0);
	p[0] = 0x41;
	check_all(p, CHUNK, 0x41);
	assert_int_equal(mmem_free(space, p), 0);
	p = mmem_map_file(space, DEVICE, 0, SIZE, RW | MMEM_SHARED);
	assert_non_null(p);
	check_all(p, CHUNK, 0x41);
	assert_int_equal(mmem_free(space, p), 0);
	drop_swapping(pool);
}

/* ext4 on the device. */
static void
test_a_file_of_a_file_system_on_the_device(void **state)
{
	struct mmem_pool *pool;
	uint8_t *p;
	int fd;

	(void)state;
	up("begin");
	assert_int_equal(nbd("mkfs"), 0);
	/* The server that nbd.sh starts later must not inherit it. */
	fd = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, SIZE), 0);
	pool = make_pool(NULL, MMEM_IO_DIRECT);
	p = mmem_map_file(space, "/mnt/file", 0, SIZE, RW | MMEM_SHARED);
	assert_non_null(p);
	write_all(p, CHUNK, 0x51);
	check_all(p, CHUNK, 0x51);
	assert_int_equal(mmem_sync(space, p, SIZE), 0);
	assert_int_equal(fsync(fd), 0);
	check_outage(p, "fail", "heal");
	check_all(p, CHUNK, 0x51);
	check_outage(p, "stop", "start");
	check_all(p, CHUNK, 0x51);
	assert_int_equal(mmem_free(space, p), 0);
	drop_swapping(pool);
	close(fd);
	assert_int_equal(nbd("umount"), 0);
}

#define NBD_TEST(f) cmocka_unit_test_setup_teardown(f, setup_nbd, teardown_nbd)

static const struct CMUnitTest tests[] = {
	NBD_TEST(test_a_slow_device_holds_what_does_not_fit),
	NBD_TEST(test_swap_on_a_device_that_fails_and_works_again),
	NBD_TEST(test_swap_on_a_device_that_is_gone_and_comes_back),
	NBD_TEST(test_a_mapped_device_that_fails_loses_no_write),
	NBD_TEST(test_a_file_of_a_file_system_on_the_device),
};
TEST_SUITE(mmem_nbd, tests, NULL, NULL);
