/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Counters, and a dump of them and of registers. */

#include <stdio.h>

#include "cmdq.h"
#include "ecmdq.h"
#include "evtq.h"
#include "priq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "stats.h"
#include "strtab.h"
#include "wait.h"

/* Positions of the backlog: it holds the commands between them. */
#define BACKLOG_HEAD offsetof(struct smmuv3, cmdq.backlog.head)
#define BACKLOG_TAIL offsetof(struct smmuv3, cmdq.backlog.tail)

/* Counters; the code that owns a structure writes the counters in it. */
static const struct {
	const char *name;
	size_t offset;
} stats[] = {
	{ "commands", offsetof(struct smmuv3, cmdq.commands) },
	{ "batches", offsetof(struct smmuv3, cmdq.batches) },
	{ "syncs", offsetof(struct smmuv3, cmdq.syncs) },
	{ "sync_timeouts", offsetof(struct smmuv3, cmdq.sync_timeouts) },
	{ "log_left_out", offsetof(struct smmuv3, cmdq.log.left_out) },
	{ "backlog", BACKLOG_HEAD },
	{ "backlog_pushes", offsetof(struct smmuv3, cmdq.backlog_pushes) },
	{ "backlog_lost", offsetof(struct smmuv3, cmdq.backlog_lost) },
	{ "cmdq_full", offsetof(struct smmuv3, cmdq.full) },
	{ "answers_dropped", offsetof(struct smmuv3, cmdq.dropped) },
	{ "answers_held", offsetof(struct smmuv3, cmdq.answers_held) },
	{ "bad_cons", offsetof(struct smmuv3, cmdq.bad_cons) },
	{ "cerror_ill", offsetof(struct smmuv3, cmdq.cerror_ill) },
	{ "cerror_abt", offsetof(struct smmuv3, cmdq.cerror_abt) },
	{ "cerror_atc", offsetof(struct smmuv3, cmdq.cerror_atc) },
	{ "cerror_other", offsetof(struct smmuv3, cmdq.cerror_other) },
	{ "events", offsetof(struct smmuv3, evtq.q.entries) },
	{ "event_bursts", offsetof(struct smmuv3, evtq.q.bursts) },
	{ "event_stalls", offsetof(struct smmuv3, evtq.stalls) },
	{ "event_overflows", offsetof(struct smmuv3, evtq.q.overflows) },
	{ "bad_events", offsetof(struct smmuv3, evtq.q.bad) },
	{ "bad_prod", offsetof(struct smmuv3, evtq.q.bad_prod) },
	{ "stale_stalls", offsetof(struct smmuv3, evtq.stale_stalls) },
	{ "unwritten_events", offsetof(struct smmuv3, evtq.unwritten) },
	{ "missed_msis", offsetof(struct smmuv3, evtq.q.missed_msis) },
	{ "requests", offsetof(struct smmuv3, priq.q.entries) },
	{ "request_bursts", offsetof(struct smmuv3, priq.q.bursts) },
	{ "priq_stop_markers", offsetof(struct smmuv3, priq.markers) },
	{ "priq_overflows", offsetof(struct smmuv3, priq.q.overflows) },
	{ "priq_losses", offsetof(struct smmuv3, priq.losses) },
	{ "bad_requests", offsetof(struct smmuv3, priq.q.bad) },
	{ "bad_priq_prod", offsetof(struct smmuv3, priq.q.bad_prod) },
	{ "missed_priq_msis", offsetof(struct smmuv3, priq.q.missed_msis) },
	{ "priq_aborts", offsetof(struct smmuv3, priq.aborts) },
	{ "evtq_aborts", offsetof(struct smmuv3, evtq_aborts) },
	{ "msi_aborts", offsetof(struct smmuv3, msi_aborts) },
	{ "atc_cuts", offsetof(struct smmuv3, atc_cuts) },
	{ "resets", offsetof(struct smmuv3, resets) },
};

const unsigned int smmuv3_nb_stats = RTE_DIM(stats);

static uint64_t
stat_load(const void *base, unsigned int i)
{
	const _Atomic uint64_t *counter = RTE_PTR_ADD(base, stats[i].offset);
	const _Atomic uint64_t *tail = RTE_PTR_ADD(base, BACKLOG_TAIL);
	uint64_t from = 0;

	/* Acquire: with the release in smmuv3_backlog_pop(). The head is not behind the tail. */
	if (stats[i].offset == BACKLOG_HEAD)
		from = atomic_load_explicit(tail, memory_order_acquire);
	return atomic_load_explicit(counter, memory_order_relaxed) - from;
}

