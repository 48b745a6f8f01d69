/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The driver from open to close, on every kind of SMMU that the model can be. */

#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_kvargs.h>

#include "log_lines.h"
#include "pmd_rig.h"
#include "test.h"

static const struct {
	const char *what;
	struct smmuv3_model_conf conf;
} kinds[] = {
	{ "default", { .seed = 1 } },
	{ "no MSI", { .no_features = SMMUV3_MODEL_NO_MSI } },
	{ "linear stream table", { .no_features = SMMUV3_MODEL_NO_2LVL_STRTAB } },
	{ "6 bits of StreamID", { .sid_bits = 6 } },
	{ "32 bits of StreamID", { .sid_bits = 32 } },
	{ "linear CD table", { .no_features = SMMUV3_MODEL_NO_2LVL_CD } },
	{ "no PASIDs", { .ssid_bits = SMMUV3_MODEL_NONE } },
	{ "no RIL", { .no_features = SMMUV3_MODEL_NO_RIL } },
	{ "8 bits of ASID", { .no_features = SMMUV3_MODEL_NO_ASID16 } },
	{ "16K only", { .no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_64K } },
	{ "64K only", { .no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K } },
	{ "abort only", { .no_features = SMMUV3_MODEL_TERM_ABORT_ONLY } },
	{ "queues of 1", { .cmdq_log2 = SMMUV3_MODEL_NONE, .evtq_log2 = SMMUV3_MODEL_NONE } },
	{ "queues of 1, no MSI", { .cmdq_log2 = SMMUV3_MODEL_NONE,
		.evtq_log2 = SMMUV3_MODEL_NONE, .no_features = SMMUV3_MODEL_NO_MSI } },
	{ "queues of 2", { .cmdq_log2 = 1, .evtq_log2 = 1 } },
	{ "one stall", { .stall_max = 1 } },
	{ "terminates only", { .stall_model = SMMUV3_STALL_MODEL_TERM } },
	{ "stalls only", { .stall_model = SMMUV3_STALL_MODEL_FORCED } },
	{ "slow to acknowledge", { .ack_delay = 7 } },
	{ "retries held stalls", { .choices = SMMUV3_MODEL_RETRY_HELD } },
	{ "retries early", { .choices = SMMUV3_MODEL_EARLY_RETRY } },
	{ "suppresses duplicates", { .choices = SMMUV3_MODEL_SUPPRESS_DUP } },
	{ "over-invalidates", { .choices = SMMUV3_MODEL_OVER_INVALIDATE } },
	{ "forgets nothing", { .choices = SMMUV3_MODEL_STICKY_TLB } },
	{ "fetches torn", { .choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB } },
	{ "does not stall though told to", { .choices = SMMUV3_MODEL_NO_STALL_SUPPORT } },
	{ "ATS", { .features = SMMUV3_MODEL_ATS } },
	{ "ATS and PRI", { .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI } },
	{ "ATS and PRI, slow, no MSI, a queue of 1", { .priq_log2 = SMMUV3_MODEL_NONE,
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.no_features = SMMUV3_MODEL_NO_MSI, .ack_delay = 7 } },
	{ "RES0 ignored", { .choices = SMMUV3_MODEL_LAX_RES0 } },
};

static enum iopf_recover
recover_of(const struct pmd *p)
{
	return p->info.max_stalls > 0 ? IOPF_STALL : IOPF_TERMINATE;
}

static void
test_a_fault_is_served_on_every_kind_of_smmu(void **state)
{
	struct iopf_event event;
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(kinds); i++) {
		print_message("  %s\n", kinds[i].what);
		pmd_open(&p, &kinds[i].conf);
		pmd_up(&p, recover_of(&p));
		pmd_serve(&p, PMD_VA);
		pmd_serve(&p, PMD_VA + (1 << 20) + 16);

		/* Detached: aborted and recorded, and nothing stalls. */
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
		assert_int_equal(event.flags, 0);

		/* And attached again. */
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_OK);
		pmd_serve(&p, PMD_VA + (2 << 20));
		pmd_down(&p, IOPF_NO_PASID);
	}
}

