/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Counters, logs, names. Any thread may read them, without the lock. */

#include "model.h"
#include "model_log.h"

static const char *const stat_names[SMMUV3_MODEL_NB_STATS] = {
	[SMMUV3_MODEL_STAT_TRANSACTIONS] = "transactions",
	[SMMUV3_MODEL_STAT_BYTES] = "bytes",
	[SMMUV3_MODEL_STAT_TLB_HITS] = "tlb_hits",
	[SMMUV3_MODEL_STAT_WALKS] = "walks",
	[SMMUV3_MODEL_STAT_STE_FETCHES] = "ste_fetches",
	[SMMUV3_MODEL_STAT_CD_FETCHES] = "cd_fetches",
	[SMMUV3_MODEL_STAT_EVENTS] = "events",
	[SMMUV3_MODEL_STAT_EVENTS_LOST] = "events_lost",
	[SMMUV3_MODEL_STAT_EVENTS_MERGED] = "events_merged",
	[SMMUV3_MODEL_STAT_STALLS] = "stalls",
	[SMMUV3_MODEL_STAT_STALLS_HELD] = "stalls_held",
	[SMMUV3_MODEL_STAT_STALLS_SUPPRESSED] = "stalls_suppressed",
	[SMMUV3_MODEL_STAT_RETRIES] = "retries",
	[SMMUV3_MODEL_STAT_COMMANDS] = "commands",
	[SMMUV3_MODEL_STAT_CMDQ_BATCHES] = "cmdq_batches",
	[SMMUV3_MODEL_STAT_SYNCS] = "syncs",
	[SMMUV3_MODEL_STAT_RESUMES] = "resumes",
	[SMMUV3_MODEL_STAT_RESUMES_STALE] = "resumes_stale",
	[SMMUV3_MODEL_STAT_STALL_TERMS] = "stall_terms",
	[SMMUV3_MODEL_STAT_TERMINATED] = "terminated",
	[SMMUV3_MODEL_STAT_MSIS] = "msis",
	[SMMUV3_MODEL_STAT_IRQS] = "irqs",
	[SMMUV3_MODEL_STAT_CERRORS] = "cerrors",
	[SMMUV3_MODEL_STAT_ATS_REQUESTS] = "ats_requests",
	[SMMUV3_MODEL_STAT_ATC_HITS] = "atc_hits",
	[SMMUV3_MODEL_STAT_ATC_INVS] = "atc_invs",
	[SMMUV3_MODEL_STAT_ATC_TIMEOUTS] = "atc_timeouts",
	[SMMUV3_MODEL_STAT_PRI_GROUPS] = "pri_groups",
	[SMMUV3_MODEL_STAT_PRI_WAITS] = "pri_waits",
	[SMMUV3_MODEL_STAT_PPRS] = "pprs",
	[SMMUV3_MODEL_STAT_PPRS_LOST] = "pprs_lost",
	[SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS] = "priq_overflows",
	[SMMUV3_MODEL_STAT_PRI_RESPS] = "pri_resps",
	[SMMUV3_MODEL_STAT_PRI_RESPS_STALE] = "pri_resps_stale",
	[SMMUV3_MODEL_STAT_PRI_AUTO_RESPS] = "pri_auto_resps",
	[SMMUV3_MODEL_STAT_PRI_FORGOTTEN] = "pri_forgotten",
	[SMMUV3_MODEL_STAT_ECMDQ_COMMANDS] = "ecmdq_commands",
	[SMMUV3_MODEL_STAT_ACCESS_UPDATES] = "access_updates",
	[SMMUV3_MODEL_STAT_DIRTY_UPDATES] = "dirty_updates",
};

static const char *const status_names[] = {
	[SMMUV3_MODEL_OK] = "ok",
	[SMMUV3_MODEL_ABORTED] = "aborted",
	[SMMUV3_MODEL_RAZWI] = "raz/wi",
};

const char *
smmuv3_model_stat_name(enum smmuv3_model_stat stat)
{
	return (unsigned int)stat < SMMUV3_MODEL_NB_STATS ? stat_names[stat] : "unknown";
}

const char *
smmuv3_model_status_name(enum smmuv3_model_status status)
{
	return (unsigned int)status <= SMMUV3_MODEL_RAZWI ? status_names[status] : "unknown";
}

uint64_t
smmuv3_model_stat(const struct smmuv3_model *m, enum smmuv3_model_stat stat)
{
	if (m == NULL || (unsigned int)stat >= SMMUV3_MODEL_NB_STATS)
		return 0;
	return atomic_load_explicit(&m->stats.n[stat], memory_order_relaxed);
}

unsigned int
smmuv3_model_stalls_outstanding(const struct smmuv3_model *m)
{
	if (m == NULL)
		return 0;
	return atomic_load_explicit(&m->stalls_out, memory_order_relaxed);
}

unsigned int
smmuv3_model_driver_errors(const struct smmuv3_model *m)
{
	if (m == NULL)
		return 0;
	return atomic_load_explicit(&m->driver_log.nb, memory_order_relaxed);
}

const char *
smmuv3_model_driver_error(const struct smmuv3_model *m, unsigned int i)
{
	if (m == NULL)
		return NULL;
	return smmuv3_log_text(&m->driver_log, i);
}

void
smmuv3_model_driver_errors_clear(struct smmuv3_model *m)
{
	if (m == NULL)
		return;
	smmuv3_ctl_enter(m);
	atomic_store_explicit(&m->driver_log.nb, 0, memory_order_relaxed);
	smmuv3_ctl_leave(m);
}

unsigned int
smmuv3_model_silent_reports(const struct smmuv3_model *m)
{
	if (m == NULL)
		return 0;
	return atomic_load_explicit(&m->silent.nb, memory_order_relaxed);
}

const char *
smmuv3_model_silent_report(const struct smmuv3_model *m, unsigned int i)
{
	if (m == NULL)
		return NULL;
	return smmuv3_log_text(&m->silent, i);
}

unsigned int
smmuv3_model_oracle_errors(const struct smmuv3_model *m)
{
	if (m == NULL)
		return 0;
	return atomic_load_explicit(&m->oracle.log.nb, memory_order_relaxed);
}

const char *
smmuv3_model_oracle_error(const struct smmuv3_model *m, unsigned int i)
{
	if (m == NULL)
		return NULL;
	return smmuv3_log_text(&m->oracle.log, i);
}

void
smmuv3_model_oracle_errors_clear(struct smmuv3_model *m)
{
	if (m == NULL)
		return;
	smmuv3_ctl_enter(m);
	atomic_store_explicit(&m->oracle.log.nb, 0, memory_order_relaxed);
	smmuv3_ctl_leave(m);
}
