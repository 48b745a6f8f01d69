/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Taking over an SMMU from an earlier owner, and releasing it.
 *
 * A killed run is a driver that longjmp() leaves in the middle of a wait for the SMMU, and that is
 * never used again. Its queues and tables then belong to another owner, which overwrites them.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "iopf_handler.h"
#include "log_lines.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

#define GBPA_ABORT	SMMUV3_GBPA_ABORT

static struct {
	struct smmuv3_backend backend;
	const struct smmuv3_backend *real;
	jmp_buf at_death;
	unsigned int left;		/* waits until the kill; 0: none */
} victim;

static void
victim_wait(void *ctx)
{
	victim.real->wait(ctx);
	if (victim.left > 0 && --victim.left == 0)
		longjmp(victim.at_death, 1);
}

static void
keep_open(void *ctx)
{
	(void)ctx;
}

static uint32_t
read_reg(const struct pmd *p, uint32_t offset)
{
	return smmuv3_read32(smmuv3_model_regs(p->m), offset);
}

static bool
is_running(const struct pmd *p)
{
	return read_reg(p, SMMUV3_CR0) != 0 || read_reg(p, SMMUV3_CR0ACK) != 0;
}

/*
 * A run from open to the end of one fault with another one outstanding. True if it was killed at
 * the given wait.
 */
static bool
run_until_killed(struct pmd *p, unsigned int waits)
{
	static uint8_t buf[8];
	struct iopf_event event;

	victim.real = p->s->backend;
	victim.backend = *victim.real;
	victim.backend.wait = victim_wait;
	p->s->backend = &victim.backend;
	victim.left = waits;
	if (setjmp(victim.at_death) != 0) {
		/* The killed thread releases nothing. */
		return true;
	}
	assert_int_equal(p->ops->start(p->s), 0);
	pmd_add_dev(p, p->info.max_stalls > 0 ? IOPF_STALL : IOPF_TERMINATE, 0, IOPF_NO_PASID);
	pmd_serve_fault(p, PMD_VA);
	pmd_write(p, PMD_VA + (1 << 20), buf, sizeof(buf));
	pmd_wait_event(p, &event);
	assert_int_equal(p->ops->invalidate(p->s, p->domain, &(struct iopf_inv){ .all = true }, 1,
			&(struct iopf_inv_result){ .done = 0 }), 0);
	assert_int_equal(p->ops->stop(p->s), 0);
	victim.left = 0;
	return false;
}

/* A killed process frees nothing. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* The next owner of the memory overwrites it. */
static void
reuse_memory(struct smmuv3 *dead)
{
	struct smmuv3_mem_chunk *chunk;

	if (dead->cmdq.mem.va != NULL)
		memset(dead->cmdq.mem.va, 0xff, dead->cmdq.mem.size);
	if (dead->evtq.q.mem.va != NULL)
		memset(dead->evtq.q.mem.va, 0xff, dead->evtq.q.mem.size);
	if (dead->priq.q.mem.va != NULL)
		memset(dead->priq.q.mem.va, 0xff, dead->priq.q.mem.size);
	memset(dead->strtab.mem.va, 0xff, dead->strtab.mem.size);
	for (chunk = dead->pool.chunks; chunk != NULL; chunk = chunk->next)
		memset(chunk->mem.va, 0xff, chunk->used);
}

