/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The reason why VFIO would not open an SMMU, found in sysfs before anything is tried, so that
 * each refusal names its cause and the command that helps.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vfio_check.h"

#define DEVICES		"/sys/bus/platform/devices/"
#define NOIOMMU		"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

struct check {
	const char *root;
	const char *name;
	char *why;
	size_t len;
};

static int __attribute__((format(printf, 3, 4)))
refuse(const struct check *c, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, c->len, fmt, ap);
	va_end(ap);
	return ret;
}

static bool
make_path(const struct check *c, char path[PATH_MAX], const char *fmt, const char *arg)
{
	char rel[PATH_MAX];
	int n = snprintf(rel, sizeof(rel), fmt, arg);

	if (n < 0 || (size_t)n >= sizeof(rel))
		return false;
	n = snprintf(path, PATH_MAX, "%s%s", c->root, rel);
	return n >= 0 && n < PATH_MAX;
}

static bool
path_exists(const struct check *c, const char *fmt, const char *arg)
{
	char path[PATH_MAX];

	return make_path(c, path, fmt, arg) && access(path, F_OK) == 0;
}

/* The last component of a link's target; empty when there is none. */
static void
read_link_name(const struct check *c, const char *fmt, char name[NAME_MAX + 1])
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *slash;
	ssize_t n = -1;

	if (make_path(c, path, fmt, c->name))
		n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash == NULL ? target : slash + 1);
}

/* The first line of a file; empty when there is none. */
static void
read_line(const struct check *c, const char *fmt, const char *arg, char *line, size_t len)
{
	char path[PATH_MAX];
	FILE *f;

	line[0] = '\0';
	if (!make_path(c, path, fmt, arg))
		return;
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(line, len, f) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	fclose(f);
}

static int
check_owner(const struct check *c, const char *driver)
{
	if (strcmp(driver, "arm-smmu-v3") != 0)
		return 0;
	if (path_exists(c, DEVICES "%s/driver/unbind", c->name))
		return refuse(c, -EBUSY, "the kernel's arm-smmu-v3 owns it: "
				"iopf-setup setup %s", c->name);
	/* Mainline suppresses unbind: devices behind the SMMU would lose their mappings. */
	return refuse(c, -EBUSY, "the kernel's arm-smmu-v3 owns it and cannot release it at run "
			"time: boot with module_blacklist=arm_smmu_v3, or with "
			"initcall_blacklist=arm_smmu_driver_init where it is built in, "
			"then: iopf-setup setup %s", c->name);
}

static int
check_kernel(const struct check *c)
{
	if (!path_exists(c, "/sys/module/vfio%s", ""))
		return refuse(c, -ENODEV, "the kernel has no VFIO (CONFIG_VFIO): modprobe vfio");
	if (!path_exists(c, "/sys/bus/platform/drivers/vfio-platform%s", ""))
		return refuse(c, -ENODEV, "the kernel has no vfio-platform (CONFIG_VFIO_PLATFORM): "
				"modprobe vfio-platform reset_required=0");
	return 0;
}

/* A device without an IOMMU in front of it needs VFIO's no-IOMMU mode. */
static int
check_noiommu(const struct check *c)
{
	char mode[8];

	if (!path_exists(c, NOIOMMU "%s", ""))
		return refuse(c, -ENODEV, "no IOMMU is in front of it, and the kernel has no "
				"no-IOMMU mode: it needs CONFIG_VFIO_NOIOMMU");
	read_line(c, NOIOMMU "%s", "", mode, sizeof(mode));
	if (mode[0] != 'Y' && mode[0] != '1')
		return refuse(c, -ENODEV, "no IOMMU is in front of it, and VFIO's no-IOMMU mode is "
				"off: echo 1 > " NOIOMMU);
	return 0;
}

static int
check_node(const struct check *c, const char *node, const char *mend)
{
	char path[PATH_MAX];

	if (!make_path(c, path, "/dev/vfio/%s", node) ||
			faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0)
		return refuse(c, errno == ENOENT ? -ENODEV : -EACCES, "/dev/vfio/%s: %s: %s",
				node, strerror(errno), mend);
	return 0;
}

int
smmuv3_vfio_check(const char *root, const char *name, char *why, size_t len)
{
	const struct check c = { root, name, why, len };
	char driver[NAME_MAX + 1], group[NAME_MAX + 1], kind[32], node[NAME_MAX + 16];
	bool noiommu;
	int ret;

	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		return refuse(&c, -EINVAL, "not a name of a platform device: "
				"iopf-setup status lists the SMMUs");
	if (!path_exists(&c, DEVICES "%s", name))
		return refuse(&c, -ENODEV, "there is no such platform device: "
				"iopf-setup status lists the SMMUs");
	read_link_name(&c, DEVICES "%s/driver", driver);
	ret = check_owner(&c, driver);
	if (ret == 0)
		ret = check_kernel(&c);
	if (ret < 0)
		return ret;
	read_link_name(&c, DEVICES "%s/iommu_group", group);
	read_line(&c, "/sys/kernel/iommu_groups/%s/name", group, kind, sizeof(kind));
	noiommu = group[0] == '\0' || strcmp(kind, "vfio-noiommu") == 0;
	if (noiommu) {
		ret = check_noiommu(&c);
		if (ret < 0)
			return ret;
	}
	if (strcmp(driver, "vfio-platform") != 0)
		return refuse(&c, -ENODEV, "it is bound to %s, not to vfio-platform: "
				"iopf-setup setup %s",
				driver[0] == '\0' ? "no driver" : driver, name);
	if (group[0] == '\0')
		return refuse(&c, -ENODEV, "it has no IOMMU group although it is bound to "
				"vfio-platform: iopf-setup reset %s, then iopf-setup setup %s",
				name, name);
	ret = check_node(&c, "vfio", "check that devtmpfs is mounted, and your permission");
	if (ret < 0)
		return ret;
	snprintf(node, sizeof(node), "%s%s", noiommu ? "noiommu-" : "", group);
	return check_node(&c, node, noiommu ? "without an IOMMU this needs root (CAP_SYS_RAWIO)" :
			"chown it to your user");
}
