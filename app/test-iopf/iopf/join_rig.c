/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "join_rig.h"
#include "test.h"

struct join join;

enum iopf_verdict
join_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	join.called++;
	join.id = group->id;
	for (unsigned int i = 0; i < join.nb_inv; i++)
		assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
				.addr = group->faults[0]->addr & ~UINT64_C(0xfff),
				.size = 0x1000 }));
	if (join.respond)
		assert_int_equal(0, iopf_group_respond(group->id, IOPF_SUCCESS));
	return join.verdict;
}

static enum iopf_verdict
on_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	join.id = group->id;
	join.holding = true;
	while (join.hold)
		usleep(10);
	join.called_deferred++;
	return join.deferred_verdict;
}

static struct iopf_dev *
add_stall_dev(uint32_t sid)
{
	struct iopf_dev *dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1, .nb_pasids = 16, .wait_ms = 1000 });

	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(join.domain, dev, 1));
	return dev;
}

void
join_add_devs(void)
{
	join.a = add_stall_dev(SID_A);
	join.b = add_stall_dev(SID_B);
}

void
join_open_domain(struct iopf_domain_conf conf)
{
	conf.handler = join_fast;
	conf.deferred = on_deferred;
	conf.worker = join.worker;
	join.domain = iopf_domain_create(&conf);
	assert_non_null(join.domain);
	assert_int_equal(0, iopf_domain_attach(join.domain, prg.dev, 3));
	join_add_devs();
}

void
join_close_domain(void)
{
	assert_int_equal(0, iopf_domain_detach(join.domain, prg.dev, 3));
	assert_int_equal(0, iopf_dev_remove(join.a));
	if (join.b != NULL)
		assert_int_equal(0, iopf_dev_remove(join.b));
	assert_int_equal(0, iopf_domain_destroy(join.domain));
}

int
join_setup(void **state)
{
	prg_setup(state);
	memset(&join, 0, sizeof(join));
	join.worker = iopf_worker_create(NULL);
	join.verdict = IOPF_TAKEN;
	join.deferred_verdict = IOPF_ANSWER(IOPF_SUCCESS);
	join_open_domain((struct iopf_domain_conf){
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	return 0;
}

int
join_teardown(void **state)
{
	join.hold = false;
	join_close_domain();
	assert_int_equal(0, iopf_worker_destroy(join.worker));
	return prg_teardown(state);
}

void
join_put_stall(uint32_t sid, uint16_t stag, uint64_t addr, uint8_t perm)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = addr, .sid = sid, .pasid = 1,
			.token = stag, .perm = perm, .flags = IOPF_EVENT_STALL });
}

uint64_t
join_stat(enum iopf_stat which)
{
	return iopf_domain_stat(join.domain, which);
}

void
join_await_counts(void)
{
	for (unsigned int i = 0; i < 200000 && iopf_domain_pending(join.domain) != 0; i++)
		usleep(100);
	assert_int_equal(0, iopf_domain_pending(join.domain));
}

void
join_check_answers(unsigned int n, const uint16_t *tokens, enum iopf_code code)
{
	unsigned int seen = 0;

	assert_int_equal(n, hw.nb_out);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(code, hw.out[i].answer.code);
		for (unsigned int k = 0; k < n; k++)
			seen |= (hw.out[i].answer.token == tokens[k]) << k;
	}
	/* Joined faults have no order among themselves. */
	assert_int_equal(tokens[0], hw.out[0].answer.token);
	assert_int_equal((1u << n) - 1, seen);
	join_await_counts();
}