uint64_t
smmuv3_stat(const void *priv, unsigned int i, const char **name)
{
	uint64_t n = stat_load(priv, i);
	const struct smmuv3 *s = priv;

	if (name != NULL)
		*name = stats[i].name;
	/* The counters of a command queue are sums of all queues. */
	for (unsigned int k = 0; k < s->nb_ecmdqs && stats[i].offset < sizeof(s->cmdq); k++)
		n += stat_load(&s->ecmdqs[k].q, i);
	return n;
}

static const struct {
	const char *name;
	uint32_t offset;
} regs[] = {
	{ "IDR0", SMMUV3_IDR0 }, { "IDR1", SMMUV3_IDR1 }, { "IDR3", SMMUV3_IDR3 },
	{ "IDR5", SMMUV3_IDR5 }, { "IIDR", SMMUV3_IIDR }, { "AIDR", SMMUV3_AIDR },
	{ "CR0", SMMUV3_CR0 }, { "CR0ACK", SMMUV3_CR0ACK }, { "CR1", SMMUV3_CR1 },
	{ "CR2", SMMUV3_CR2 }, { "GBPA", SMMUV3_GBPA },
	{ "IRQ_CTRL", SMMUV3_IRQ_CTRL }, { "GERROR", SMMUV3_GERROR },
	{ "GERRORN", SMMUV3_GERRORN }, { "CMDQ_PROD", SMMUV3_CMDQ_PROD },
	{ "CMDQ_CONS", SMMUV3_CMDQ_CONS }, { "EVENTQ_PROD", SMMUV3_EVENTQ_PROD },
	{ "EVENTQ_CONS", SMMUV3_EVENTQ_CONS }, { "PRIQ_PROD", SMMUV3_PRIQ_PROD },
	{ "PRIQ_CONS", SMMUV3_PRIQ_CONS },
};

/*
 * The holder of ctl reads them: a stop, after which the SMMU may have no power, comes before or
 * after. The caller's file may block, and is written later. Returns why they were not read, or
 * NULL.
 */
static const char *
read_registers(struct smmuv3 *s, uint32_t values[RTE_DIM(regs)])
{
	const char *why = NULL;

	if (smmuv3_ctl_lock(s) < 0)
		return "another control call takes too long";
	if (atomic_load_explicit(&s->stopped, memory_order_relaxed))
		why = "it may be without power";
	for (unsigned int i = 0; i < RTE_DIM(regs) && why == NULL; i++)
		values[i] = smmuv3_read32(s->regs, regs[i].offset);
	smmuv3_ctl_unlock(s);
	return why;
}

void
smmuv3_dump(const void *priv, FILE *f)
{
	const struct smmuv3 *s = priv;
	uint32_t values[RTE_DIM(regs)] = { 0 };
	const char *why = read_registers((struct smmuv3 *)(uintptr_t)priv, values);

	fprintf(f, "smmuv3 %s: %s\n", s->name, smmuv3_state_name(smmuv3_state_get(&s->state)));
	fprintf(f, "  StreamIDs %u bits, %s; PASIDs %u bits; addresses %u bits; ASIDs %u; "
			"VMIDs %u\n",
			s->sid_bits, s->strtab.two_level ? "two levels" : "linear", s->ssid_bits,
			s->oas_bits, s->asids.nb, s->vmids.nb);
	if (why != NULL)
		fprintf(f, "  registers are not read: %s\n", why);
	for (unsigned int i = 0; i < RTE_DIM(regs) && why == NULL; i++)
		fprintf(f, "  %-12s 0x%08x\n", regs[i].name, values[i]);
	/* Counted since open. The positions prod and cons skip entries at each start. */
	fprintf(f, "  command queue of %u entries: %" PRIu64 " written\n", 1u << s->cmdq_log2,
			atomic_load_explicit(&s->cmdq.commands, memory_order_relaxed));
	if (s->nb_ecmdqs > 0) {
		uint64_t n = 0;

		for (unsigned int k = 0; k < s->nb_ecmdqs; k++)
			n += atomic_load_explicit(&s->ecmdqs[k].q.commands, memory_order_relaxed);
		fprintf(f, "  %u ECMDQs of %u entries: %" PRIu64 " written\n", s->nb_ecmdqs,
				1u << s->cmdq_log2, n);
	}
	fprintf(f, "  event queue of %u entries: %" PRIu64 " read\n", 1u << s->evtq_log2,
			atomic_load_explicit(&s->evtq.q.entries, memory_order_relaxed));
	if (s->pri)
		fprintf(f, "  page request queue of %u entries: %" PRIu64 " read\n",
				1u << s->priq_log2,
				atomic_load_explicit(&s->priq.q.entries, memory_order_relaxed));
}
