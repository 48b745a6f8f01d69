/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "pmd_rig.h"
#include "test.h"

int
pmd_open_again(struct pmd *p, const char *more_keys)
{
	struct rte_kvargs *args;
	void *priv = NULL;
	char str[256];
	int ret;

	snprintf(str, sizeof(str), "%s%s", p->backend.devstr, more_keys);
	args = rte_kvargs_parse(str, smmuv3_pmd.params);
	assert_non_null(args);
	ret = p->ops->open(args, &p->info, &priv);
	rte_kvargs_free(args);
	p->s = priv;
	return ret;
}

int
pmd_try_open(struct pmd *p, const struct smmuv3_model_conf *conf, const char *more_keys)
{
	int ret;

	memset(p, 0, sizeof(*p));
	p->ops = &smmuv3_pmd.ops;
	p->m = backend_rig_create(&p->backend, conf, NULL);
	ret = pmd_open_again(p, more_keys);
	if (ret < 0) {
		backend_rig_destroy(&p->backend);
		p->m = NULL;
	}
	return ret;
}

void
pmd_open(struct pmd *p, const struct smmuv3_model_conf *conf)
{
	uint64_t addr;

	assert_int_equal(pmd_try_open(p, conf, ""), 0);
	p->arena = backend_rig_alloc(&p->backend, PMD_ARENA);
	assert_int_equal(p->ops->dma_map(p->s, p->arena, PMD_ARENA, &addr), 0);
	assert_int_equal(addr, (uintptr_t)p->arena);
	p->granule_log2 = __builtin_ctz(p->info.granules);
}

void
pmd_close(struct pmd *p)
{
	unsigned int i;

	assert_int_equal(p->ops->dma_unmap(p->s, p->arena, PMD_ARENA, (uintptr_t)p->arena), 0);
	p->ops->close(p->s);
	for (i = 0; !p->untidy && smmuv3_model_driver_error(p->m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(p->m, i));
	for (i = 0; smmuv3_model_oracle_error(p->m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(p->m, i));
	if (!p->untidy)
		assert_int_equal(smmuv3_model_driver_errors(p->m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(p->m), 0);
	backend_rig_destroy(&p->backend);
}

void
pmd_step(struct pmd *p)
{
	unsigned int i;

	for (i = 0; i < 10000 && smmuv3_model_step(p->m, 64) > 0; i++)
		;
}

void *
pmd_alloc(struct pmd *p, size_t len, size_t align)
{
	size_t at = RTE_ALIGN_CEIL(p->used, align);

	assert_true(at + len <= PMD_ARENA);
	p->used = at + len;
	return p->arena + at;
}

/* 48 bits: four levels of 4 KiB or 16 KiB granules, three of 64 KiB. */
static unsigned int
count_levels(const struct pmd *p)
{
	unsigned int bits = p->granule_log2 - 3;

	return (48 - p->granule_log2 + bits - 1) / bits;
}

uint64_t *
pmd_get_pte(struct pmd *p, uint64_t va)
{
	unsigned int g = p->granule_log2, left;
	uint64_t *table = p->root, *entry;

	for (left = count_levels(p) - 1;; left--) {
		entry = &table[va >> (g + left * (g - 3)) & ((UINT64_C(1) << (g - 3)) - 1)];
		if (left == 0)
			return entry;
		if (*entry == 0)
			__atomic_store_n(entry, (uintptr_t)pmd_alloc(p, (size_t)1 << g,
					(size_t)1 << g) | 3, __ATOMIC_RELEASE);
		table = (uint64_t *)(uintptr_t)(*entry & ~UINT64_C(3));
	}
}

void
pmd_map(struct pmd *p, uint64_t va, void *page)
{
	/*
	 * Page, inner shareable, AF; nG, readable and writable by all. Stage 2: write-back,
	 * readable and writable.
	 */
	const uint64_t bits = 3 | 3 << 8 | 1 << 10 |
		(p->stage2 ? 15 << 2 | 3 << 6 : 1 << 6 | 1 << 11);

	__atomic_store_n(pmd_get_pte(p, va), (uintptr_t)page | bits, __ATOMIC_RELEASE);
}

void
pmd_add_dev(struct pmd *p, enum iopf_recover recover, uint32_t nb_pasids, uint32_t pasid)
{
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = {
		.sids = &sid,
		.nb_sids = 1,
		.nb_pasids = nb_pasids,
		.recover = recover,
		.prg_pasid = p->prg_pasid,
		.merge_events = p->merge_events,
	};
	struct iopf_translation tr = {
		.format = IOPF_FORMAT_ARM64_S1,
		.va_bits = 48,
		.granule_log2 = p->granule_log2,
	};

	p->root = pmd_alloc(p, (size_t)1 << p->granule_log2, (size_t)1 << p->granule_log2);
	tr.root = (uintptr_t)p->root;
	assert_int_equal(p->ops->dev_add(p->s, &conf, &p->dev), 0);
	assert_int_equal(p->ops->domain_add(p->s, &tr, NULL, &p->domain), 0);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, pasid, p->domain), 0);
	p->dma = smmuv3_model_dma_create(p->m, &(struct smmuv3_model_dma_conf){
		.sid = PMD_SID,
		.has_ssid = pasid != IOPF_NO_PASID,
		.ssid = pasid != IOPF_NO_PASID ? pasid : 0,
		.depth = 1024,
	});
	assert_non_null(p->dma);
}

void
pmd_start(struct pmd *p, enum iopf_recover recover)
{
	assert_int_equal(p->ops->start(p->s), 0);
	pmd_add_dev(p, recover, 0, IOPF_NO_PASID);
}

void
pmd_finish(struct pmd *p, uint32_t pasid)
{
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, pasid), 0);
	p->ops->domain_del(p->s, p->domain);
	p->ops->dev_del(p->s, p->dev);
	assert_int_equal(p->ops->stop(p->s), 0);
	smmuv3_model_dma_destroy(p->dma);
	pmd_close(p);
}

