/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "iommu.h"
#include "iopf_log.h"

struct entry {
	struct iopf_driver *driver;
	struct entry *next;
};

/* The driver that was registered last is first. */
static struct entry *drivers;

/*
 * Replacements for operations that a driver does not have. The callers of idle, answer_after and
 * queue_mark check for NULL instead.
 */

static unsigned int
absent_check(void *priv)
{
	(void)priv;
	return 0;
}

static bool
absent_is_recovering(void *priv)
{
	(void)priv;
	return false;
}

static void
absent_wait(void *priv)
{
	(void)priv;
	sched_yield();
}

static uint64_t
absent_stat(const void *priv, unsigned int i, const char **name)
{
	(void)priv;
	(void)i;
	*name = "unknown";
	return 0;
}

static void
absent_dump(const void *priv, FILE *f)
{
	(void)priv;
	(void)f;
}

void
iopf_driver_register(struct iopf_driver *driver)
{
	struct iopf_driver_ops *ops = &driver->ops;
	struct entry *entry = malloc(sizeof(*entry));

	ops->check = ops->check != NULL ? ops->check : absent_check;
	ops->is_recovering = ops->is_recovering != NULL ? ops->is_recovering :
			absent_is_recovering;
	ops->wait = ops->wait != NULL ? ops->wait : absent_wait;
	ops->stat = ops->stat != NULL ? ops->stat : absent_stat;
	ops->dump = ops->dump != NULL ? ops->dump : absent_dump;
	if (entry == NULL) {
		IOPF_LOG(ERR, "driver %s: no memory to register it", driver->name);
		return;
	}
	entry->driver = driver;
	entry->next = drivers;
	drivers = entry;
}

static void
log_drivers(const char *devstr)
{
	if (drivers == NULL)
		IOPF_LOG(ERR, "\"%s\": no driver is loaded: link one with -Wl,--no-as-needed, or "
				"load it with -d", devstr);
	for (struct entry *e = drivers; e != NULL; e = e->next)
		IOPF_LOG(ERR, "\"%s\": no driver \"%.*s\"; begin with \"%s,\"", devstr,
				(int)strcspn(devstr, ","), devstr, e->driver->name);
}

static int
keys_check(const struct rte_kvargs *args, const struct iopf_driver *driver, const char *devstr)
{
	for (unsigned int i = 0; i < args->count; i++) {
		bool known = false;

		for (unsigned int k = 0; k < i; k++) {
			if (strcmp(args->pairs[i].key, args->pairs[k].key) == 0) {
				IOPF_LOG(ERR, "\"%s\": key \"%s\" is there twice; give it "
						"once", devstr,
						args->pairs[i].key);
				return -EINVAL;
			}
		}
		for (unsigned int k = 0; driver->params[k] != NULL; k++)
			known |= strcmp(args->pairs[i].key, driver->params[k]) == 0;
		if (!known || args->pairs[i].value == NULL) {
			IOPF_LOG(ERR, "\"%s\": %s \"%s\"; use \"%s,%s\"", devstr,
					known ? "no value for" : "unknown key",
					args->pairs[i].key, driver->name, driver->usage);
			return -EINVAL;
		}
	}
	return 0;
}

int
iopf_driver_open(struct iopf_iommu *iommu, const char *devstr)
{
	size_t len = strcspn(devstr, ",");
	const struct entry *entry = drivers;
	struct iopf_driver *driver;
	struct rte_kvargs *args;
	int ret;

	while (entry != NULL && (strlen(entry->driver->name) != len ||
			strncmp(entry->driver->name, devstr, len) != 0))
		entry = entry->next;
	if (entry == NULL) {
		log_drivers(devstr);
		return -ENODEV;
	}
	driver = entry->driver;
	iommu->driver = driver;

	args = rte_kvargs_parse(devstr[len] == ',' ? devstr + len + 1 : "", NULL);
	if (args == NULL) {
		IOPF_LOG(ERR, "\"%s\": not a list of key=value; use \"%s,%s\"", devstr,
				driver->name, driver->usage);
		return -EINVAL;
	}
	ret = keys_check(args, driver, devstr);
	if (ret == 0)
		ret = driver->ops.open(args, &iommu->info, &iommu->priv);
	rte_kvargs_free(args);
	iommu->info.driver = driver->name;
	return ret;
}
