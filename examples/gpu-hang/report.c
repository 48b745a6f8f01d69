/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <inttypes.h>
#include <stdio.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "report.h"

#define PAGES_IN_LINE 4

static double
get_ms(uint64_t time, uint64_t start)
{
	return (double)(time - start) * 1e3 / rte_get_tsc_hz();
}

static void
print_fault(const struct iopf_fault *fault, uint64_t start)
{
	printf("  first fault    StreamID %u, PASID %u, address 0x%" PRIx64 "\n", fault->sid,
			fault->pasid, fault->addr);
	printf("                 needs:%s%s%s%s; reason: %s, event 0x%02x, stage %d\n",
			fault->perm & IOPF_PERM_READ ? " read" : "",
			fault->perm & IOPF_PERM_WRITE ? " write" : "",
			fault->perm & IOPF_PERM_EXEC ? " execute" : "",
			fault->perm & IOPF_PERM_PRIV ? " privileged" : "",
			iopf_reason_name(fault->reason), fault->raw_id,
			fault->flags & IOPF_FAULT_STAGE2 ? 2 : 1);
	printf("                 at %.3f ms", get_ms(fault->time, start));
	if (fault->flags & IOPF_FAULT_STALLED)
		printf("; stalled, STAG %u", fault->token);
	printf("\n");
}

static void
print_pages(const struct iopf_episode *episode)
{
	uint32_t i;

	printf("  pages          %u%s, with their faults\n", episode->nb_pages,
			episode->other_faults > 0 ? ", the first ones" : "");
	for (i = 0; i < episode->nb_pages; i++)
		printf("%s0x%012" PRIx64 " %5" PRIu64 "%s",
				i % PAGES_IN_LINE == 0 ? "    " : "   ",
				episode->pages[i].addr, episode->pages[i].faults,
				i % PAGES_IN_LINE == PAGES_IN_LINE - 1 ||
				i == episode->nb_pages - 1 ? "\n" : "");
	if (episode->other_faults > 0)
		printf("    faults on other pages: %" PRIu64 "\n", episode->other_faults);
}

static void
print_breaker(const struct report_crash *crash, uint64_t start)
{
	const struct iopf_episode *episode = &crash->episode;

	printf("  breaker        ");
	if (crash->breaker == 0) {
		printf("off\n");
		return;
	}
	if (episode->trip_time == 0) {
		printf("not tripped: never past %u faults a second\n", crash->breaker);
		return;
	}
	printf("tripped at %.3f ms: past %u faults a second\n",
			get_ms(episode->trip_time, start), crash->breaker);
	if (crash->trip.time != 0)
		printf("                 callback at %.3f ms: accesses abort, and the context is killed\n"
				"                 stalls refused until then: %" PRIu64 "\n",
				get_ms(crash->trip.time, start), crash->trip.stalls);
}

void
report_print_crash(const struct report_crash *crash, uint64_t start)
{
	const struct iopf_episode *episode = &crash->episode;

	printf("GPU context hung: PASID %u\n", episode->first.pasid);
	print_fault(&episode->first, start);
	printf("  then counted   %" PRIu64 " faults: %" PRIu64 " stalls refused, %" PRIu64
			" accesses aborted by the SMMU\n", episode->faults, episode->stalls,
			episode->aborted);
	if (crash->lost != 0)
		printf("                 not counted: %" PRIu64 " aborted accesses, the records of "
				"which found the event queue full\n", crash->lost);
	if (episode->faults != 0) {
		printf("                 addresses 0x%" PRIx64 " to 0x%" PRIx64 "\n",
				episode->lowest, episode->highest);
		printf("                 from %.3f to %.3f ms\n",
				get_ms(episode->counted_from, start),
				get_ms(episode->counted_to, start));
	}
	print_breaker(crash, start);
	if (episode->faults != 0)
		print_pages(episode);
}

void
report_print_rates(const struct report_row *rows, unsigned int n, const double *seconds)
{
	unsigned int i, p;

	printf("          accesses a second              faults served          refused\n"
			"PASID     before    during     after    before  during   after  or aborted\n");
	for (i = 0; i < n; i++) {
		printf("%5u ", rows[i].pasid);
		for (p = PHASE_BEFORE; p < NB_PHASES; p++)
			printf(" %9.0f", seconds[p] > 0 ? rows[i].ended[p] / seconds[p] : 0);
		printf("  ");
		for (p = PHASE_BEFORE; p < NB_PHASES; p++)
			printf(" %7" PRIu64, rows[i].faults[p]);
		printf("  %10" PRIu64 "  %s\n", rows[i].aborted[PHASE_BEFORE] +
				rows[i].aborted[PHASE_DURING] + rows[i].aborted[PHASE_AFTER],
				rows[i].name);
	}
	printf("in ms  %9.1f %9.1f %9.1f\n", seconds[PHASE_BEFORE] * 1e3,
			seconds[PHASE_DURING] * 1e3, seconds[PHASE_AFTER] * 1e3);
}