static void
test_pasids_have_domains_of_their_own(void **state)
{
	static const uint32_t sizes[] = { 2, 5, 64, 65, 1000, 1 << 16 };
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++)
		for (k = 0; k < 2; k++) {
			uint32_t last = sizes[i] - 1;
			struct smmuv3_model_dma *other;
			struct smmuv3_model_done done;
			void *domain;

			if (k == 1 && sizes[i] > 1000)
				continue;
			pmd_open(&p, &(struct smmuv3_model_conf){
				.no_features = k == 1 ? SMMUV3_MODEL_NO_2LVL_CD : 0,
				.choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB });
			assert_int_equal(p.ops->start(p.s), 0);
			pmd_dev_up(&p, IOPF_STALL, sizes[i], last);
			assert_int_equal(rig_attach(p.ops, p.s, p.dev, 0, p.domain), -ERANGE);
			assert_int_equal(rig_attach(p.ops, p.s, p.dev, sizes[i], p.domain), -ERANGE);
			pmd_serve(&p, PMD_VA);

			/* Nothing for untagged traffic, then a domain that maps nothing. */
			other = smmuv3_model_dma_create(p.m,
					&(struct smmuv3_model_dma_conf){ .sid = PMD_SID });
			assert_non_null(other);
			assert_int_equal(p.ops->domain_add(p.s, &(struct iopf_translation){
				.format = IOPF_FORMAT_NONE }, &domain), 0);
			for (unsigned int round = 0; round < 2; round++) {
				struct iopf_event event;

				assert_int_equal(smmuv3_model_dma_submit(other,
						&(struct smmuv3_model_op){
							.type = SMMUV3_MODEL_READ, .addr = PMD_VA,
							.buf = buf, .len = 1 }), 0);
				pmd_event(&p, &event);
				if (event.raw_id == SMMUV3_C_BAD_SUBSTREAMID) {
					/* No leaf of CDs yet: CD 0 is said to be missing. */
					assert_int_equal(round, 0);
					assert_int_equal(event.pasid, 0);
				} else {
					assert_int_equal(event.pasid, IOPF_NO_PASID);
				}
				if (round == 0) {
					assert_int_equal(event.reason, IOPF_REASON_CONFIG);
					assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID,
							domain), 0);
				} else {
					assert_int_equal(event.flags, IOPF_EVENT_STALL);
					assert_int_equal(event.perm, IOPF_PERM_READ);
					pmd_answer(&p, &event, IOPF_INVALID);
				}
				pmd_step(&p);
				assert_int_equal(smmuv3_model_dma_poll(other, &done, 1), 1);
				assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
			}
			assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
			p.ops->domain_del(p.s, domain);

			/* The other PASID is not touched by that. */
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
			assert_int_equal(pmd_done(&p), SMMUV3_MODEL_OK);
			smmuv3_model_dma_destroy(other);
			pmd_down(&p, last);
		}
}

static void
test_one_device_may_have_many_streams(void **state)
{
	uint32_t sids[100];
	struct iopf_dev_conf conf = { .sids = sids, .nb_sids = RTE_DIM(sids), .nb_pasids = 4 };
	struct smmuv3_model_dma *dma;
	uint8_t buf[4] = { 1, 2, 3, 4 };
	struct pmd p;
	unsigned int i;
	void *dev;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB });
	pmd_up(&p, IOPF_STALL);
	pmd_serve(&p, PMD_VA);
	for (i = 0; i < RTE_DIM(sids); i++)
		sids[i] = 1000 + 37 * i;
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	assert_int_equal(rig_attach(p.ops, p.s, dev, 3, p.domain), 0);
	/* This one stays, so that the STEs do. */
	assert_int_equal(rig_attach(p.ops, p.s, dev, 2, p.domain), 0);
	for (unsigned int round = 0; round < 2; round++) {
		for (i = 0; i < RTE_DIM(sids); i++) {
			struct smmuv3_model_done done = { .cookie = 0 };

			dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
				.sid = sids[i], .has_ssid = true, .ssid = 3 });
			assert_non_null(dma);
			assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = buf,
				.len = sizeof(buf) }), 0);
			pmd_step(&p);
			assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
			assert_int_equal(done.status, round == 0 ? SMMUV3_MODEL_OK :
					SMMUV3_MODEL_ABORTED);
			smmuv3_model_dma_destroy(dma);
		}
		if (round == 0)
			assert_int_equal(rig_detach(p.ops, p.s, dev, 3), 0);
	}
	assert_int_equal(rig_detach(p.ops, p.s, dev, 2), 0);
	p.ops->dev_del(p.s, dev);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_devices_can_be_attached_before_start_and_survive_a_restart(void **state)
{
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = i == 0 ? 0 : SMMUV3_MODEL_NO_MSI,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_dev_up(&p, IOPF_STALL, 0, IOPF_NO_PASID);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		/* Off: the reset value of GBPA decides; the driver has not touched it. */
		pmd_done(&p);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve(&p, PMD_VA);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		/* What changes while it is off is found after the start. */
		*pmd_pte(&p, PMD_VA) = 0;
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve(&p, PMD_VA);
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_down(&p, IOPF_NO_PASID);
	}
}

