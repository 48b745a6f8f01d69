/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef REQUESTS_RIG_H
#define REQUESTS_RIG_H

/*
 * Page requests through the driver, from endpoints of the model. The rig does what the library
 * does, in a few lines: it forms groups, answers them, and discards partial groups when requests
 * were lost. The model reports a group that is answered twice, too early or never.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pmd_rig.h"

#define PAGE		4096
#define NB_FNS		3

struct requests_group {
	uint32_t pasid;
	uint16_t index;
	unsigned int nb_pages;
	uint64_t first;
};

struct requests {
	struct pmd p;
	/* One endpoint with three engines: PASID 1, PASID 2 and no PASID. */
	struct smmuv3_model_dma *fns[NB_FNS];
	bool prg_pasid;
	uint32_t credits;
	uint8_t *data;
	struct requests_group partial[64];
	unsigned int nb_partial;
	/* complete groups without an answer */
	struct iopf_answer waiting[1024];
	unsigned int nb_waiting;
	unsigned int groups, lost, markers, bad, discarded;
};

/* Properties of the endpoints. Zero selects the model's default. */
struct requests_fns {
	unsigned int group_pages, prg_indices;
	bool prg_pasid;
	uint32_t credits;
};

void requests_enable_pri(struct requests *r);
void requests_open_conf(struct requests *r, const struct smmuv3_model_conf *conf,
		const struct requests_fns *fns);
void requests_open(struct requests *r);
/* Disable PRI, drain it, disable ATS, then close the driver. */
void requests_close(struct requests *r);
/* Submit a DMA that needs @p pages pages. */
void requests_ask(struct requests *r, unsigned int fn, uint64_t va, unsigned int pages);
/* Count the DMAs that ended, and check that all have this status. */
unsigned int requests_count_ended(struct requests *r, enum smmuv3_model_status status);
void requests_send_answers(struct requests *r, unsigned int n);
void requests_take(struct requests *r, const struct iopf_event *e);
/* Poll one burst. The answers wait for requests_send_answers(). */
unsigned int requests_serve(struct requests *r, uint16_t n);
/* Serve all requests and send the answers. */
void requests_serve_all(struct requests *r);
void requests_check(struct requests *r, unsigned int times);
bool requests_has_overflow(struct requests *r);
uint64_t requests_model_stat(struct requests *r, enum smmuv3_model_stat stat);

#endif /* REQUESTS_RIG_H */
