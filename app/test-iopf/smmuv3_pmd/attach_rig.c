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

int
rig_attach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid, void *domain)
{
	struct rig_attachment *a = malloc(sizeof(*a));
	int ret;

	if (a == NULL)
		return -ENOMEM;
	*a = (struct rig_attachment){ .s = s, .dev = dev, .pasid = pasid };
	ret = ops->attach(s, dev, pasid, domain, &a->handle);
	if (a->handle == NULL) {
		free(a);
		return ret;
	}
	pthread_mutex_lock(&lock);
	a->next = attachments;
	attachments = a;
	pthread_mutex_unlock(&lock);
	return ret;
}

static struct rig_attachment **
find_link(void *s, void *dev, uint32_t pasid)
{
	struct rig_attachment **link = &attachments;

	while (*link != NULL && ((*link)->s != s || (*link)->dev != dev || (*link)->pasid != pasid))
		link = &(*link)->next;
	return link;
}

int
rig_detach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid)
{
	struct rig_attachment **link, *a;
	int ret;

	pthread_mutex_lock(&lock);
	a = *find_link(s, dev, pasid);
	pthread_mutex_unlock(&lock);
	if (a == NULL)
		return -ENOENT;
	ret = ops->detach(s, a->handle);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&lock);
	link = find_link(s, dev, pasid);
	*link = a->next;
	pthread_mutex_unlock(&lock);
	free(a);
	return 0;
}