/* A restart begins an empty queue at another position; what was read is what was read. */
static void
test_a_dump_counts_entries_and_not_positions(void **state)
{
	char *text = NULL;
	struct pmd p;
	size_t len;
	FILE *f;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	for (unsigned int i = 0; i < 3; i++) {
		pmd_serve(&p, PMD_VA + (2 * i << p.granule_log2));
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(p.ops->start(p.s), 0);
	}
	f = open_memstream(&text, &len);
	assert_non_null(f);
	p.ops->dump(p.s, f);
	fclose(f);
	assert_int_equal(pmd_stat(&p, "events"), 3);
	assert_non_null(strstr(text, " entries: 3 read\n"));
	free(text);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_a_stop_ends_all_stalls(void **state)
{
	uint8_t buf[8] = { 0 };
	struct iopf_event event;
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	for (i = 0; i < 10; i++)
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	for (i = 0; i < 5; i++)
		pmd_event(&p, &event);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 10);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
	/* An answer that comes too late goes nowhere. */
	pmd_answer(&p, &event, IOPF_SUCCESS);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	for (i = 0; i < 10; i++)
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve(&p, PMD_VA);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_removing_a_device_ends_its_stalls(void **state)
{
	uint8_t buf[8] = { 0 };
	struct iopf_event event;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_event(&p, &event);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	p.ops->dev_del(p.s, p.dev);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);

	/* Nobody knows this StreamID now, and its accesses are reported. */
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_event(&p, &event);
	assert_int_equal(event.reason, IOPF_REASON_CONFIG);
	assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	p.ops->domain_del(p.s, p.domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	smmuv3_model_dma_destroy(p.dma);
	pmd_close(&p);
}

/* What a driver that died leaves: queues on, in memory that is somebody else's now. */
static void
test_a_running_smmu_is_taken_over(void **state)
{
	uint8_t *regs, *old;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 3 });
	regs = smmuv3_model_regs(p.m);
	old = pmd_alloc(&p, 1 << 16, 1 << 16);
	smmuv3_write64(regs, SMMUV3_STRTAB_BASE, (uintptr_t)old);
	smmuv3_write32(regs, SMMUV3_STRTAB_BASE_CFG, 4);
	smmuv3_write64(regs, SMMUV3_CMDQ_BASE, (uintptr_t)(old + 8192) | 4);
	smmuv3_write32(regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_write64(regs, SMMUV3_EVENTQ_BASE, (uintptr_t)(old + 16384) | 1);
	smmuv3_write32(regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, 0);
	smmuv3_write32(regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID);
	pmd_step(&p);
	smmuv3_write32(regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_SMMUEN);
	pmd_step(&p);
	/* Errors of every kind, that nobody acknowledged. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	smmuv3_store_prod(regs, SMMUV3_CMDQ_PROD, 3);
	pmd_step(&p);
	assert_int_not_equal(smmuv3_read32(regs, SMMUV3_GERROR) ^
			smmuv3_read32(regs, SMMUV3_GERRORN), 0);
	p.dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = 5 });
	for (unsigned int i = 0; i < 5; i++)
		pmd_write(&p, PMD_VA, old, 1);
	pmd_step(&p);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, 2);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, old, 1);
	pmd_step(&p);
	assert_true((smmuv3_read32(regs, SMMUV3_GERROR) ^ smmuv3_read32(regs, SMMUV3_GERRORN)) &
			SMMUV3_GERROR_EVENTQ_ABT);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_read32(regs, SMMUV3_EVENTQ_PROD) & SMMUV3_Q_OVFLG);
	smmuv3_model_dma_destroy(p.dma);

	pmd_up(&p, IOPF_STALL);
	pmd_serve(&p, PMD_VA);
	for (unsigned int i = 0; i < 32; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_stat(&p, "event_overflows"), 0);
	assert_int_equal(pmd_stat(&p, "cerror_abt"), 0);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_what_cannot_be_driven_is_refused(void **state)
{
	struct pmd p;

	(void)state;
	assert_int_equal(pmd_try_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_COHACC }, ""), -ENOTSUP);
	assert_int_equal(pmd_try_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K |
			SMMUV3_MODEL_NO_64K }, ""), -ENOTSUP);
	/* The keys make a model, and there is one. */
	assert_int_equal(pmd_try_open(&p, NULL, ",model_sid_bits=8"), -EINVAL);
}

