/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PRG_RIG_H
#define PRG_RIG_H

/*
 * Groups of page requests on an IOMMU made of arrays, with devices whose operations only log their
 * calls.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "array_iommu.h"
#include "iopf.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"

#define SID	7
#define SID2	9
#define SHORT_WAIT_MS	50
#define SLOTS	64	/* minimum number of slots */
#define LAST	IOPF_EVENT_LAST

struct prg {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_dev *dev2;
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct iopf_worker *worker;

	enum iopf_verdict verdict;
	enum iopf_verdict (*in_handler)(const struct iopf_group *group);
	uint64_t last_id;
	unsigned int called;
	_Atomic unsigned int deferred_faults;
	_Atomic unsigned int called_deferred;
	_Atomic bool hold;	/* the deferred handler waits while set */
	_Atomic bool holding;
	unsigned int nb_faults;
	uint64_t addrs[IOPF_MAX_GROUP_FAULTS];
	uint32_t pasid;
	struct iopf_dev *of;
	unsigned int reported;
	struct iopf_fault report;

	/*
	 * A a: attach and detach at the IOMMU; T t: ATS on and off; P p: PRI on and off; d:
	 * pri_drained
	 */
	char log[64];
	uint32_t credits;
	bool not_drained;
	bool until_recovery;	/* not drained before a recovery */
	int fail;		/* result of the operation fail_op */
	char fail_op;
};

extern struct prg prg;

extern const struct iopf_pci_ops prg_ops;

int prg_log_call(char what);
enum iopf_verdict prg_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
void prg_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx);
void prg_mute_log(bool on);
/* The waits of calls for the two devices end soon: for a test of what a call leaves then. */
void prg_shorten_waits(void);
struct iopf_dev *prg_add_dev(uint32_t sid, struct iopf_dev_conf conf);
int prg_setup(void **state);
int prg_setup_pps(void **state);
int prg_teardown(void **state);
void prg_put(uint32_t sid, uint32_t pasid, uint16_t index, uint64_t addr, uint8_t flags);
void prg_put_mark(uint32_t sid, uint32_t pasid, uint8_t flag);
void prg_poll_all(void);
uint64_t prg_stat(enum iopf_iommu_stat which);
void prg_put_group(uint32_t sid, uint32_t pasid, uint16_t index, unsigned int n);

#define PRG_TEST(test)		cmocka_unit_test_setup_teardown(test, prg_setup, prg_teardown)
#define PRG_TEST_PPS(test)	cmocka_unit_test_setup_teardown(test, prg_setup_pps, prg_teardown)

#endif /* PRG_RIG_H */
