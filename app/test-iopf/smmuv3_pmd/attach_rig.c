/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "attach_rig.h"

struct rig_attachment {
	struct rig_attachment *next;
	void *s, *dev, *handle;
	uint32_t pasid;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rig_attachment *attachments;

static int
keep_handle(void *s, void *dev, uint32_t pasid, void *handle)
{
	struct rig_attachment *a = malloc(sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	*a = (struct rig_attachment){ .s = s, .dev = dev, .pasid = pasid, .handle = handle };
	pthread_mutex_lock(&lock);
	a->next = attachments;
	attachments = a;
	pthread_mutex_unlock(&lock);
	return 0;
}

int
rig_attach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid, void *domain)
{
	void *handle;
	int ret;

	ret = ops->attach(s, dev, pasid, domain, &handle);
	if (handle != NULL && keep_handle(s, dev, pasid, handle) < 0)
		return -ENOMEM;
	return ret;
}

static struct rig_attachment **
find_next(struct rig_attachment **link, void *s, void *dev, uint32_t pasid)
{
	while (*link != NULL && ((*link)->s != s || (*link)->dev != dev || (*link)->pasid != pasid))
		link = &(*link)->next;
	return link;
}

static struct rig_attachment **
find_link(void *s, void *dev, uint32_t pasid)
{
	return find_next(&attachments, s, dev, pasid);
}

static void
forget_handle(const struct rig_attachment *a)
{
	struct rig_attachment **link = &attachments;

	pthread_mutex_lock(&lock);
	while (*link != a)
		link = &(*link)->next;
	*link = a->next;
	pthread_mutex_unlock(&lock);
}

int
rig_detach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid)
{
	struct rig_attachment *a;
	int ret;

	pthread_mutex_lock(&lock);
	a = *find_link(s, dev, pasid);
	pthread_mutex_unlock(&lock);
	if (a == NULL)
		return -ENOENT;
	ret = ops->detach(s, a->handle);
	if (ret < 0)
		return ret;
	forget_handle(a);
	free(a);
	return 0;
}

int
rig_replace(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid, void *domain)
{
	struct rig_attachment *a;
	void *next;
	int ret;

	pthread_mutex_lock(&lock);
	a = *find_link(s, dev, pasid);
	pthread_mutex_unlock(&lock);
	if (a == NULL)
		return -ENOENT;
	ret = ops->replace(s, a->handle, domain, &next);
	if (next != NULL && keep_handle(s, dev, pasid, next) < 0)
		return -ENOMEM;
	if (ret == 0) {
		forget_handle(a);
		free(a);
	}
	return ret;
}

/* The last of the list, which has the newest first. */
static struct rig_attachment *
find_oldest(void *s, void *dev, uint32_t pasid, unsigned int *n)
{
	struct rig_attachment *a = NULL, **link;

	*n = 0;
	pthread_mutex_lock(&lock);
	for (link = find_link(s, dev, pasid); *link != NULL;
			link = find_next(&(*link)->next, s, dev, pasid)) {
		a = *link;
		++*n;
	}
	pthread_mutex_unlock(&lock);
	return a;
}

unsigned int
rig_count_handles(void *s, void *dev, uint32_t pasid)
{
	unsigned int n;

	find_oldest(s, dev, pasid, &n);
	return n;
}

int
rig_finish_replace(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid)
{
	unsigned int n;
	struct rig_attachment *a = find_oldest(s, dev, pasid, &n);
	int ret;

	if (n < 2)
		return 0;
	ret = ops->detach(s, a->handle);
	if (ret == 0) {
		forget_handle(a);
		free(a);
	}
	return ret;
}
