/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The world of the soak, from open to close: see fire.h. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "fire.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "test.h"

#define MAX_WAIT_S 120
#define MAX_FAILURES 64

struct fire fire;

static const enum fire_kind kinds[FIRE_DEVS] = {
	FIRE_STALL, FIRE_STALL, FIRE_STALL, FIRE_STALL, FIRE_STALL,
	FIRE_PRI, FIRE_PRI, FIRE_PRI, FIRE_PRI, FIRE_RETRY,
};
/* The last two with stalls and with page requests; the second of each has nested spaces. */
static const bool has_stage2[FIRE_DEVS] = { [3] = true, [4] = true, [7] = true, [8] = true };
static const bool has_nested[FIRE_DEVS] = { [4] = true, [8] = true };
static_assert(FIRE_FIRST_PRI == 5 && FIRE_NB_PRI == 4, "the devices with page requests");

void
fire_fail(const char *file, int line, const char *what, const char *format, ...)
{
	char text[256];
	va_list ap;

	if (atomic_fetch_add(&fire.errors, 1) >= MAX_FAILURES)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	print_error("%s:%d: %s: %s\n", file, line, what, text);
}

static void
print_errors(void)
{
	if (fire.errors != 0 || smmuv3_model_driver_errors(fire.m) != 0 ||
			smmuv3_model_oracle_errors(fire.m) != 0)
		print_error("firesoak failed: IOPF_TEST_SEED=%u\n", fire.seed);
	for (unsigned int i = 0; smmuv3_model_driver_error(fire.m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(fire.m, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(fire.m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(fire.m, i));
}

void
fire_hang(const char *what)
{
	print_error("%s does not end; IOPF_TEST_SEED=%u\n", what, fire.seed);
	print_errors();
	iopf_iommu_dump(fire.iommu, stderr);
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_STATS; i++)
		print_error("model: %s %llu\n", smmuv3_model_stat_name(i),
				(unsigned long long)smmuv3_model_stat(fire.m, i));
	/* Other threads run, so the test cannot fail and go on. */
	abort();
}

bool
fire_is_late(uint64_t since)
{
	return rte_rdtsc() - since > rte_get_tsc_hz() * MAX_WAIT_S;
}

unsigned int
fire_pick(unsigned int n)
{
	static _Thread_local uint64_t x;
	static _Thread_local uint32_t seed;

	if (seed != fire.seed || x == 0) {
		seed = fire.seed;
		x = ((uint64_t)seed << 8 | atomic_fetch_add(&fire.next_thread, 1)) *
			UINT64_C(0xd1342543de82ef95) + 1;
	}
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned int)((x >> 32) * n >> 32);
}

uint64_t
fire_faults(void)
{
	return smmuv3_model_stat(fire.m, SMMUV3_MODEL_STAT_STALLS) +
		smmuv3_model_stat(fire.m, SMMUV3_MODEL_STAT_PPRS);
}

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	RTE_SET_USED(iommu);
	RTE_SET_USED(fault);
	RTE_SET_USED(ctx);
	fire_count(&fire.n.reports);
}

static void
open_smmu(const char *name)
{
	struct iopf_iommu_conf conf = { .report = on_report, .partial_ms = 200, .share_ms = 20 };
	struct smmuv3_model_conf *mc = &fire.conf;
	uint64_t addr;
	char str[64];

	mc->name = name;
	mc->seed = fire.seed;
	mc->features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI | SMMUV3_MODEL_S2;
	mc->no_features = SMMUV3_MODEL_NO_ASID16;	/* with few ASIDs each is reused soon */
	mc->choices = SMMUV3_MODEL_STICKY_TLB;
	mc->priq_log2 = 5;
	mc->atc_timeout_ms = 2;
	/* GBPA must abort: devices access memory while the SMMU stops. */
	soak_choose_by_seed(SMMUV3_MODEL_HARSH_LEVEL_IRQ, mc);
	mc->stall_max = fire_pick(2) != 0 ? 64 : 512;
	mc->evtq_log2 = fire_pick(2) != 0 ? 6 : 10;
	if (fire_pick(2) != 0)
		mc->choices |= SMMUV3_MODEL_EARLY_RETRY;
	if (fire_pick(2) != 0)
		mc->choices |= SMMUV3_MODEL_SUPPRESS_DUP;
	if (fire_pick(2) != 0)
		mc->choices |= SMMUV3_MODEL_RETRY_HELD;
	if (fire_pick(2) != 0)
		mc->choices |= SMMUV3_MODEL_TORN_FETCH;
	fire.m = smmuv3_model_create(mc);
	assert_non_null(fire.m);
	soak_print_severities(name, fire.m, mc);
	print_message("%s: %u stalls, %u events, choices %#x\n", name, mc->stall_max,
			1u << mc->evtq_log2, mc->choices);
	assert_int_equal(smmuv3_model_start(fire.m, -1), 0);
	snprintf(str, sizeof(str), "smmuv3,model=%s", name);
	fire.iommu = iopf_iommu_open(str);
	assert_non_null(fire.iommu);
	soak_be_patient(fire.iommu);
	assert_int_equal(iopf_iommu_configure(fire.iommu, &conf), 0);
	fire.arena_len = (size_t)FIRE_OWN * (FIRE_PAGES + FIRE_TABLES + FIRE_GUEST) * FIRE_PAGE;
	fire.arena = mmap(NULL, fire.arena_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(fire.arena != MAP_FAILED);
	assert_int_equal(iopf_dma_map(fire.iommu, fire.arena, fire.arena_len, &addr), 0);
	assert_int_equal(addr, (uintptr_t)fire.arena);
	fire.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = fire.iommu,
			.size = 64 << 20 });
	assert_non_null(fire.pool);
}

