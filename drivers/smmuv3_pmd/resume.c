/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Answers as commands: RESUME for a stall, PRI_RESP for a page request group [4.5.2, 4.6]. */

#include "atc.h"
#include "cmdq.h"
#include "domain.h"
#include "ecmdq.h"
#include "pri_resp.h"
#include "resume.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "tlbi.h"

static inline struct smmuv3_cmd
make_answer_cmd(const struct iopf_answer *a)
{
	if (a->page_request)
		return smmuv3_pri_resp_make_cmd(a);
	if (likely(a->code == IOPF_SUCCESS))
		return smmuv3_cmd_resume(a->sid, a->token, true, false);
	/* RAZ/WI is neither retry nor abort; with TERM_MODEL = 1 the SMMU aborts the access. */
	return smmuv3_cmd_resume(a->sid, a->token, false, a->code != IOPF_RAZWI);
}

static inline unsigned int
make_answer_cmds(const struct iopf_answer *answers, unsigned int n, struct smmuv3_cmd *cmds)
{
	unsigned int k;

	for (k = 0; k < SMMUV3_CHUNK && k < n; k++)
		cmds[k] = make_answer_cmd(&answers[k]);
	return k;
}

/* RESUMEs are in the thread's queue, PRI_RESPs in the CMDQ: see ecmdq.h. */
static __rte_noinline uint16_t
answer_by_ecmdq(struct smmuv3 *s, const struct iopf_answer *answers, uint16_t n)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, k, j;

	for (i = 0; i < n; i += k) {
		k = make_answer_cmds(&answers[i], n - i, cmds);
		for (j = 0; j < k && !answers[i + j].page_request; j++)
			;
		smmuv3_cmdq_post(j == k ? smmuv3_ecmdq_of_thread(s) : &s->cmdq, cmds, k);
	}
	return n;
}

uint16_t
smmuv3_answer(void *priv, const struct iopf_answer *answers, uint16_t n)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct smmuv3 *s = priv;
	unsigned int i, k;

	if (unlikely(s->nb_ecmdqs != 0))
		return answer_by_ecmdq(s, answers, n);
	for (i = 0; i < n; i += k) {
		k = make_answer_cmds(&answers[i], n - i, cmds);
		smmuv3_cmdq_post(&s->cmdq, cmds, k);
	}
	return n;
}

/*
 * TLBI ..., CMD_SYNC, ATC_INV ..., CMD_SYNC, answers ... in one batch: no command after a CMD_SYNC
 * starts before the invalidations in front of it are complete [4.7.3]. At most one TLBI for each
 * range, or one for all, and at most one ATC_INV for each ATC: get_backlog_reserve() relies on
 * this. With nested domains TLBI_NH_ALL, CMD_SYNC after the first CMD_SYNC (tlbi.c).
 */
uint16_t
smmuv3_answer_after(void *priv, void *handle, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n)
{
	const struct smmuv3_domain *domain = smmuv3_domain_owner(handle);
	struct smmuv3_cmd cmds[2 * SMMUV3_CHUNK + 3 + 2 * SMMUV3_MAX_ATCS];
	struct smmuv3 *s = priv;
	unsigned int used = 0, i, first;

	for (i = 0; i < n_inv && domain->tr.format != IOPF_FORMAT_NONE; i++) {
		if (n_inv <= SMMUV3_CHUNK && n_inv <= 4 * RTE_MAX(n, 1) &&
				smmuv3_tlbi_make_cmds(s, domain, &inv[i], &cmds[used], 1) == 1) {
			used++;
			continue;
		}
		cmds[0] = smmuv3_tlbi_make_all(domain);
		used = 1;
		break;
	}
	if (used > 0) {
		cmds[used++] = smmuv3_cmd_sync();
		if (unlikely(smmuv3_domain_is_stage2(domain))) {
			/* B2 of atc.c, for nb_nested */
			smmuv3_io_mb();
			if (smmuv3_tlbi_has_combined(domain)) {
				cmds[used++] = smmuv3_cmd_tlbi_nh_all(domain->vmid);
				cmds[used++] = smmuv3_cmd_sync();
			}
		}
		used += smmuv3_atc_make_cmds(s, domain, inv, n_inv, &cmds[used]);
	}
	first = RTE_MIN(n, SMMUV3_CHUNK);
	for (i = 0; i < first; i++)
		cmds[used++] = make_answer_cmd(&answers[i]);
	if (used > 0)
		smmuv3_cmdq_post(s->pri ? &s->cmdq : smmuv3_thread_cmdq(s), cmds, used);
	if (n > first)
		smmuv3_answer(s, &answers[first], n - first);
	return n;
}
