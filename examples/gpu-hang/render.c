/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "render.h"

/* What a shader finds in a descriptor that was freed. */
#define WRONG_ADDR	UINT64_C(0xdead00000000)

struct pixel {
	uint64_t lane;
	uint64_t frame;
};

_Static_assert(OPTIONS_MAX_LANES * sizeof(struct pixel) <= VM_BUFFER_MAX,
		"the buffer has a pixel for each lane");

struct render {
	struct render_conf conf;
	struct vm *vm;
	struct gpu_queue *queue;
	struct pixel *local;	/* the GPU's memory */
	bool running;
	bool wrong_addr;
	uint64_t frames;
	uint64_t wrong;
};

struct render *
render_open(const struct render_conf *conf)
{
	struct render *render = calloc(1, sizeof(*render));

	if (render == NULL) {
		fail("out of memory");
		return NULL;
	}
	render->conf = *conf;
	render->local = calloc(conf->lanes, sizeof(*render->local));
	if (render->local == NULL) {
		fail("out of memory");
		goto error;
	}
	render->vm = vm_open(&(struct vm_conf){ .iommu = conf->iommu, .dev = conf->dev,
			.pasid = conf->pasid, .breaker = conf->breaker });
	if (render->vm == NULL)
		goto error;
	render->queue = gpu_queue_open(conf->model, conf->sid, conf->pasid, conf->lanes);
	if (render->queue == NULL) {
		fail("cannot make a queue of the GPU: %s", strerror(errno));
		goto error;
	}
	return render;

error:
	render_close(render);
	return NULL;
}

void
render_close(struct render *render)
{
	if (render == NULL)
		return;
	gpu_queue_close(render->queue);
	vm_close(render->vm);
	free(render->local);
	free(render);
}

static void
begin_frame(struct render *render, uint64_t addr, bool replay)
{
	uint32_t i;

	render->frames++;
	for (i = 0; i < render->conf.lanes; i++)
		render->local[i] = (struct pixel){ .lane = i, .frame = render->frames };
	render->running = true;
	gpu_queue_run(render->queue, &(struct gpu_dispatch){ .store = true, .replay = replay,
			.lanes = render->conf.lanes, .size = sizeof(struct pixel),
			.addr = addr, .local = render->local });
}

void
render_begin(struct render *render)
{
	render->wrong_addr = false;
	begin_frame(render, VM_BASE, false);
}

void
render_begin_wrong(struct render *render, bool replay)
{
	render->wrong_addr = true;
	begin_frame(render, WRONG_ADDR, replay);
}

void
render_kill(struct render *render)
{
	gpu_queue_kill(render->queue);
}

/* A frame with a wrong pointer has left the pixels of the frame before it. */
static void
check_pixels(struct render *render)
{
	const struct pixel *pixels = vm_buffer(render->vm);
	uint64_t frame = render->frames - render->wrong_addr;
	uint32_t i;

	for (i = 0; i < render->conf.lanes; i++)
		render->wrong += pixels[i].frame != frame || pixels[i].lane != i;
}

unsigned int
render_poll(struct render *render)
{
	unsigned int n = gpu_queue_poll(render->queue);

	if (render->running && gpu_queue_is_idle(render->queue)) {
		render->running = false;
		check_pixels(render);
	}
	return n;
}

bool
render_is_idle(const struct render *render)
{
	return !render->running;
}

bool
render_is_hung(const struct render *render)
{
	return vm_is_hung(render->vm);
}

struct vm *
render_vm(const struct render *render)
{
	return render->vm;
}

void
render_get_stats(const struct render *render, struct render_stats *stats)
{
	stats->frames = render->frames;
	stats->wrong = render->wrong;
	vm_get_stats(render->vm, &stats->vm);
}

const struct gpu_stats *
render_gpu_stats(const struct render *render)
{
	return gpu_queue_stats(render->queue);
}
