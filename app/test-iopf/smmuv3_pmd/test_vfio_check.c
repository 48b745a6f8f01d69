/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Each reason for which VFIO refuses an SMMU, on a tree of files that replaces /sys and /dev. The
 * message names the reason and the command that removes it.
 */

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "vfio_check.h"

#define NAME	"9050000.smmuv3"
#define DEVICE	"/sys/bus/platform/devices/" NAME
#define DRIVERS	"/sys/bus/platform/drivers"
#define MODE	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

/* A user without rights. */
#define NOBODY	65534

static char root[64];
static char why[512];

static const char *
make_path(const char *path)
{
	static char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return full;
}

static void
make_dirs(const char *path)
{
	char full[PATH_MAX], *slash;

	snprintf(full, sizeof(full), "%s", make_path(path));
	for (slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
}

static void
write_file(const char *path, const char *text)
{
	FILE *f;

	make_dirs(path);
	f = fopen(make_path(path), "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
write_link(const char *path, const char *target)
{
	make_dirs(path);
	unlink(make_path(path));
	assert_int_equal(symlink(target, make_path(path)), 0);
}

static int
check(void)
{
	why[0] = '\0';
	return smmuv3_vfio_check(root, NAME, why, sizeof(why));
}

static void
check_refusal(int ret, const char *text)
{
	assert_int_equal(check(), ret);
	if (strstr(why, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, text);
}

static int
make_tree(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), P_tmpdir "/test-vfio-XXXXXX");
	if (mkdtemp(root) == NULL || chmod(root, 0755) < 0)
		return -1;
	write_file(DRIVERS "/vfio-platform/bind", "");
	write_file(DRIVERS "/vfio-platform/unbind", "");
	write_file(MODE, "Y\n");
	write_file(DEVICE "/driver_override", "vfio-platform\n");
	write_link(DEVICE "/driver", "../../drivers/vfio-platform");
	write_link(DEVICE "/iommu_group", "../../../../kernel/iommu_groups/7");
	write_file("/sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
	write_file("/dev/vfio/vfio", "");
	write_file("/dev/vfio/noiommu-7", "");
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int
remove_tree(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
test_a_device_that_is_ready_is_accepted(void **state)
{
	(void)state;
	assert_int_equal(check(), 0);
	/* An ordinary group: an IOMMU translates for this SMMU. */
	write_file("/sys/kernel/iommu_groups/7/name", "\n");
	unlink(make_path("/dev/vfio/noiommu-7"));
	write_file("/dev/vfio/7", "");
	write_file(MODE, "N\n");
	assert_int_equal(check(), 0);
}

static void
test_names_are_checked(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../x", "a/b", "/" };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(smmuv3_vfio_check(root, bad[i], why, sizeof(why)), -EINVAL);
	assert_int_equal(smmuv3_vfio_check(root, "other.smmuv3", why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "iopf-setup status"));
	/* The buffer for the reason may be of any size. */
	assert_int_equal(smmuv3_vfio_check(root, "other.smmuv3", why, 4), -ENODEV);
	assert_int_equal(strlen(why), 3);
}

static void
test_the_kernels_driver_is_named_first(void **state)
{
	(void)state;
	write_file(DRIVERS "/arm-smmu-v3/bind", "");
	write_link(DEVICE "/driver", "../../drivers/arm-smmu-v3");
	/* The driver of the kernel is named first, whatever else is missing. */
	unlink(make_path(MODE));
	check_refusal(-EBUSY, "initcall_blacklist=arm_smmu_driver_init");
	/* This kernel allows unbind. */
	write_file(DRIVERS "/arm-smmu-v3/unbind", "");
	check_refusal(-EBUSY, "iopf-setup setup " NAME);
	assert_null(strstr(why, "boot"));
}

static void
test_a_missing_kernel_feature_is_named(void **state)
{
	(void)state;
	unlink(make_path(MODE));
	check_refusal(-ENODEV, "CONFIG_VFIO_NOIOMMU");
	write_file(MODE, "N\n");
	check_refusal(-ENODEV, "echo 1 > " MODE);
	write_file(MODE, "1\n");
	assert_int_equal(check(), 0);
	unlink(make_path(DRIVERS "/vfio-platform/bind"));
	unlink(make_path(DRIVERS "/vfio-platform/unbind"));
	assert_int_equal(rmdir(make_path(DRIVERS "/vfio-platform")), 0);
	check_refusal(-ENODEV, "modprobe vfio-platform reset_required=0");
	unlink(make_path(MODE));
	rmdir(make_path("/sys/module/vfio/parameters"));
	rmdir(make_path("/sys/module/vfio"));
	check_refusal(-ENODEV, "modprobe vfio");
}

static void
test_a_device_that_is_not_bound_is_named(void **state)
{
	(void)state;
	unlink(make_path(DEVICE "/driver"));
	check_refusal(-ENODEV, "bound to no driver");
	write_file(DRIVERS "/other/bind", "");
	write_link(DEVICE "/driver", "../../drivers/other");
	check_refusal(-ENODEV, "bound to other");
	write_link(DEVICE "/driver", "../../drivers/vfio-platform");
	unlink(make_path(DEVICE "/iommu_group"));
	check_refusal(-ENODEV, "no IOMMU group");
}

static void
test_a_missing_right_is_named(void **state)
{
	char noiommu_why[sizeof(why)];
	uid_t me = geteuid();
	int noiommu, ordinary;

	(void)state;
	unlink(make_path("/dev/vfio/noiommu-7"));
	check_refusal(-ENODEV, "/dev/vfio/noiommu-7");
	write_file("/dev/vfio/noiommu-7", "");
	unlink(make_path("/dev/vfio/vfio"));
	check_refusal(-ENODEV, "/dev/vfio/vfio");
	write_file("/dev/vfio/vfio", "");
	chmod(make_path("/dev/vfio/vfio"), 0666);
	write_file("/dev/vfio/7", "");
	chmod(make_path("/dev/vfio/7"), 0);
	chmod(make_path("/dev/vfio/noiommu-7"), 0);
	/* Root has every right. */
	if (me == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	noiommu = check();
	snprintf(noiommu_why, sizeof(noiommu_why), "%s", why);
	if (me == 0)
		assert_int_equal(seteuid(me), 0);
	write_file("/sys/kernel/iommu_groups/7/name", "\n");
	if (me == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	ordinary = check();
	if (me == 0)
		assert_int_equal(seteuid(me), 0);
	assert_int_equal(noiommu, -EACCES);
	assert_non_null(strstr(noiommu_why, "CAP_SYS_RAWIO"));
	assert_int_equal(ordinary, -EACCES);
	assert_non_null(strstr(why, "chown"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(test_a_device_that_is_ready_is_accepted, make_tree,
			remove_tree),
	cmocka_unit_test_setup_teardown(test_names_are_checked, make_tree, remove_tree),
	cmocka_unit_test_setup_teardown(test_the_kernels_driver_is_named_first, make_tree,
			remove_tree),
	cmocka_unit_test_setup_teardown(test_a_missing_kernel_feature_is_named, make_tree,
			remove_tree),
	cmocka_unit_test_setup_teardown(test_a_device_that_is_not_bound_is_named, make_tree,
			remove_tree),
	cmocka_unit_test_setup_teardown(test_a_missing_right_is_named, make_tree, remove_tree),
};

TEST_SUITE(vfio_check, tests, NULL, NULL);