static void
open_spaces(void)
{
	uint8_t *mem = fire.arena;

	pthread_mutex_init(&fire.taken.lock, NULL);
	for (unsigned int i = 0; i < RTE_DIM(fire.worker); i++) {
		fire.worker[i] = iopf_worker_create(&(struct iopf_worker_conf){
				.nb_threads = 1 + i });
		assert_non_null(fire.worker[i]);
	}
	for (unsigned int i = 0; i < FIRE_SPACES; i++) {
		struct fire_space *s = &fire.space[i];

		s->index = i;
		s->managed = i >= FIRE_OWN;
		s->stage2 = i >= FIRE_STAGE1 && i < FIRE_OWN;
		s->nested = i >= FIRE_NESTED && i < FIRE_OWN;
		pthread_rwlock_init(&s->life, NULL);
		pthread_mutex_init(&s->memory, NULL);
		if (!s->managed) {
			s->data = mem;
			s->tables = mem + FIRE_PAGES * FIRE_PAGE;
			s->guest = s->tables + FIRE_TABLES * FIRE_PAGE;
			mem += (FIRE_PAGES + FIRE_TABLES + FIRE_GUEST) * FIRE_PAGE;
		}
		fire_space_create(s);
	}
}

static void
open_seat(struct fire_seat *seat, struct fire_dev *d, unsigned int k)
{
	seat->dev = d;
	seat->pasid = k == 0 ? IOPF_NO_PASID : k;
	pthread_mutex_init(&seat->lock, NULL);
	atomic_store(&seat->next_owner, 0);
	atomic_store(&seat->tenure, FIRE_NO_OWNER);
	seat->dma = smmuv3_model_dma_create(fire.m, &(struct smmuv3_model_dma_conf){
		.sid = d->fn.sid,
		.has_ssid = k != 0,
		.ssid = k,
		.depth = FIRE_DEPTH,
		.kind = d->kind == FIRE_PRI ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN,
		.group_pages = 1 + d->fn.sid % 4 * 2,
		.prg_indices = 2 + d->fn.sid % 4,
	});
	assert_non_null(seat->dma);
	smmuv3_model_dma_owner(seat->dma, FIRE_NO_OWNER);
	d->fn.dma[k] = seat->dma;
	seat->local = malloc((size_t)FIRE_DEPTH * FIRE_MAX_PAGES * FIRE_PAGE);
	assert_non_null(seat->local);
	memset(seat->local, 0, (size_t)FIRE_DEPTH * FIRE_MAX_PAGES * FIRE_PAGE);
	for (uint16_t i = 0; i < FIRE_DEPTH; i++)
		seat->free[seat->nb_free++] = i;
}