static void
check_killed_at_each_wait(const struct smmuv3_model_conf *conf)
{
	static uint8_t buf[8];
	struct smmuv3_backend gone;
	unsigned int waits, busy = 0;
	struct smmuv3 *dead;
	struct pmd p;
	bool died;

	for (waits = 1; ; waits++) {
		if (__lsan_disable != NULL)
			__lsan_disable();
		pmd_open(&p, conf);
		died = run_until_killed(&p, waits);
		if (__lsan_enable != NULL)
			__lsan_enable();
		dead = p.s;
		if (!died) {
			rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID);
			p.ops->domain_del(p.s, p.domain);
			p.ops->dev_del(p.s, p.dev);
			pmd_wait_done(&p);
			smmuv3_model_dma_destroy(p.dma);
			pmd_close(&p);
			break;
		}
		busy += is_running(&p);
		/* The kernel closes the files of the killed process and frees its memory. */
		victim.real->close(dead->backend_ctx);
		reuse_memory(dead);
		pmd_step(&p);
		p.untidy = true;

		assert_int_equal(pmd_open_again(&p, ""), 0);
		assert_false(is_running(&p));
		if (p.dma == NULL)
			p.dma = smmuv3_model_dma_create(p.m,
					&(struct smmuv3_model_dma_conf){ .sid = PMD_SID });
		/* DMA is blocked, and no stall of the killed run is outstanding. */
		pmd_step(&p);
		assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
		while (smmuv3_model_dma_outstanding(p.dma) > 0)
			pmd_wait_done(&p);
		smmuv3_model_driver_errors_clear(p.m);
		p.untidy = false;

		smmuv3_model_dma_destroy(p.dma);
		p.dma = NULL;
		p.root = NULL;
		pmd_start(&p, p.info.max_stalls > 0 ? IOPF_STALL : IOPF_TERMINATE);
		pmd_serve_fault(&p, PMD_VA);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		assert_int_equal(pmd_read_stat(&p, "cerror_ill"), 0);

		/* Free the memory of the killed run. The windows still belong to the model. */
		gone = *victim.real;
		gone.close = keep_open;
		dead->backend = &gone;
		dead->backend_ctx = p.s->backend_ctx;
		p.ops->close(dead);
		pmd_finish(&p, IOPF_NO_PASID);
	}
	print_message("  killed at each of %u waits, %u times with the SMMU on\n", waits - 1, busy);
	assert_true(waits > 10);
	assert_true(busy > 3);
}

static void
test_a_run_killed_at_any_moment_can_be_followed_by_the_next(void **state)
{
	(void)state;
	check_killed_at_each_wait(&(struct smmuv3_model_conf){ .ack_delay = 3,
			.choices = SMMUV3_MODEL_STICKY_TLB });
	check_killed_at_each_wait(&(struct smmuv3_model_conf){ .ack_delay = 2,
			.no_features = SMMUV3_MODEL_NO_MSI });
	check_killed_at_each_wait(&(struct smmuv3_model_conf){ .ack_delay = 2,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	check_killed_at_each_wait(&(struct smmuv3_model_conf){ .ack_delay = 1,
			.stall_model = SMMUV3_STALL_MODEL_TERM });
}

/* Enable queues and tables of an owner that does not return. */
static void
leave_running(struct pmd *p)
{
	uint8_t *regs = smmuv3_model_regs(p->m);
	uint8_t *old = pmd_alloc(p, 1 << 16, 1 << 16);

	smmuv3_write64(regs, SMMUV3_STRTAB_BASE, (uintptr_t)old);
	smmuv3_write32(regs, SMMUV3_STRTAB_BASE_CFG, 4);
	smmuv3_write64(regs, SMMUV3_CMDQ_BASE, (uintptr_t)(old + 8192) | 4);
	smmuv3_write32(regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_write64(regs, SMMUV3_EVENTQ_BASE, (uintptr_t)(old + 16384) | 1);
	smmuv3_write32(regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, 0);
	pmd_step(p);
	smmuv3_write32(regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_SMMUEN);
	pmd_step(p);
	assert_int_equal(read_reg(p, SMMUV3_CR0ACK), SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_SMMUEN);
}

static void
set_gbpa(struct pmd *p, uint32_t value)
{
	smmuv3_write32(smmuv3_model_regs(p->m), SMMUV3_GBPA, value | SMMUV3_GBPA_UPDATE);
	pmd_step(p);
	assert_int_equal(read_reg(p, SMMUV3_GBPA), value);
}

/* The test owns the model: the driver releases it, and the registers keep their values. */
static void
reopen(struct pmd *p, const char *keys)
{
	struct smmuv3 *s = p->s;

	assert_int_equal(p->ops->dma_unmap(s, p->arena, PMD_ARENA, (uintptr_t)p->arena), 0);
	/*
	 * The old backend holds the model's name until it is closed; the next open needs the name.
	 */
	victim.backend = *s->backend;
	victim.backend.close(s->backend_ctx);
	assert_int_equal(pmd_open_again(p, keys), 0);
	assert_int_equal(p->ops->dma_map(p->s, p->arena, PMD_ARENA, &(uint64_t){ 0 }), 0);
	victim.backend.close = keep_open;
	s->backend = &victim.backend;
	s->backend_ctx = p->s->backend_ctx;
	p->ops->close(s);
}

static void
test_opening_stops_a_running_smmu_and_blocks_dma(void **state)
{
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 4 });
	set_gbpa(&p, SMMUV3_PUT(SMMUV3_GBPA_SHCFG, 1));
	leave_running(&p);
	reopen(&p, "");
	assert_false(is_running(&p));
	assert_true(read_reg(&p, SMMUV3_GBPA) & GBPA_ABORT);
	assert_int_equal(read_reg(&p, SMMUV3_IRQ_CTRL), 0);
	/* Before any start. */
	p.dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = PMD_SID });
	pmd_write(&p, (uintptr_t)p.arena, buf, sizeof(buf));
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(p.dma);
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_opening_touches_nothing_of_an_smmu_that_is_off(void **state)
{
	struct pmd p;
	uint32_t gbpa;

	(void)state;
	pmd_open(&p, NULL);
	gbpa = SMMUV3_PUT(SMMUV3_GBPA_SHCFG, 1);
	set_gbpa(&p, gbpa);
	reopen(&p, "");
	assert_int_equal(read_reg(&p, SMMUV3_GBPA), gbpa);
	assert_int_equal(read_reg(&p, SMMUV3_CR1), 0);
	pmd_close(&p);
}

