/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TELEMETRY_RIG_H
#define TELEMETRY_RIG_H

/* Requests to the telemetry of this process, through the socket of DPDK. */

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

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

#endif /* TELEMETRY_RIG_H */