static void
open_devs(void)
{
	fire_choose_rated();
	for (unsigned int i = 0; i < FIRE_DEVS; i++) {
		struct fire_dev *d = &fire.dev[i];

		d->kind = kinds[i];
		d->stage2 = has_stage2[i];
		d->nested = has_nested[i];
		d->fn.sid = 8 + i;
		d->fn.silent = true;
		d->fn.resets = true;
		pthread_rwlock_init(&d->lock, NULL);
		pthread_mutex_init(&d->quarantine, NULL);
		d->nb_seats = d->stage2 ? 1 : FIRE_SEATS;
		for (unsigned int k = 0; k < FIRE_SEATS; k++)
			open_seat(&d->seat[k], d, k);
		fire_dev_add(d);
	}
	for (unsigned int i = 0; i < FIRE_GHOSTS; i++) {
		/* One in the table of a known StreamID, the other far away. */
		fire.ghost[i].dma = smmuv3_model_dma_create(fire.m,
				&(struct smmuv3_model_dma_conf){ .sid = i == 0 ? 40 : 40000,
					.depth = FIRE_DEPTH });
		assert_non_null(fire.ghost[i].dma);
	}
}

void
fire_open(const char *name, uint32_t seed)
{
	memset(&fire, 0, sizeof(fire));
	fire.seed = seed;
	fire.next_owner = 1;
	pthread_mutex_init(&fire.power, NULL);
	pthread_mutex_init(&fire.moving, NULL);
	pthread_mutex_init(&fire.regions, NULL);
	open_smmu(name);
	for (unsigned int i = 0; i < FIRE_POLLERS; i++) {
		fire.poller[i] = (struct soak_poller){ .poller = iopf_poller_create(NULL),
			.iommu = fire.iommu, .sleep_one_in = 200, .pause_one_in = 8192,
			.seed = seed + i };
		assert_non_null(fire.poller[i].poller);
		atomic_store(&fire.poller[i].awake, i != 0);
	}
	assert_int_equal(iopf_poller_add(fire.poller[0].poller, fire.iommu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(fire.iommu), 0);
	open_spaces();
	open_devs();
	fire_listen_open();
	fire_attach_all();
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		soak_poller_start(&fire.poller[i]);
	for (unsigned int i = 0; i < FIRE_RESPONDERS; i++)
		assert_int_equal(pthread_create(&fire.responder[i], NULL, fire_respond, NULL), 0);
	assert_int_equal(pthread_create(&fire.reader, NULL, fire_listen, NULL), 0);
	for (unsigned int i = 0; i < FIRE_CONTROLS; i++)
		assert_int_equal(pthread_create(&fire.control[i], NULL, fire_control,
				(void *)(uintptr_t)i), 0);
}

static void
close_devs(void)
{
	for (unsigned int i = 0; i < FIRE_DEVS; i++) {
		struct fire_dev *d = &fire.dev[i];
		int ret = iopf_dev_remove(d->fn.dev);

		FIRE_CHECK(ret == 0, "SID %u: %d", d->fn.sid, ret);
		for (unsigned int k = 0; k < FIRE_SEATS; k++) {
			smmuv3_model_dma_destroy(d->seat[k].dma);
			free(d->seat[k].local);
		}
	}
	for (unsigned int i = 0; i < FIRE_GHOSTS; i++)
		smmuv3_model_dma_destroy(fire.ghost[i].dma);
}

/* No thread of the test runs but this one, and nothing is attached. */
void
fire_close(void)
{
	close_devs();
	for (unsigned int i = 0; i < FIRE_SPACES; i++)
		fire_space_destroy(&fire.space[i]);
	for (unsigned int i = 0; i < RTE_DIM(fire.worker); i++)
		FIRE_CHECK(iopf_worker_destroy(fire.worker[i]) == 0, "%u", i);
	FIRE_CHECK(iopf_iommu_requests_granted(fire.iommu) == 0, "%u",
			iopf_iommu_requests_granted(fire.iommu));
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		FIRE_CHECK(iopf_poller_destroy(fire.poller[i].poller) == 0, "%u", i);
	FIRE_CHECK(mmem_pool_destroy(fire.pool) == 0, "pool");
	FIRE_CHECK(iopf_iommu_stop(fire.iommu) == 0, "stop");
	fire_listen_close();
	FIRE_CHECK(iopf_dma_unmap(fire.iommu, fire.arena, fire.arena_len,
			(uintptr_t)fire.arena) == 0, "arena");
	FIRE_CHECK(iopf_iommu_close(fire.iommu) == 0, "close");
	munmap(fire.arena, fire.arena_len);
	print_errors();
	assert_int_equal(smmuv3_model_driver_errors(fire.m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(fire.m), 0);
	smmuv3_model_destroy(fire.m);
	assert_int_equal(fire.errors, 0);
}
