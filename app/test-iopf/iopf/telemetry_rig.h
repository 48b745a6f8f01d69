/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TELEMETRY_RIG_H
#define TELEMETRY_RIG_H

/*
 * Requests to the telemetry of this process, through the socket of DPDK, and a servicer that it
 * shows: an IOMMU with a device of StreamID 5 in a domain.
 */

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "smmuv3_model.h"

/* The last reply. */
extern char tel_answer[1 << 18];

/* False: telemetry is off. tel_close() follows in each case. */
bool tel_connect(void);
bool tel_is_on(void);
void tel_close(void);
/* Returns the reply, which is JSON in printable ASCII, and shorter than DPDK's limit. */
const char *tel_send_command(const char *what);
const char *tel_send_to(const char *command, unsigned int id);
/* The value that the reply has under the command's name. */
const cJSON *tel_value(void);
uint64_t tel_get_number(const cJSON *dict, const char *key);
/* Whether @p encoded, decoded as a URL, equals @p name or ends with "..." if it was cut. */
bool tel_is_name(const char *encoded, const char *name);
/* The id of the IOMMU with this device string: the process may have others. */
unsigned int tel_find_iommu(const char *devstr);

struct tel_servicer {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	unsigned int iommu_id;		/* for the commands */
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct smmuv3_model_dma *dma;
};

/* Connect, and start it. @p poller may be NULL. False: telemetry is off, and there is none. */
bool tel_open(struct tel_servicer *t, const char *model, iopf_handler_t handler,
		const struct iopf_poller_conf *poller);
/* It has had no errors. */
void tel_end(struct tel_servicer *t);

#endif /* TELEMETRY_RIG_H */
