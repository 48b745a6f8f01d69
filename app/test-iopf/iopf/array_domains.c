/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Domains and attachments of the IOMMU made of arrays, and their handles. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "array_parts.h"

/* A released handle is kept, so that its use is seen. */
struct array_domain {
	_Atomic unsigned int users;	/* attachments, and invalidations under way */
	_Atomic bool released;
	struct array_domain *parent, *next;
};

struct array_attachment {
	struct array_domain *domain;
	_Atomic bool released;
	struct array_attachment *next;
};

static struct array_domain *domains;
static struct array_attachment *attachments;

void
array_free_handles(void)
{
	while (domains != NULL) {
		struct array_domain *next = domains->next;

		free(domains);
		domains = next;
	}
	while (attachments != NULL) {
		struct array_attachment *next = attachments->next;

		free(attachments);
		attachments = next;
	}
}

void
array_use_domain(void *domain)
{
	struct array_domain *d = domain;

	if (d->released)
		hw.misused++;
	d->users++;
}

void
array_leave_domain(void *domain)
{
	((struct array_domain *)domain)->users--;
}

int
array_domain_add(void *priv, const struct iopf_translation *translation, void *parent,
		void **domain)
{
	struct array_domain *d = calloc(1, sizeof(*d));

	(void)priv;
	(void)translation;
	if (d == NULL)
		return -ENOMEM;
	d->parent = parent;
	if (parent != NULL)
		array_use_domain(parent);
	pthread_mutex_lock(&hw.lock);
	d->next = domains;
	domains = d;
	pthread_mutex_unlock(&hw.lock);
	*domain = d;
	hw.domains++;
	return 0;
}

void
array_domain_del(void *priv, void *domain)
{
	struct array_domain *d = domain;

	(void)priv;
	if (d->users != 0 || d->released)
		hw.misused++;
	d->released = true;
	if (d->parent != NULL)
		array_leave_domain(d->parent);
	hw.domains--;
}

static struct array_attachment *
new_attachment(struct array_domain *domain)
{
	struct array_attachment *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->domain = domain;
	array_use_domain(domain);
	pthread_mutex_lock(&hw.lock);
	a->next = attachments;
	attachments = a;
	pthread_mutex_unlock(&hw.lock);
	hw.attached++;
	return a;
}

int
array_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment)
{
	struct array_attachment *a;
	int ret;

	(void)priv;
	(void)dev;
	(void)pasid;
	*attachment = NULL;
	ret = array_apply_knob(ARRAY_ATTACH);
	if (hw.fail_attach != 0)
		ret = hw.fail_attach;
	if (ret != 0 && !hw.attach_half)
		return ret;
	a = new_attachment(domain);
	if (a == NULL)
		return -ENOMEM;
	*attachment = a;
	if (hw.on_attach != NULL)
		hw.on_attach(true);
	return ret;
}

int
array_detach(void *priv, void *attachment)
{
	struct array_attachment *a = attachment;
	int ret;

	(void)priv;
	if (a->released)
		hw.misused++;
	ret = array_apply_knob(ARRAY_DETACH);
	if (ret != 0)
		return ret;
	a->released = true;
	array_leave_domain(a->domain);
	hw.attached--;
	if (hw.on_attach != NULL)
		hw.on_attach(false);
	return 0;
}

int
array_stall_set(void *priv, void *attachment, bool on)
{
	int ret = array_apply_knob(ARRAY_STALL_SET);

	(void)priv;
	if (((struct array_attachment *)attachment)->released)
		hw.misused++;
	if (ret == 0 && hw.stall_forced && !on)
		ret = -ENOTSUP;
	if (ret == 0)
		hw.stalls = on;
	return ret;
}

int
array_replace(void *priv, void *attachment, void *domain, void **next)
{
	struct array_attachment *old = attachment;
	int ret;

	(void)priv;
	*next = NULL;
	if (old->released)
		hw.misused++;
	if (hw.on_replace != NULL)
		hw.on_replace();
	ret = array_apply_knob(ARRAY_REPLACE);
	if (ret != 0 && !hw.replace_half)
		return ret;
	*next = new_attachment(domain);
	if (*next == NULL)
		return -ENOMEM;
	if (hw.on_replace != NULL)
		hw.on_replace();
	if (ret != 0)
		return ret;
	old->released = true;
	array_leave_domain(old->domain);
	hw.attached--;
	return 0;
}

int
array_invalidate_typed(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	hw.invalidated_typed++;
	return array_invalidate(priv, domain, inv, n, result);
}

int
array_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	int ret;

	(void)priv;
	(void)inv;
	hw.invalidated++;
	array_use_domain(domain);
	ret = array_apply_knob(ARRAY_INVALIDATE);
	if (hw.invalidate_us != 0)
		usleep(hw.invalidate_us);
	array_leave_domain(domain);
	*result = (struct iopf_inv_result){ .error = IOPF_INV_TIMEOUT };
	if (ret != 0)
		return ret;
	if (hw.invalidate_fails_at < n) {
		*result = (struct iopf_inv_result){ .done = hw.invalidate_fails_at,
			.failed = hw.invalidate_fails_at, .error = IOPF_INV_ILL };
		return -EIO;
	}
	return 0;
}