static void
test_opening_gives_up_on_an_smmu_that_does_not_stop(void **state)
{
	struct rte_kvargs *args;
	struct smmuv3 *s;
	struct pmd p;
	void *priv;

	(void)state;
	pmd_open(&p, NULL);
	leave_running(&p);
	s = p.s;
	victim.backend = *s->backend;
	victim.backend.close(s->backend_ctx);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	args = rte_kvargs_parse(s->name, smmuv3_pmd.params);
	assert_int_equal(p.ops->open(args, &p.info, &priv), -ETIMEDOUT);
	rte_kvargs_free(args);
	/* The SMMU answers again, and the next open succeeds. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(pmd_open_again(&p, ""), 0);
	victim.backend.close = keep_open;
	s->backend = &victim.backend;
	s->backend_ctx = p.s->backend_ctx;
	p.ops->close(s);
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* DMA after close: 0 for blocked, 1 for as found. */
static void
check_close(const char *keys, bool was_running, bool was_blocked, bool blocked)
{
	uint32_t found = SMMUV3_PUT(SMMUV3_GBPA_SHCFG, 1) | (was_blocked ? GBPA_ABORT : 0);
	uint8_t buf[4] = { 1 };
	struct smmuv3_model *m;
	struct pmd p;

	pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 2 });
	m = p.m;
	set_gbpa(&p, found);
	if (was_running)
		leave_running(&p);
	reopen(&p, keys);
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	p.ops->domain_del(p.s, p.domain);
	p.ops->dev_del(p.s, p.dev);
	assert_int_equal(p.ops->stop(p.s), 0);
	/* A stopped SMMU blocks DMA, whatever close restores. */
	pmd_write(&p, (uintptr_t)p.arena, buf, sizeof(buf));
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	p.ops->close(p.s);

	assert_false(is_running(&p));
	assert_int_equal(read_reg(&p, SMMUV3_GBPA), blocked ? found | GBPA_ABORT : found);
	pmd_write(&p, (uintptr_t)p.arena, buf, sizeof(buf));
	assert_int_equal(pmd_wait_done(&p), blocked ? SMMUV3_MODEL_ABORTED : SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_driver_errors(m), 0);
	smmuv3_model_dma_destroy(p.dma);
	backend_rig_destroy(&p.backend);
}

static void
test_closing_leaves_dma_blocked_or_as_found(void **state)
{
	(void)state;
	check_close("", false, false, true);
	check_close(",close=block", false, false, true);
	check_close(",close=restore", false, false, false);
	check_close(",close=restore", false, true, true);
	/* The owner of the running SMMU is gone: close does not restore its state. */
	check_close(",close=restore", true, false, true);
}

/* GBPA does not accept the old value: close succeeds and logs that. */
static void
test_state_that_cannot_be_restored_is_logged(void **state)
{
	uint32_t found = SMMUV3_PUT(SMMUV3_GBPA_SHCFG, 1);
	struct smmuv3_model *m;
	struct pmd p;
	char *text;

	(void)state;
	for (unsigned int before = 0; before < 2; before++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 2 });
		m = p.m;
		set_gbpa(&p, found);
		reopen(&p, ",close=restore");
		assert_int_equal(p.ops->start(p.s), 0);
		assert_int_equal(p.ops->stop(p.s), 0);
		p.s->timeout /= 20;
		smmuv3_model_knob(m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 1);
		/* Another update is under way before the driver's own. */
		if (before)
			smmuv3_write32(p.s->regs, SMMUV3_GBPA, found | GBPA_ABORT |
					SMMUV3_GBPA_UPDATE);
		log_lines_begin();
		assert_int_equal(p.ops->close(p.s), 0);
		text = log_lines_end();
		assert_non_null(strstr(text, "does not respond"));
		assert_non_null(strstr(text, "GBPA is not restored"));
		free(text);
		smmuv3_model_knob(m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 0);
		backend_rig_destroy(&p.backend);
	}
}

