/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contracts 12 and 15: a suspend of an IOMMU whose device has control calls without pause. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "attachment.h"
#include "power_rig.h"
#include "test.h"

#define REPLACERS	3
#define TURNS		10

struct replacer {
	struct power *p;
	struct pcie_space spaces[2];
	_Atomic bool *end;
	uint64_t overtakes;	/* calls begun and ended while the suspend waited for its turn */
	uint64_t errors;
};

static struct {
	_Atomic uint64_t nb_pri_off;
	int (*real)(struct iopf_dev *dev, void *ctx);
} turn;

static int
pri_disable_and_count(struct iopf_dev *dev, void *ctx)
{
	atomic_fetch_add(&turn.nb_pri_off, 1);
	return turn.real(dev, ctx);
}

static void *
replace_domains(void *arg)
{
	struct replacer *r = arg;
	struct iopf_dev *dev = r->p->fn.dev;

	for (unsigned int i = 0; !atomic_load(r->end); i++) {
		uint64_t nb_off = atomic_load(&turn.nb_pri_off);
		bool waits = atomic_load(&dev->nb_state_waits) != 0;

		r->errors += iopf_domain_replace(r->spaces[i % 2].domain, dev,
				IOPF_NO_PASID) != 0;
		r->overtakes += waits && atomic_load(&turn.nb_pri_off) == nb_off;
	}
	return NULL;
}

/* Of each thread one call may be ahead, when the wait begins or ends. */
static void
a_suspend_gets_its_turn_among_control_calls_without_pause(void **state)
{
	struct replacer replacers[REPLACERS];
	pthread_t threads[REPLACERS];
	_Atomic bool end = false;
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	power_run_model(&p);
	p.fn.silent = true;
	p.fn.dev->conf.wait_ms = 60000;
	turn.real = p.fn.dev->pci.pri_disable;
	p.fn.dev->pci.pri_disable = pri_disable_and_count;
	for (unsigned int i = 0; i < REPLACERS; i++) {
		replacers[i] = (struct replacer){ .p = &p, .end = &end };
		for (unsigned int k = 0; k < 2; k++)
			pcie_create_space(&p.r, &replacers[i].spaces[k]);
		assert_int_equal(pthread_create(&threads[i], NULL, replace_domains,
				&replacers[i]), 0);
	}
	for (unsigned int i = 0; i < TURNS; i++) {
		int ret = iopf_iommu_suspend(p.r.iommu, i % 2 != 0 ? IOPF_SUSPEND_FORCE : 0);

		assert_true(ret == 0 || ret == -EBUSY);
		assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
	}
	atomic_store(&end, true);
	for (unsigned int i = 0; i < REPLACERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(replacers[i].errors, 0);
		/* A suspend and a resume take turns. */
		assert_in_range(replacers[i].overtakes, 0, 2 * 2 * TURNS);
	}
	p.fn.dev->pci.pri_disable = turn.real;
	power_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_suspend_gets_its_turn_among_control_calls_without_pause),
};

TEST_SUITE(power_turn, tests, NULL, NULL);
