/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_errno.h>

#include <smmuv3_model.h>

#include "engine.h"

struct model_engine {
	struct smmuv3_model *model;
	struct smmuv3_model_dma *dma;
};

static void
model_close(void *engine)
{
	struct model_engine *e = engine;

	if (e == NULL)
		return;
	smmuv3_model_dma_destroy(e->dma);
	free(e);
}

static void *
model_open(const struct dma_conf *conf)
{
	struct model_engine *e = calloc(1, sizeof(*e));

	if (e == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	e->model = conf->model;
	e->dma = smmuv3_model_dma_create(conf->model, &(struct smmuv3_model_dma_conf){
			.sid = conf->sid, .depth = conf->depth });
	if (e->dma == NULL) {
		rte_errno = errno;
		free(e);
		return NULL;
	}
	return e;
}

static int
model_submit(void *engine, struct dma_req *req)
{
	struct model_engine *e = engine;

	return smmuv3_model_dma_submit(e->dma, &(struct smmuv3_model_op){
			.type = req->write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ,
			.addr = req->addr, .buf = req->buf, .len = req->len,
			.cookie = (uintptr_t)req });
}

static unsigned int
model_poll(void *engine, struct engine_done *done, unsigned int n)
{
	struct smmuv3_model_done ended[32];
	struct model_engine *e = engine;
	unsigned int i;

	n = smmuv3_model_dma_poll(e->dma, ended, RTE_MIN(n, (unsigned int)RTE_DIM(ended)));
	for (i = 0; i < n; i++) {
		done[i].req = (struct dma_req *)(uintptr_t)ended[i].cookie;
		done[i].aborted = ended[i].status != SMMUV3_MODEL_OK;
	}
	return n;
}

static void
model_wait(void *engine)
{
	struct model_engine *e = engine;

	smmuv3_model_wait(e->model);
}

const struct engine_ops engine_model = {
	.open = model_open,
	.close = model_close,
	.submit = model_submit,
	.poll = model_poll,
	.wait = model_wait,
};
