/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Each reason for which VFIO would not give an SMMU, on a tree of files that stands
 * for /sys and /dev: named, with the command that mends it.
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
at(const char *path)
{
	static char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return full;
}

static void
make_dirs(const char *path)
{
	char full[PATH_MAX], *slash;

	snprintf(full, sizeof(full), "%s", at(path));
	for (slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
}

static void
put(const char *path, const char *text)
{
	FILE *f;

	make_dirs(path);
	f = fopen(at(path), "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
put_link(const char *path, const char *target)
{
	make_dirs(path);
	unlink(at(path));
	assert_int_equal(symlink(target, at(path)), 0);
}

static int
check(void)
{
	why[0] = '\0';
	return smmuv3_vfio_check(root, NAME, why, sizeof(why));
}

static void
refused(int ret, const char *text)
{
	assert_int_equal(check(), ret);
	if (strstr(why, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, text);
}

static int
tree_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), P_tmpdir "/test-vfio-XXXXXX");
	if (mkdtemp(root) == NULL || chmod(root, 0755) < 0)
		return -1;
	put(DRIVERS "/vfio-platform/bind", "");
	put(DRIVERS "/vfio-platform/unbind", "");
	put(MODE, "Y\n");
	put(DEVICE "/driver_override", "vfio-platform\n");
	put_link(DEVICE "/driver", "../../drivers/vfio-platform");
	put_link(DEVICE "/iommu_group", "../../../../kernel/iommu_groups/7");
	put("/sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
	put("/dev/vfio/vfio", "");
	put("/dev/vfio/noiommu-7", "");
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
tree_down(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
test_what_is_ready_is_not_refused(void **state)
{
	(void)state;
	assert_int_equal(check(), 0);
	/* An ordinary group, of an SMMU that an IOMMU is in front of. */
	put("/sys/kernel/iommu_groups/7/name", "\n");
	unlink(at("/dev/vfio/noiommu-7"));
	put("/dev/vfio/7", "");
	put(MODE, "N\n");
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
	/* However little room there is for the reason. */
	assert_int_equal(smmuv3_vfio_check(root, "other.smmuv3", why, 4), -ENODEV);
	assert_int_equal(strlen(why), 3);
}

static void
test_the_kernels_driver_is_named_first(void **state)
{
	(void)state;
	put(DRIVERS "/arm-smmu-v3/bind", "");
	put_link(DEVICE "/driver", "../../drivers/arm-smmu-v3");
	/* Whatever else is missing. */
	unlink(at(MODE));
	refused(-EBUSY, "initcall_blacklist=arm_smmu_driver_init");
	/* A kernel that lets it be unbound. */
	put(DRIVERS "/arm-smmu-v3/unbind", "");
	refused(-EBUSY, "iopf-setup setup " NAME);
	assert_null(strstr(why, "boot"));
}

static void
test_what_the_kernel_lacks_is_named(void **state)
{
	(void)state;
	unlink(at(MODE));
	refused(-ENODEV, "CONFIG_VFIO_NOIOMMU");
	put(MODE, "N\n");
	refused(-ENODEV, "echo 1 > " MODE);
	put(MODE, "1\n");
	assert_int_equal(check(), 0);
	unlink(at(DRIVERS "/vfio-platform/bind"));
	unlink(at(DRIVERS "/vfio-platform/unbind"));
	assert_int_equal(rmdir(at(DRIVERS "/vfio-platform")), 0);
	refused(-ENODEV, "modprobe vfio-platform reset_required=0");
	unlink(at(MODE));
	rmdir(at("/sys/module/vfio/parameters"));
	rmdir(at("/sys/module/vfio"));
	refused(-ENODEV, "modprobe vfio");
}

static void
test_a_device_that_is_not_bound_is_named(void **state)
{
	(void)state;
	unlink(at(DEVICE "/driver"));
	refused(-ENODEV, "bound to no driver");
	put(DRIVERS "/other/bind", "");
	put_link(DEVICE "/driver", "../../drivers/other");
	refused(-ENODEV, "bound to other");
	put_link(DEVICE "/driver", "../../drivers/vfio-platform");
	unlink(at(DEVICE "/iommu_group"));
	refused(-ENODEV, "no IOMMU group");
}

static void
test_a_missing_right_is_named(void **state)
{
	char noiommu_why[sizeof(why)];
	uid_t me = geteuid();
	int noiommu, ordinary;

	(void)state;
	unlink(at("/dev/vfio/noiommu-7"));
	refused(-ENODEV, "/dev/vfio/noiommu-7");
	put("/dev/vfio/noiommu-7", "");
	unlink(at("/dev/vfio/vfio"));
	refused(-ENODEV, "/dev/vfio/vfio");
	put("/dev/vfio/vfio", "");
	chmod(at("/dev/vfio/vfio"), 0666);
	put("/dev/vfio/7", "");
	chmod(at("/dev/vfio/7"), 0);
	chmod(at("/dev/vfio/noiommu-7"), 0);
	/* Root has every right. */
	if (me == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	noiommu = check();
	snprintf(noiommu_why, sizeof(noiommu_why), "%s", why);
	if (me == 0)
		assert_int_equal(seteuid(me), 0);
	put("/sys/kernel/iommu_groups/7/name", "\n");
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
	cmocka_unit_test_setup_teardown(test_what_is_ready_is_not_refused, tree_up, tree_down),
	cmocka_unit_test_setup_teardown(test_names_are_checked, tree_up, tree_down),
	cmocka_unit_test_setup_teardown(test_the_kernels_driver_is_named_first, tree_up, tree_down),
	cmocka_unit_test_setup_teardown(test_what_the_kernel_lacks_is_named, tree_up, tree_down),
	cmocka_unit_test_setup_teardown(test_a_device_that_is_not_bound_is_named, tree_up,
			tree_down),
	cmocka_unit_test_setup_teardown(test_a_missing_right_is_named, tree_up, tree_down),
};

TEST_SUITE(vfio_check, tests, NULL, NULL);