static int
open_str(const char *str, struct iopf_iommu_info *info, void **priv)
{
	struct rte_kvargs *args = rte_kvargs_parse(str, smmuv3_pmd.params);
	int ret;

	assert_non_null(args);
	ret = smmuv3_pmd.ops.open(args, info, priv);
	rte_kvargs_free(args);
	return ret;
}

static void
test_device_strings_are_parsed_strictly(void **state)
{
	static const char *const bad[] = {
		"model=", "model=a,model_sid_bits=", "model=a,model_sid_bits=0",
		"model=a,model_sid_bits=33", "model=a,model_sid_bits=8x",
		"model=a,model_sid_bits=-8", "model=a,model_ssid_bits=21",
		"model=a,model_stall_max=0", "model=a,model_stall_max=65536",
		"model=a,model_stall_model=3", "model=a,model_evtq=20", "model=a,model_cmdq=20",
		"model=a,model_cpu=1024", "model=a,model_cmdq=18446744073709551616",
		"model_cmdq=4", "model=a,model_pri=2", "model=a,model_pps=1",
		"model=a,model_priq=4", "model=a,model_pri=0,model_priq=4",
		"model=a,model_pri=1,model_priq=20", "model=a,model_harsh=0x1000",
		"model=a,model_seed=0",
	};
	struct iopf_iommu_info info;
	void *priv, *again;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		assert_int_equal(open_str(bad[i], &info, &priv), -EINVAL);
		assert_null(smmuv3_model_lookup("a"));
	}
	memset(&info, 0, sizeof(info));
	assert_int_equal(open_str("model=a,model_sid_bits=9,model_ssid_bits=0,model_stall_max=3,"
			"model_stall_model=2,model_evtq=0,model_cmdq=0x2", &info, &priv), 0);
	assert_non_null(smmuv3_model_lookup("a"));
	assert_string_equal(info.backend, "model");
	assert_int_equal(info.sid_bits, 9);
	assert_int_equal(info.pasid_bits, 0);
	assert_int_equal(info.max_stalls, 3);
	assert_true(info.stall_forced);
	assert_int_equal(info.nb_queues, 1);
	assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
	SAYS("model 'a' is open already; close it first",
		assert_int_equal(open_str("model=a", &info, &again), -EBUSY));
	assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
	smmuv3_pmd.ops.close(priv);
	assert_null(smmuv3_model_lookup("a"));
}

