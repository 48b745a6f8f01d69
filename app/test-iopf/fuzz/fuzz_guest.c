/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A libFuzzer target: a hostile guest, whose commands, CDs, tables and DMA are the input. It has a
 * device that stalls and one with ATS. Two other guests have the same addresses, ASIDs and PASIDs.
 * Each has moved a page without a command, and the model forgets nothing without one: if any
 * command of the hostile guest reached them, they would see it.
 *
 * After each input: the results were consistent, no command was illegal for the SMMU, neither the
 * driver nor the oracle has an error, no fault is left unanswered, and the others' DMA goes on, to
 * where it went before.
 *
 *	CC=clang meson setup build-fuzz -Dfuzzers=true -Db_sanitize=address,undefined \
 *		-Db_lundef=false -Ddefault_library=static
 *	build-fuzz/app/test-iopf/fuzz-guest -max_total_time=3600 -max_len=1800 -detect_leaks=0 \
 *		CORPUS
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "fuzz.h"
#include "guest_rig.h"
#include "iopf_guest.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "test.h"

#define SID_STALLS	10	/* of the hostile guest */
#define SID_ATS		11
#define SID_OTHER	20	/* and the next */
#define PAGE		7
#define OLD		(GUEST_DATA + PAGE)
#define NEW		(GUEST_DATA + 40)
#define MAX_CMDS	160

/* A step of the input. */
struct step {
	uint8_t what, how;
	uint8_t dw[16];
};

static struct pcie r;
static struct guest hostile, others[2];
static struct iopf_domain *domains[2];		/* of the hostile guest's devices */
static struct pcie_fn ats;
static struct smmuv3_model_dma *ats_dma;
static bool dead;				/* the ATC of SID_ATS */

/* All that a good guest would need is mapped. */
static enum iopf_verdict
on_hostile_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

static struct iopf_domain *
create_hostile_domain(void)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_hostile_fault,
		.parent = hostile.parent.domain,
		.translation = guest_translation,
	});

	if (domain == NULL)
		fuzz_die("no domain");
	return domain;
}

static void
map_all(struct guest *g)
{
	for (unsigned int i = 0; i < PCIE_PAGES; i++)
		pcie_map(&g->parent, &(struct iopf_fault){ .addr = GUEST_IPA(i) });
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct smmuv3_model_conf conf = guest_model_conf;

	RTE_SET_USED(argc);
	RTE_SET_USED(argv);
	fuzz_init("fuzz-guest");
	/* A guest may give two of its tables one ASID. */
	conf.harsh &= ~SMMUV3_MODEL_HARSH_ASIDS;
	pcie_open(&r, &conf, NULL);
	guest_add(&r, &hostile, SID_STALLS, true);
	map_all(&hostile);
	for (unsigned int i = 0; i < 2; i++)
		domains[i] = create_hostile_domain();
	assert_int_equal(iopf_domain_replace(domains[0], hostile.f.dev, IOPF_NO_PASID), 0);
	pcie_add_fn(&r, &ats, SID_ATS, &(struct iopf_dev_conf){ .nb_pasids = 16 });
	ats.silent = true;
	ats_dma = pcie_create_engine(&r, &ats, &(struct smmuv3_model_dma_conf){ .depth = 16,
		.has_ssid = true, .ssid = GUEST_PASID, .group_pages = 1 });
	assert_int_equal(iopf_domain_attach(domains[1], ats.dev, IOPF_NO_PASID), 0);
	for (unsigned int i = 0; i < 2; i++) {
		struct guest *g = &others[i];

		guest_add(&r, g, SID_OTHER + i, i == 0);
		map_all(g);
		guest_expect_at(g, 1, PAGE, OLD);
		smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(NEW) | GUEST_LEAF);
	}
	return 0;
}

static uint64_t
read_dw(const struct step *step, unsigned int i)
{
	uint64_t dw;

	memcpy(&dw, &step->dw[8 * i], sizeof(dw));
	return dw;
}

