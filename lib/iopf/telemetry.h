/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_TELEMETRY_H
#define IOPF_TELEMETRY_H

/*
 * What the telemetry commands share.
 *
 *	telemetry.c		IOMMUs, devices, counters, latencies, outstanding faults, listeners
 *	telemetry_detail.c	histograms, queues and their pollers
 *
 * A reply of DPDK's telemetry has at most 16 KiB; DPDK silently omits the rest. So lists come in
 * pages that fit with the longest names and numbers, and a reply has the start of the next page.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_telemetry.h>

struct iopf_attachment;
struct iopf_iommu;

/* The parameters of a command: "ID", "ID,FIRST" or "ID,FIRST,STEP"; 0 if left out. */
struct iopf_query {
	struct iopf_iommu *iommu;
	uint64_t first;
	uint64_t step;
};
typedef int (*iopf_reply_t)(const struct iopf_query *query, struct rte_tel_data *d);

/* Call @p make in a read section, for a command with up to @p max parameters. */
int iopf_tel_reply(const char *params, struct rte_tel_data *d, unsigned int max, iopf_reply_t make);
/* Add a name that an application has given, encoded. */
void iopf_tel_add_name(struct rte_tel_data *d, const char *key, const char *name);
/* Add the device, the PASID and the domain. The caller holds the IOMMU's lock. */
void iopf_tel_add_attachment(struct rte_tel_data *d, const struct iopf_attachment *attachment);
/* Add an entry that is complete. False: no memory. */
bool iopf_tel_add_entry(struct rte_tel_data *d, const char *key, struct rte_tel_data *entry);

#endif /* IOPF_TELEMETRY_H */