/* GBPA.ABORT is RAZ/WI: the model that was made is harsh. */
static void
test_device_string_makes_a_harsh_model(void **state)
{
	struct iopf_iommu_info info;
	void *priv;

	(void)state;
	for (unsigned int harsh = 0; harsh < 2; harsh++) {
		assert_int_equal(open_str(harsh ? "model=a,model_harsh=0x200,model_seed=7" :
				"model=a", &info, &priv), 0);
		assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
		assert_int_equal(!!(smmuv3_read32(smmuv3_model_regs(smmuv3_model_lookup("a")),
				SMMUV3_GBPA) & SMMUV3_GBPA_ABORT), !harsh);
		assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_page_requests_are_there_only_when_asked_for(void **state)
{
	static const struct {
		const char *keys;
		uint32_t size, max;
		bool pasid;
	} models[] = {
		{ "", 0, 0, false },
		{ ",model_pri=0", 0, 0, false },
		{ ",model_pri=1", 1024, 896, false },
		{ ",model_pri=1,model_pps=1,model_priq=19", 1024, 896, true },
		{ ",model_pri=1,model_priq=5", 32, 28, false },
		{ ",model_pri=1,model_priq=2", 4, 3, false },
		{ ",model_pri=1,model_priq=0", 1, 1, false },
	};
	struct iopf_iommu_info info;
	struct iopf_event event;
	char str[64];
	void *priv;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(models); i++) {
		memset(&info, 0xff, sizeof(info));
		snprintf(str, sizeof(str), "model=a%s", models[i].keys);
		assert_int_equal(open_str(str, &info, &priv), 0);
		assert_int_equal(info.request_queue_size, models[i].size);
		assert_int_equal(info.max_requests, models[i].max);
		assert_int_equal(info.pri_pasid, models[i].pasid);
		assert_int_equal(info.nb_queues, models[i].size > 0 ? 2 : 1);
		assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
		assert_int_equal(smmuv3_pmd.ops.poll(priv, IOPF_QUEUE_REQUESTS, &event, 1), 0);
		assert_true(smmuv3_pmd.ops.queue_passed(priv, IOPF_QUEUE_REQUESTS,
				smmuv3_pmd.ops.queue_mark(priv, IOPF_QUEUE_REQUESTS)));
		assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_the_request_queue_has_at_most_4096_entries(void **state)
{
	static const struct {
		uint32_t size;
		int ret;
	} sizes[] = {
		{ 0, 0 }, { 1, 0 }, { 1024, 0 }, { 4096, 0 }, { 8192, -EINVAL }, { 3, -EINVAL },
	};
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
			.request_queue_size = 1 }), -EINVAL);
	pmd_close(&p);
	pmd_open(&p, &(struct smmuv3_model_conf){ .priq_log2 = 14,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	for (i = 0; i < RTE_DIM(sizes); i++)
		assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
				.request_queue_size = sizes[i].size }), sizes[i].ret);
	pmd_close(&p);
}

static void
test_queue_sizes_are_checked(void **state)
{
	static const struct {
		uint32_t cmdq, evtq;
		int ret;
	} sizes[] = {
		{ 0, 0, 0 }, { 1, 1, 0 }, { 16, 64, 0 }, { 1024, 1024, 0 }, { 2, 0, 0 },
		{ 3, 0, -EINVAL }, { 2048, 0, -EINVAL }, { 0, 2048, -EINVAL }, { 0, 100, -EINVAL },
		{ 0, 0x80000000, -EINVAL },
	};
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	pmd_dev_up(&p, IOPF_STALL, 0, IOPF_NO_PASID);
	for (i = 0; i < RTE_DIM(sizes); i++) {
		assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
			.command_queue_size = sizes[i].cmdq,
			.event_queue_size = sizes[i].evtq }), sizes[i].ret);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve(&p, PMD_VA + i * 0x10000);
		if (sizes[i].ret == 0 && sizes[i].cmdq > 0)
			assert_int_equal(SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, smmuv3_read32(
					smmuv3_model_regs(p.m), SMMUV3_CMDQ_BASE)),
					rte_log2_u32(sizes[i].cmdq));
		assert_int_equal(p.ops->stop(p.s), 0);
	}
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_waits_for_a_dead_smmu_end(void **state)
{
	uint64_t start = rte_get_tsc_cycles();
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 1);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	/* Bounded: each wait is a second, and a failed start waits for its own end too. */
	assert_true(rte_get_tsc_cycles() - start < 30 * rte_get_tsc_hz());
	/* It has come back. */
	pmd_up(&p, IOPF_STALL);
	pmd_serve(&p, PMD_VA);
	pmd_down(&p, IOPF_NO_PASID);
}

