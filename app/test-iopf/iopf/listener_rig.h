/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LISTENER_RIG_H
#define LISTENER_RIG_H

/* Listeners on an IOMMU made of arrays. */

#include <stdint.h>

#include "iopf_listener.h"
#include "iopf_rig.h"

#define OTHER_SID 9		/* of no device */

/* Open a listener: of the IOMMU if conf.dev is NULL. */
struct iopf_listener *listen_with(struct iopf_listener_conf conf);
/* Put the event of an aborted read into the queue. */
void listen_put_abort(uint32_t sid, uint64_t addr);
void listen_poll_all(void);
void listen_expect_stats(const struct iopf_listener *l,
		const uint64_t want[IOPF_NB_LISTENER_STATS]);

#endif /* LISTENER_RIG_H */