static void
test_keys_of_another_backend_are_refused(void **state)
{
	static const char *const bad[] = {
		"vfio=x,model=y", "vfio=x,model_sid_bits=8", "model=y,close=", "model=y,close=open",
		"close=block",
	};
	struct iopf_iommu_info info;
	struct rte_kvargs *args;
	unsigned int i;
	void *priv;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		args = rte_kvargs_parse(bad[i], smmuv3_pmd.params);
		assert_non_null(args);
		assert_int_equal(smmuv3_pmd.ops.open(args, &info, &priv), -EINVAL);
		rte_kvargs_free(args);
	}
}

/*
 * Bases of queues and tables are aligned by device address, which may differ from the CPU address.
 */
static int
shifted_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	int ret = victim.real->dma_map(ctx, ptr, len, limit, addr);

	/* As with physical memory, only the lower 20 bits equal those of the CPU address. */
	*addr += 3 << 20;
	return ret;
}

static int
shifted_unmap(void *ctx, void *ptr, size_t len, uint64_t addr)
{
	assert_int_equal(addr, (uintptr_t)ptr + (3 << 20));
	return victim.real->dma_unmap(ctx, ptr, len, addr - (3 << 20));
}

static void
test_bases_are_aligned_by_device_address(void **state)
{
	static const size_t sizes[] = { 64, 4096, 1 << 16, 1 << 20, 2 << 20, 4 << 20 };
	struct smmuv3_mem mem[RTE_DIM(sizes)];
	struct smmuv3_backend shifted;
	const struct smmuv3_backend *real;
	struct smmuv3 s;
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	real = p.s->backend;
	victim.real = real;
	shifted = *real;
	shifted.dma_map = shifted_map;
	shifted.dma_unmap = shifted_unmap;
	/* A separate SMMU, so that the memory of the first one does not mix with this. */
	memset(&s, 0, sizeof(s));
	s.backend = &shifted;
	s.backend_ctx = p.s->backend_ctx;
	s.oas_bits = 48;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		assert_int_equal(smmuv3_mem_alloc(&s, sizes[i], &mem[i]), 0);
		assert_int_equal(mem[i].addr & (sizes[i] - 1), 0);
		assert_int_equal(mem[i].addr - (uintptr_t)mem[i].va, 3 << 20);
		memset(mem[i].va, 0, sizes[i]);
	}
	for (i = 0; i < RTE_DIM(sizes); i++)
		smmuv3_mem_free(&s, &mem[i]);
	smmuv3_mem_fini(&s);
	pmd_close(&p);
}

/* Before the first start the driver does not change the SMMU's interrupts. */
static void
test_an_smmu_that_was_never_started_can_be_closed(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	smmuv3_write32(p.s->regs, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRL_GERROR);
	pmd_step(&p);
	assert_int_equal(read_reg(&p, SMMUV3_IRQ_CTRLACK), SMMUV3_IRQ_CTRL_GERROR);
	pmd_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_run_killed_at_any_moment_can_be_followed_by_the_next),
	cmocka_unit_test(test_opening_stops_a_running_smmu_and_blocks_dma),
	cmocka_unit_test(test_opening_touches_nothing_of_an_smmu_that_is_off),
	cmocka_unit_test(test_opening_gives_up_on_an_smmu_that_does_not_stop),
	cmocka_unit_test(test_closing_leaves_dma_blocked_or_as_found),
	cmocka_unit_test(test_state_that_cannot_be_restored_is_logged),
	cmocka_unit_test(test_an_smmu_that_was_never_started_can_be_closed),
	cmocka_unit_test(test_keys_of_another_backend_are_refused),
	cmocka_unit_test(test_bases_are_aligned_by_device_address),
};

TEST_SUITE(pmd_takeover, tests, NULL, NULL);