void
pmd_write(struct pmd *p, uint64_t va, uint8_t *buf, size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(p->dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE,
		.addr = va,
		.buf = buf,
		.len = len,
	}), 0);
}

enum smmuv3_model_status
pmd_wait_done(struct pmd *p)
{
	struct smmuv3_model_done done;
	unsigned int i;

	for (i = 0; i < 10000; i++) {
		if (smmuv3_model_dma_poll(p->dma, &done, 1) == 1)
			return done.status;
		smmuv3_model_step(p->m, 64);
	}
	fail_msg("the DMA has not ended after 10000 steps");
	return SMMUV3_MODEL_OK;
}

void
pmd_wait_event(struct pmd *p, struct iopf_event *event)
{
	unsigned int i;

	for (i = 0; i < 10000; i++) {
		if (p->ops->poll(p->s, 0, event, 1) == 1)
			return;
		smmuv3_model_step(p->m, 64);
	}
	fail_msg("no event");
}

void
pmd_answer(struct pmd *p, const struct iopf_event *event, enum iopf_code code)
{
	const struct iopf_answer answer = {
		.sid = event->sid,
		.pasid = event->pasid,
		.token = event->token,
		.code = code,
	};

	p->ops->answer(p->s, &answer, 1);
}

void
pmd_serve_fault(struct pmd *p, uint64_t va)
{
	static const char text[] = "a page that was not there";
	uint8_t buf[sizeof(text)];
	struct iopf_event event;
	uint8_t *page = pmd_alloc(p, (size_t)1 << p->granule_log2, (size_t)1 << p->granule_log2);
	bool stalls;

	memcpy(buf, text, sizeof(text));
	pmd_write(p, va, buf, sizeof(buf));
	pmd_wait_event(p, &event);
	assert_int_equal(event.addr, va);
	assert_int_equal(event.sid, PMD_SID);
	assert_int_equal(event.reason, IOPF_REASON_TRANSLATION);
	assert_int_equal(event.perm, IOPF_PERM_WRITE);
	stalls = event.flags & IOPF_EVENT_STALL;
	pmd_map(p, va, page);
	if (stalls) {
		pmd_answer(p, &event, IOPF_SUCCESS);
	} else {
		assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
		pmd_write(p, va, buf, sizeof(buf));
	}
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_OK);
	assert_memory_equal(page + (va & ((1u << p->granule_log2) - 1)), text, sizeof(text));
}

enum iopf_recover
pmd_get_recover(const struct pmd *p)
{
	return p->info.max_stalls > 0 ? IOPF_STALL : IOPF_TERMINATE;
}

const struct smmuv3_cmd pmd_illegal = { .dw = { 0xff, 0 } };

struct smmuv3_cmd
pmd_make_tlbi(unsigned int i)
{
	return smmuv3_cmd_tlbi_nh_va(0, 1, (uint64_t)i << 12, true);
}

uint64_t
pmd_read_stat(const struct pmd *p, const char *wanted)
{
	const char *name;
	unsigned int i;

	for (i = 0; i < p->info.nb_stats; i++) {
		uint64_t v = p->ops->stat(p->s, i, &name);

		if (strcmp(name, wanted) == 0)
			return v;
	}
	fail_msg("no counter %s", wanted);
	return 0;
}
