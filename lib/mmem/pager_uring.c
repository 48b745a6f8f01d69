/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Fetches and writes of pagers as requests of a ring. */

#include <errno.h>
#include <stdlib.h>

#include "mmem.h"
#include "mmem_uring.h"

struct pager_request {
	struct mmem_request request;	/* the first member */
	struct mmem_fetch *fetch;
	struct mmem_write *write;
	void (*written)(void *ctx, off_t at);
	void *ctx;
};

static void
end_fetch(struct mmem_request *request, int error)
{
	struct pager_request *r = (struct pager_request *)request;
	struct mmem_fetch *fetch = r->fetch;

	free(r);
	mmem_fetch_done(fetch, error);
}

static void
end_write(struct mmem_request *request, int error)
{
	struct pager_request *r = (struct pager_request *)request;
	struct mmem_write *write = r->write;

	if (error == 0 && r->written != NULL)
		r->written(r->ctx, request->offset);
	free(r);
	mmem_write_done(write, error);
}

int
mmem_uring_fetch(struct mmem_uring *ring, const struct mmem_file *file, off_t at, void *dst,
		size_t len, struct mmem_fetch *fetch)
{
	struct pager_request *r = malloc(sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	*r = (struct pager_request){ .fetch = fetch, .request = { .file = file, .offset = at,
			.bytes = dst, .len = len, .end = end_fetch } };
	mmem_uring_submit(ring, &r->request);
	return 0;
}

int
mmem_uring_write(struct mmem_uring *ring, const struct mmem_file *file, off_t at, const void *src,
		size_t len, struct mmem_write *write, void (*written)(void *ctx, off_t at),
		void *ctx)
{
	struct pager_request *r = malloc(sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	*r = (struct pager_request){ .write = write, .written = written, .ctx = ctx,
		.request = { .file = file, .is_write = true, .offset = at,
			.bytes = (void *)(uintptr_t)src, .len = len, .end = end_write } };
	mmem_uring_submit(ring, &r->request);
	return 0;
}