static void
test_service_failure_mode_is_reported(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_up(&p, IOPF_STALL);
	assert_int_equal(p.ops->check(p.s), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_SFM, 1);
	pmd_step(&p);
	assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD);
	assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	p.ops->domain_del(p.s, p.domain);
	p.ops->dev_del(p.s, p.dev);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), -EIO);
	smmuv3_model_dma_destroy(p.dma);
	pmd_close(&p);
}

static void
test_translations_are_checked(void **state)
{
	struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S1, .va_bits = 48,
		.granule_log2 = 12, .root = 0x10000 }, bad;
	struct pmd p;
	void *domain;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_16K, .oas_bits = 48 });
	assert_int_equal(p.ops->domain_add(p.s, &tr, &domain), 0);
	p.ops->domain_del(p.s, domain);
#define BAD(...) do {								\
		bad = tr;							\
		__VA_ARGS__;							\
		assert_int_equal(p.ops->domain_add(p.s, &bad, &domain), -EINVAL); \
	} while (0)
	BAD(bad.format = 77);
	BAD(bad.granule_log2 = 14);
	BAD(bad.granule_log2 = 13);
	BAD(bad.granule_log2 = 40);
	BAD(bad.va_bits = 24);
	BAD(bad.va_bits = 49);
	BAD(bad.root = 0x10800);
	BAD(bad.root = UINT64_C(1) << 50);
	BAD(bad.root = UINT64_C(1) << 36, bad.pa_bits = 36);
	/* A smaller table is aligned to less: 25 bits of 4 KiB pages start with 16 entries. */
	tr.va_bits = 25;
	tr.root = 0x10080;
	assert_int_equal(p.ops->domain_add(p.s, &tr, &domain), 0);
	p.ops->domain_del(p.s, domain);
	pmd_close(&p);
}

static void
test_each_domain_has_an_asid(void **state)
{
	const struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	void *domains[256];
	struct pmd p;
	unsigned int i, k;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_ASID16 });
	/* One is for CDs that terminate. */
	for (i = 0; i < 255; i++) {
		assert_int_equal(p.ops->domain_add(p.s, &none, &domains[i]), 0);
		assert_int_not_equal(((struct smmuv3_domain *)domains[i])->asid,
				SMMUV3_ASID_NONE);
	}
	assert_int_equal(p.ops->domain_add(p.s, &none, &domains[255]), -ENOSPC);
	for (i = 0; i < 255; i++)
		for (k = 0; k < i; k++)
			assert_int_not_equal(((struct smmuv3_domain *)domains[i])->asid,
					((struct smmuv3_domain *)domains[k])->asid);
	p.ops->domain_del(p.s, domains[77]);
	assert_int_equal(p.ops->domain_add(p.s, &none, &domains[77]), 0);
	for (i = 0; i < 255; i++)
		p.ops->domain_del(p.s, domains[i]);
	pmd_close(&p);
}

/*
 * A PASID is detached from a domain that another device goes on with: what that one's
 * accesses bring into the TLB is not for the first.
 */
static void
test_a_detached_pasid_does_not_use_the_tlb_of_others(void **state)
{
	const uint32_t sid = PMD_SID + 1;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 4 };
	struct smmuv3_model_dma *detached;
	struct smmuv3_model_done done;
	struct iopf_event event;
	uint8_t byte = 1;
	struct pmd p;
	void *other;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		struct iopf_dev_conf c = conf;

		pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = kind,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_up(&p, recover_of(&p));
		c.recover = recover_of(&p);
		assert_int_equal(p.ops->dev_add(p.s, &c, &other), 0);
		assert_int_equal(rig_attach(p.ops, p.s, other, 1, p.domain), 0);
		assert_int_equal(rig_attach(p.ops, p.s, other, 2, p.domain), 0);
		detached = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
			.sid = sid, .has_ssid = true, .ssid = 1 });
		pmd_map(&p, PMD_VA, pmd_alloc(&p, (size_t)1 << p.granule_log2,
				(size_t)1 << p.granule_log2));
		assert_int_equal(rig_detach(p.ops, p.s, other, 1), 0);
		pmd_write(&p, PMD_VA, &byte, 1);
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_OK);
		assert_int_equal(smmuv3_model_dma_submit(detached, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = &byte, .len = 1 }), 0);
		pmd_step(&p);
		assert_int_equal(smmuv3_model_dma_poll(detached, &done, 1), 1);
		assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_CD);
		smmuv3_model_dma_destroy(detached);
		assert_int_equal(rig_detach(p.ops, p.s, other, 2), 0);
		p.ops->dev_del(p.s, other);
		pmd_down(&p, IOPF_NO_PASID);
	}
}

