/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend_rig.h"
#include "test.h"

#define NB_PAGES	8
/* The kernel maps nothing else in this range, and the sanitizers permit it. */
#define BASE		(UINT64_C(1) << 30)
#define SIZE		(UINT64_C(128) << 20)

static _Atomic(struct smmuv3_model *) models[NB_PAGES];	/* of page files, by their place */
const struct backend_rig_relay *backend_rig_relay;

bool
backend_rig_is_relay(void)
{
	const char *s = getenv("IOPF_TEST_BACKEND");

	return s != NULL && strcmp(s, "relay") == 0 && backend_rig_relay != NULL;
}

/* The loop of a test, and the models' threads, yield too; without models nothing is added. */
int
sched_yield(void)
{
	static _Thread_local bool inside;

	for (unsigned int i = 0; i < NB_PAGES && !inside; i++) {
		struct smmuv3_model *m = atomic_load(&models[i]);

		inside = true;
		if (m != NULL && backend_rig_is_relay())
			backend_rig_relay->yield(m);
		else if (m != NULL)
			smmuv3_model_wait(m);
		inside = false;
	}
	return (int)syscall(SYS_sched_yield);
}

static bool
is_page_wanted(void)
{
	const char *s = getenv("IOPF_TEST_BACKEND");

	return backend_rig_is_relay() || (s != NULL && strcmp(s, "page") == 0);
}

bool
backend_rig_lacks(const struct smmuv3_model_conf *conf)
{
	return backend_rig_is_relay() && backend_rig_relay->find_missing(conf) != NULL;
}

struct smmuv3_model *
backend_rig_create(struct backend_rig *r, const struct smmuv3_model_conf *conf, const char *name)
{
	static unsigned int serial;
	struct smmuv3_model_conf mine = { .name = NULL }, host;
	const char *why;
	char own_name[32];
	unsigned int i = 0;

	memset(r, 0, sizeof(*r));
	if (conf != NULL)
		mine = *conf;
	why = backend_rig_is_relay() ? backend_rig_relay->find_missing(&mine) : NULL;
	if (why != NULL)
		test_skip(why);
	snprintf(own_name, sizeof(own_name), "rig%u", serial++);
	mine.name = name != NULL ? name : own_name;
	r->is_page = is_page_wanted();
	if (r->is_page) {
		while (i < NB_PAGES && atomic_load(&models[i]) != NULL)
			i++;
		assert_int_not_equal(i, NB_PAGES);
		assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
			.regs_size = 32 << 20,
			.mem_addr = BASE + i * SIZE,
			.mem_size = SIZE,
			.mem_driver = SIZE / 2,
		}, &r->page), 0);
		mine.regs = r->page.regs;
		mine.regs_size = r->page.regs_size;
	}
	host = backend_rig_is_relay() ? backend_rig_relay->make_host_conf(&mine) : mine;
	r->m = smmuv3_model_create(&host);
	assert_non_null(r->m);
	if (backend_rig_is_relay())
		r->relay = backend_rig_relay->create(r->m, &mine, &r->page);
	else if (r->is_page)
		assert_int_equal(smmuv3_model_mem_add(r->m, r->page.mem_addr, r->page.mem,
				r->page.mem_size), 0);
	if (r->is_page) {
		atomic_store(&models[i], r->m);
		snprintf(r->devstr, sizeof(r->devstr), "page=%s", r->page.path);
	} else {
		snprintf(r->devstr, sizeof(r->devstr), "model=%s", mine.name);
	}
	return r->m;
}

void *
backend_rig_alloc(struct backend_rig *r, size_t len)
{
	assert_null(r->memory);
	if (r->is_page) {
		assert_true(len <= SIZE / 2);
		return (void *)(uintptr_t)(r->page.mem_addr + SIZE / 2);
	}
	r->memory = aligned_alloc(1 << 16, len);
	assert_non_null(r->memory);
	memset(r->memory, 0, len);
	return r->memory;
}

void
backend_rig_destroy(struct backend_rig *r)
{
	for (unsigned int i = 0; i < NB_PAGES; i++)
		if (atomic_load(&models[i]) == r->m)
			atomic_store(&models[i], NULL);
	if (r->relay != NULL)
		backend_rig_relay->destroy(r->relay);
	smmuv3_model_destroy(r->m);
	if (r->is_page)
		smmuv3_model_page_destroy(&r->page);
	free(r->memory);
	r->m = NULL;
	r->memory = NULL;
}

void
backend_rig_skip_page(const char *why)
{
	if (is_page_wanted())
		test_skip(why);
}
