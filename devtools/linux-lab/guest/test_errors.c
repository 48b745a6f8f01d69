// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Deliberate errors. The list "expected" has Linux's messages about them. */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "smmulab.h"

/* enum smmuv3_model_knob; the kernel cannot include its header. */
enum {
	KNOB_CMD_ABORT,
	KNOB_EVTQ_ABORT,
	KNOB_MSI_ABORT,
	KNOB_CMDQ_STUCK,
	KNOB_SFM = 5,
};

/* Linux logs it in a separate thread that nothing waits for. */
static void
let_it_print(void)
{
	msleep(50);
}

void
lab_test_errors(struct lab_dev *t)
{
	lab_mark("a fetch of commands aborts");
	lab_knob(KNOB_CMD_ABORT, 1);
	lab_test_coherent(t);
	let_it_print();
	lab_mark("a write of an event aborts");
	lab_knob(KNOB_EVTQ_ABORT, 1);
	LAB_CHECK(lab_read(t, LAB_VA, 64) != 0, "read whose event is lost", "");
	let_it_print();
	LAB_CHECK(lab_read(t, LAB_VA + 0x5000, 64) != 0, "read after a lost event", "");
	let_it_print();
	lab_mark("an MSI aborts");
	lab_knob(KNOB_MSI_ABORT, 1);
	lab_test_coherent(t);
	let_it_print();
	lab_mark("the event queue overflows");
	LAB_CHECK(lab_burst(t, LAB_VA, 3000, false) == 3000, "burst of 3000 is refused", "%u",
		lab_mb->status);
	let_it_print();
	LAB_CHECK(lab_read(t, LAB_VA + 0x5000, 64) != 0, "read after an overflow", "");
	let_it_print();
}

static void
map_and_unmap(struct lab_dev *t, void *p, size_t len, bool write)
{
	dma_addr_t a = dma_map_single(t->dev, p, len, DMA_BIDIRECTIONAL);

	if (write)
		LAB_CHECK(lab_write(t, a, len, 0x10000) == 0, "write", "%u", lab_mb->status);
	dma_unmap_single(t->dev, a, len, DMA_BIDIRECTIONAL);
}

static void
dead_atc(struct lab_dev *t, void *p, size_t len)
{
	lab_mark("an ATC does not answer");
	t->function = true;
	LAB_CHECK(lab_call_ats(t, LAB_ATS_ON, 0) == 0, "ATS on", "");
	map_and_unmap(t, p, len, true);
	LAB_CHECK(lab_call_ats(t, LAB_ATC_DEAD, 1) == 0, "ATC dead", "");
	map_and_unmap(t, p, len, false);
	LAB_CHECK(lab_call_ats(t, LAB_ATC_DEAD, 0) == 0, "ATC alive", "");
	let_it_print();
	map_and_unmap(t, p, len, false);
	LAB_CHECK(lab_call_ats(t, LAB_RESET, 0) == 0, "function reset", "");
	t->function = false;
}

void
lab_test_dead(struct lab_dev *t)
{
	const size_t len = 0x4000;
	void *p = kmalloc(len, GFP_KERNEL);

	if (t->ats)
		dead_atc(t, p, len);
	lab_mark("the command queue stands still");
	lab_knob(KNOB_CMDQ_STUCK, 1);
	map_and_unmap(t, p, len, false);
	lab_knob(KNOB_CMDQ_STUCK, 0);
	let_it_print();
	lab_mark("the command queue goes on");
	lab_test_coherent(t);
	lab_mark("service failure mode");
	lab_knob(KNOB_SFM, 1);
	msleep(100);
	lab_knob(KNOB_SFM, 0);
	kfree(p);
}