/* A domain gets the ASID of an earlier one: nothing of that may be in the TLB. */
static void
test_an_asid_comes_back_clean(void **state)
{
	struct iopf_translation tr;
	struct iopf_event event;
	uint8_t byte = 1;
	uint16_t asid;
	struct pmd p;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = kind,
			.no_features = SMMUV3_MODEL_NO_ASID16,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_up(&p, recover_of(&p));
		pmd_serve(&p, PMD_VA);
		asid = ((struct smmuv3_domain *)p.domain)->asid;
		tr = ((struct smmuv3_domain *)p.domain)->tr;
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		p.ops->domain_del(p.s, p.domain);
		p.root = pmd_alloc(&p, 4096, 4096);
		tr.root = (uintptr_t)p.root;
		for (unsigned int i = 0;; i++) {
			assert_in_range(i, 0, 255);
			assert_int_equal(p.ops->domain_add(p.s, &tr, &p.domain), 0);
			if (((struct smmuv3_domain *)p.domain)->asid == asid)
				break;
			p.ops->domain_del(p.s, p.domain);
		}
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_write(&p, PMD_VA, &byte, 1);
		pmd_event(&p, &event);
		assert_int_equal(event.reason, IOPF_REASON_TRANSLATION);
		if (event.flags & IOPF_EVENT_STALL)
			pmd_answer(&p, &event, IOPF_INVALID);
		assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
		pmd_down(&p, IOPF_NO_PASID);
	}
}

static void
test_errata_are_known_by_product(void **state)
{
	static const struct {
		uint32_t iidr, errata;
	} smmus[] = {
		{ 0x4870043b, SMMUV3_ERRATUM_SYNC_BATCHES },	/* MMU-700 r0p0 */
		{ 0x4873143b, SMMUV3_ERRATUM_SYNC_BATCHES },	/* ... r3p1 */
		{ 0x4870043c, 0 },				/* another implementer */
		{ 0x4830043b, 0 },				/* MMU-600 */
		{ 0, 0 },
	};
	const char *name;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(smmus); i++) {
		name = NULL;
		assert_int_equal(smmuv3_errata_of(smmus[i].iidr, &name), smmus[i].errata);
		assert_int_equal(name != NULL, smmus[i].errata != 0);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_fault_is_served_on_every_kind_of_smmu),
	cmocka_unit_test(test_pasids_have_domains_of_their_own),
	cmocka_unit_test(test_one_device_may_have_many_streams),
	cmocka_unit_test(test_devices_can_be_attached_before_start_and_survive_a_restart),
	cmocka_unit_test(test_a_dump_counts_entries_and_not_positions),
	cmocka_unit_test(test_a_stop_ends_all_stalls),
	cmocka_unit_test(test_removing_a_device_ends_its_stalls),
	cmocka_unit_test(test_a_running_smmu_is_taken_over),
	cmocka_unit_test(test_what_cannot_be_driven_is_refused),
	cmocka_unit_test(test_device_strings_are_parsed_strictly),
	cmocka_unit_test(test_device_string_makes_a_harsh_model),
	cmocka_unit_test(test_page_requests_are_there_only_when_asked_for),
	cmocka_unit_test(test_the_request_queue_has_at_most_4096_entries),
	cmocka_unit_test(test_queue_sizes_are_checked),
	cmocka_unit_test(test_waits_for_a_dead_smmu_end),
	cmocka_unit_test(test_service_failure_mode_is_reported),
	cmocka_unit_test(test_translations_are_checked),
	cmocka_unit_test(test_each_domain_has_an_asid),
	cmocka_unit_test(test_a_detached_pasid_does_not_use_the_tlb_of_others),
	cmocka_unit_test(test_an_asid_comes_back_clean),
	cmocka_unit_test(test_errata_are_known_by_product),
};

TEST_SUITE(pmd_bringup, tests, NULL, NULL);
