/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "attachment.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "prg_rig.h"
#include "iopf_iommu.h"
#include "test.h"

#define NB_PASIDS 16

struct prg prg;

int
prg_log_call(char what)
{
	size_t len = strlen(prg.log);

	if (len + 1 < sizeof(prg.log) && (what != 'd' || len == 0 || prg.log[len - 1] != 'd'))
		prg.log[len] = what;
	return what == prg.fail_op ? prg.fail : 0;
}

static void
on_attach(bool attached)
{
	prg_log_call(attached ? 'A' : 'a');
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	assert_ptr_equal(ctx, &prg);
	assert_int_equal(12, stu);
	return prg_log_call('T');
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return prg_log_call('t');
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)ctx;
	prg.credits = n;
	return prg_log_call('P');
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return prg_log_call('p');
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	prg_log_call('d');
	return !prg.not_drained && iopf_domain_pending(prg.domain) == 0 &&
		(!prg.until_recovery || iopf_iommu_stat(prg.iommu, IOPF_IOMMU_STAT_RESETS) != 0);
}

const struct iopf_pci_ops prg_ops = {
	.ats_enable = ats_enable, .ats_disable = ats_disable,
	.pri_enable = pri_enable, .pri_disable = pri_disable, .pri_drained = pri_drained,
};

enum iopf_verdict
prg_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	prg.called++;
	prg.last_id = group->id;
	prg.nb_faults = group->nb_faults;
	prg.pasid = group->pasid;
	prg.of = group->dev;
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		assert_true(group->faults[i]->flags & IOPF_FAULT_PAGE_REQUEST);
		assert_int_equal(group->pasid, group->faults[i]->pasid);
		prg.addrs[i] = group->faults[i]->addr;
	}
	return prg.in_handler != NULL ? prg.in_handler(group) : prg.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	prg.holding = true;
	while (atomic_load(&prg.hold))
		usleep(10);
	for (unsigned int i = 0; i < group->nb_faults; i++)
		assert_int_equal(0x1000 * (i + 1), group->faults[i]->addr);
	prg.deferred_faults = group->nb_faults;
	prg.called_deferred++;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

void
prg_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	(void)iommu;
	(void)ctx;
	prg.reported++;
	prg.report = *fault;
}

void
prg_mute_log(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}

void
prg_shorten_waits(void)
{
	prg.dev->conf.wait_ms = SHORT_WAIT_MS;
	prg.dev2->conf.wait_ms = SHORT_WAIT_MS;
}

struct iopf_dev *
prg_add_dev(uint32_t sid, struct iopf_dev_conf conf)
{
	conf.sids = &sid;
	conf.nb_sids = 1;
	conf.nb_pasids = NB_PASIDS;
	conf.recover = IOPF_PRI;
	conf.wait_ms = 1000;
	conf.pci = &prg_ops;
	conf.ctx = &prg;
	return iopf_dev_add(prg.iommu, &conf);
}

static int
open_iommu(bool pps)
{
	memset(&prg, 0, sizeof(prg));
	array_iommu_reset();
	hw.requests = true;
	hw.pri_pasid = pps;
	hw.on_attach = on_attach;
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(prg.iommu);
	assert_int_equal(0, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .report = prg_report, .partial_ms = 60000 }));
	prg.worker = iopf_worker_create(NULL);
	prg.dev = prg_add_dev(SID, (struct iopf_dev_conf){ .pri_requests = 8 });
	prg.dev2 = prg_add_dev(SID2, (struct iopf_dev_conf){ .pri_requests = 2,
			.prg_pasid = true });
	assert_non_null(prg.dev);
	assert_non_null(prg.dev2);
	prg.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = prg_fast,
			.deferred = deferred, .worker = prg.worker });
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, 1));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, 2));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
	prg.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	memset(prg.log, 0, sizeof(prg.log));
	return 0;
}

int
prg_setup(void **state)
{
	(void)state;
	return open_iommu(false);
}

int
prg_setup_pps(void **state)
{
	(void)state;
	return open_iommu(true);
}

int
prg_teardown(void **state)
{
	(void)state;
	prg.not_drained = false;
	prg.fail = 0;
	assert_int_equal(0, iopf_dev_remove(prg.dev));
	assert_int_equal(0, iopf_dev_remove(prg.dev2));
	assert_int_equal(0, iopf_iommu_requests_granted(prg.iommu));
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_int_equal(0, iopf_poller_destroy(prg.poller));
	assert_int_equal(0, iopf_domain_destroy(prg.domain));
	assert_int_equal(0, iopf_worker_destroy(prg.worker));
	assert_int_equal(0, iopf_iommu_close(prg.iommu));
	prg_mute_log(false);
	return 0;
}

void
prg_put(uint32_t sid, uint32_t pasid, uint16_t index, uint64_t addr, uint8_t flags)
{
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = addr, .sid = sid,
			.pasid = pasid, .token = index, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | flags });
}

void
prg_put_mark(uint32_t sid, uint32_t pasid, uint8_t flag)
{
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .sid = sid, .pasid = pasid,
			.flags = flag });
}

void
prg_poll_all(void)
{
	while (iopf_poll(prg.poller) != 0)
		;
}

uint64_t
prg_stat(enum iopf_iommu_stat which)
{
	return iopf_iommu_stat(prg.iommu, which);
}

void
prg_put_group(uint32_t sid, uint32_t pasid, uint16_t index, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		prg_put(sid, pasid, index, 0x1000 * (i + 1), i == n - 1 ? LAST : 0);
}