/* A command of all bits, or with a good opcode, a StreamID that exists, the bits of the opcode. */
static struct iopf_guest_cmd
make_cmd(const struct step *step)
{
	static const struct { uint8_t op; bool sid; uint64_t dw[2]; } good[] = {
		{ 0x05, true, { UINT64_C(0x00000000fffff000), 0x1 } },
		{ 0x06, true, { 0, 0 } },
		{ 0x10, false, { UINT64_C(0x0000ffff00000000), 0 } },
		{ 0x11, false, { UINT64_C(0xffffffff00000000), 0 } },
		{ 0x12, false, { UINT64_C(0xffffffff01f1f000), UINT64_C(0xffffffffffffff01) } },
		{ 0x13, false, { UINT64_C(0x0000ffff01f1f000), UINT64_C(0xffffffffffffff01) } },
		{ 0x30, false, { 0, 0 } },
		{ 0x40, true, { UINT64_C(0x00000000fffffa00), UINT64_C(0xfffffffffffff03f) } },
	};
	static const uint32_t sids[] = { SID_STALLS, SID_ATS, SID_OTHER, SID_OTHER + 1 };
	struct iopf_guest_cmd cmd = { { read_dw(step, 0), read_dw(step, 1) } };
	unsigned int i = step->how & 15;

	if (i >= RTE_DIM(good))
		return cmd;
	cmd.dw[0] = (cmd.dw[0] & ~UINT64_C(0xff)) | good[i].op;
	if (step->how & 0x40) {
		cmd.dw[0] &= good[i].dw[0] | UINT64_C(0xffffffff000000ff);
		cmd.dw[1] &= good[i].dw[1];
	}
	if (good[i].sid && step->how & 0x80)
		cmd.dw[0] = (cmd.dw[0] & UINT32_MAX) |
			(uint64_t)sids[step->how >> 4 & 3] << 32;
	return cmd;
}

static void
issue(const struct iopf_guest_cmd *cmds, unsigned int n)
{
	struct iopf_inv_result result = { .done = 77 };
	int ret = iopf_invalidate_guest(r.iommu, hostile.parent.domain, cmds, n, &result);

	switch (ret) {
	case 0:
		if (result.done != n || result.failed != n || result.error != IOPF_INV_OK)
			fuzz_die("result of a success");
		return;
	case -EINVAL:
		if (result.done != 0 || result.failed >= n || result.error != IOPF_INV_REFUSED)
			fuzz_die("result of a refusal");
		/* As a VMM does: those before it. */
		if (iopf_invalidate_guest(r.iommu, hostile.parent.domain, cmds, result.failed,
				NULL) == -EINVAL)
			fuzz_die("refused once and passed once");
		return;
	case -EIO:
		if (!dead || result.error != IOPF_INV_ATC || result.sid != SID_ATS ||
				result.failed >= n || result.done != result.failed ||
				(cmds[result.failed].dw[0] & 0xff) != SMMUV3_OP_ATC_INV)
			fuzz_die("result of an error");
		return;
	default:
		fuzz_die(iopf_inv_error_name(result.error));
	}
}

/* The guest's CDs and tables are its own. */
static void
scribble(const struct step *step)
{
	uint64_t *page = guest_page(&hostile, step->how & 3);

	smmuv3_set_dw(&page[read_dw(step, 0) & 511], step->how & 4 ?
			GUEST_IPA(read_dw(step, 1) % PCIE_PAGES) | 3 | (read_dw(step, 1) &
			UINT64_C(0xff00000000000fc0)) : read_dw(step, 1));
}

static void
access_memory(struct smmuv3_model_dma *dma, unsigned int page)
{
	struct smmuv3_model_done done;

	pcie_write(&r, dma, page, 1);
	pcie_run(&r);
	if (smmuv3_model_dma_poll(dma, &done, 1) != 1)
		fuzz_die("an access has not ended");
}

/* As after a reset of the device; the guest gets it back. */
static void
renew_ats_device(void)
{
	smmuv3_model_dma_quirks(ats_dma, 0, 0);
	dead = false;
	if (iopf_domain_detach(domains[1], ats.dev, IOPF_NO_PASID) != 0)
		fuzz_die("no detach");
	smmuv3_model_dma_reset(ats_dma);
	if (iopf_domain_attach(domains[1], ats.dev, IOPF_NO_PASID) != 0)
		fuzz_die("no attach");
}

static void
check_world(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		guest_expect_at(&others[i], 1, PAGE, OLD);
		if (others[i].nb_seen != 0)
			fuzz_die("another guest's access faulted");
	}
	for (unsigned int i = 0; i < 2; i++)
		if (iopf_domain_pending(domains[i]) != 0)
			fuzz_die("a fault waits for its answer");
	fuzz_check(r.m, r.iommu);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iopf_guest_cmd cmds[MAX_CMDS];
	unsigned int n = 0;
	struct step step;

	for (; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		switch (step.what & 15) {
		case 0:
			issue(cmds, n);
			n = 0;
			break;
		case 1:
			if (!dead)
				access_memory(step.how & 1 ? ats_dma :
						hostile.dma[step.how >> 1 & 1],
						step.dw[0] % 32);
			break;
		case 2:
			smmuv3_model_dma_quirks(ats_dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
			dead = true;
			break;
		case 3:
			renew_ats_device();
			break;
		case 4:
			scribble(&step);
			break;
		default:
			if (n < MAX_CMDS)
				cmds[n++] = make_cmd(&step);
			break;
		}
	}
	issue(cmds, n);
	if (dead)
		renew_ats_device();
	check_world();
	return 0;
}
