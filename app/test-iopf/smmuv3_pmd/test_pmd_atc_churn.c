/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Threads: endpoints come, go and stop answering while others invalidate and access memory. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "ats_rig.h"
#include "iopf_handler.h"
#include "smmuv3_model_test.h"
#include "test.h"

struct churn {
	struct pmd p;
	void *domain;
	uint8_t *page;
	_Atomic bool stop;
	bool deaths;			/* ATCs may not answer: ats_invalidate() fails */
	/* Invalidations: the page was not written afterwards, was written, invalidate() failed. */
	uint64_t kept, broken, errors;
	struct smmuv3_model_dma *dma[2];
};

/*
 * Contract 11: after invalidate() has returned 0 the device does not write the page. The oracle
 * checks this too.
 */
static void *
keep_invalidating(void *arg)
{
	struct churn *c = arg;
	uint64_t *pte = pmd_get_pte(&c->p, VA), value = *pte;
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	unsigned int done, i;
	int ret;

	while (!atomic_load(&c->stop)) {
		__atomic_store_n(pte, value, __ATOMIC_RELEASE);
		for (i = 0; i < 4; i++)
			sched_yield();
		__atomic_store_n(pte, 0, __ATOMIC_RELEASE);
		if (c->kept & 1)
			c->p.ops->answer_after(c->p.s, c->domain, &inv, 1, NULL, 0);
		ret = ats_invalidate(&c->p, c->domain, VA, &done);
		if (ret == -EIO && c->deaths) {
			c->errors++;
			continue;
		}
		if (ret != 0) {
			c->broken++;
			return NULL;
		}
		__atomic_store_n(c->page, 0, __ATOMIC_RELAXED);
		for (i = 0; i < 4; i++)
			sched_yield();
		if (__atomic_load_n(c->page, __ATOMIC_RELAXED) == 0)
			c->kept++;
		else
			c->broken++;
	}
	return NULL;
}

static void *
keep_writing(void *arg)
{
	struct churn *c = arg;
	uint8_t byte = 3;

	while (!atomic_load(&c->stop)) {
		smmuv3_model_dma_write(c->dma[0], VA, &byte, 1);
		smmuv3_model_dma_write(c->dma[1], VA, &byte, 1);
		sched_yield();
	}
	return NULL;
}

static void
run_churn(bool deaths)
{
	static struct churn c;
	pthread_t inv, traffic;
	void *dev, *other, *stays;
	struct pmd *p = &c.p;
	unsigned int i, k;

	memset(&c, 0, sizeof(c));
	c.deaths = deaths;
	ats_open(p, NULL);
	c.domain = ats_add_domain(p);
	c.page = ats_map(p, VA);
	stays = ats_add_dev(p, SID, 8);
	dev = ats_add_dev(p, SID + 1, 8);
	other = ats_add_dev(p, SID + 2, 8);
	ats_attach(p, stays, 7, c.domain);
	c.dma[0] = ats_add_engine(p, SID + 1, 2, false);
	c.dma[1] = ats_add_engine(p, SID + 2, IOPF_NO_PASID, false);
	ats_run_model(p);
	assert_int_equal(pthread_create(&inv, NULL, keep_invalidating, &c), 0);
	assert_int_equal(pthread_create(&traffic, NULL, keep_writing, &c), 0);
	for (i = 0; i < 150; i++) {
		ats_attach(p, dev, 2, c.domain);
		ats_attach(p, other, IOPF_NO_PASID, c.domain);
		ats_attach(p, dev, 1, c.domain);
		if (deaths && i % 3 != 0)
			smmuv3_model_dma_quirks(c.dma[1], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		for (k = 0; k < i % 8; k++) {
			p->ops->check(p->s);
			sched_yield();
		}
		ats_detach(p, dev, i & 1 ? 2 : 1);
		ats_detach(p, other, IOPF_NO_PASID);
		if (deaths) {
			smmuv3_model_dma_quirks(c.dma[1], 0, 0);
			smmuv3_model_dma_reset(c.dma[1]);
			smmuv3_model_dma_ats_enable(c.dma[1], 0);
		}
		ats_detach(p, dev, i & 1 ? 1 : 2);
	}
	atomic_store(&c.stop, true);
	assert_int_equal(pthread_join(inv, NULL), 0);
	assert_int_equal(pthread_join(traffic, NULL), 0);
	print_message("  %u invalidations, %u errors, %u cut off\n", (unsigned int)c.kept,
			(unsigned int)c.errors, (unsigned int)pmd_read_stat(p, "atc_cuts"));
	assert_int_equal(c.broken, 0);
	assert_true(c.kept > 0);
	assert_int_equal(pmd_read_stat(p, "atc_cuts") > 0, deaths);
	assert_int_equal(smmuv3_model_stop(p->m), 0);
	for (i = 0; i < 2; i++)
		smmuv3_model_dma_destroy(c.dma[i]);
	ats_detach(p, stays, 7);
	p->ops->domain_del(p->s, c.domain);
	p->ops->dev_del(p->s, stays);
	p->ops->dev_del(p->s, dev);
	p->ops->dev_del(p->s, other);
	ats_close(p);
}

static void
test_devices_come_and_go_under_invalidations(void **state)
{
	(void)state;
	run_churn(false);
}

static void
test_atcs_die_and_come_back_under_invalidations(void **state)
{
	(void)state;
	run_churn(true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_devices_come_and_go_under_invalidations),
	cmocka_unit_test(test_atcs_die_and_come_back_under_invalidations),
};

TEST_SUITE(pmd_atc_churn, tests, NULL, NULL);
