/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RELAY_RIG_H
#define RELAY_RIG_H

/*
 * Two levels: IOPF_TEST_BACKEND=relay. The driver of a test is the guest's:
 *
 *	driver of the test -- page file -- relay -- host's driver -- software SMMU -- devices
 *
 * The relay is that of examples/vmm-relay, and has a thread of its own, the VMM, which polls the
 * host's SMMU too. The test holds the software SMMU: its devices are those of the guest, with equal
 * StreamIDs. The stage 2 maps the guest's memory to other addresses.
 *
 * While the software SMMU has no thread, the VMM runs one turn in each smmuv3_model_step() and
 * sched_yield() of another thread, which wait for its end: so nothing happens between two steps, as
 * without the relay. The program is linked with --wrap for the three functions of the model.
 *
 * What a virtual SMMU cannot have is in relay_skips.c.
 */

#include "smmuv3_model.h"
#include "smmuv3_model_page.h"

struct relay_rig;

/* What of a test's @p conf the host's SMMU has: the rest is the virtual SMMU's. */
struct smmuv3_model_conf relay_rig_make_host_conf(const struct smmuv3_model_conf *conf);
/* @p m is the host's, @p page is the guest's. Fails the test on an error. */
struct relay_rig *relay_rig_create(struct smmuv3_model *m, const struct smmuv3_model_conf *conf,
		const struct smmuv3_model_page *page);
/*
 * After the guest's driver is closed. Fails the test if something is stalled, or if the host's
 * driver made an error.
 */
void relay_rig_destroy(struct relay_rig *r);

/* The virtual SMMU before this model, or NULL. */
struct smmuv3_front;
struct smmuv3_front *relay_rig_find_front(const struct smmuv3_model *m);

/* relay_skips.c: why a virtual SMMU cannot be as @p conf says, or NULL. */
const char *relay_rig_find_missing(const struct smmuv3_model_conf *conf);

#endif /* RELAY_RIG_H */
