// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Requests to the host program. */

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "smmulab.h"

struct lab_mailbox *lab_mb;

u8 *
lab_data(void)
{
	return (u8 *)lab_mb + LAB_DATA;
}

void
lab_init(struct lab_dev *t, enum lab_op op)
{
	const size_t first = offsetof(struct lab_mailbox, op);

	memset((u8 *)lab_mb + first, 0, sizeof(*lab_mb) - first);
	lab_mb->op = op;
	lab_mb->sid = t ? t->sid : 0;
	lab_mb->ats = t && t->function;
}

/* A longer DMA counts as hung. */
static unsigned int wait_ms = 30000;
module_param(wait_ms, uint, 0444);
/* A DMA hung: the host still waits for it and takes no other request. */
static bool hung;

int
lab_go(void)
{
	unsigned long end = jiffies + msecs_to_jiffies(wait_ms);
	u32 seq = lab_mb->seq + 1;

	if (hung)
		return -ETIMEDOUT;
	smp_store_release(&lab_mb->seq, seq);
	while (smp_load_acquire(&lab_mb->done) != seq) {
		if (time_after(jiffies, end)) {
			hung = true;
			LAB_CHECK(false, "a DMA ends", "");
			return -ETIMEDOUT;
		}
		usleep_range(20, 60);
	}
	return lab_mb->status;
}

void
lab_mark(const char *text)
{
	lab_init(NULL, LAB_MARK);
	strscpy(lab_mb->text, text, sizeof(lab_mb->text));
	lab_go();
	pr_info("lab: ---- %s\n", text);
}

void
lab_knob(unsigned int knob, u32 value)
{
	lab_init(NULL, LAB_KNOB);
	lab_mb->call = knob;
	lab_mb->arg = value;
	lab_go();
}

int
lab_call_ats(struct lab_dev *t, enum lab_ats call, u32 arg)
{
	lab_init(t, LAB_ATS);
	lab_mb->call = call;
	lab_mb->arg = arg;
	return lab_go();
}

void
lab_fill(void *p, u64 len, u32 pattern)
{
	u64 i;

	for (i = 0; i < len; i += 4)
		*(u32 *)(p + i) = pattern + (u32)i;
}

bool
lab_same(void *p, u64 len, u32 pattern)
{
	u64 i;

	for (i = 0; i < len; i += 4)
		if (READ_ONCE(*(u32 *)(p + i)) != pattern + (u32)i)
			return false;
	return true;
}

int
lab_dma(struct lab_dev *t, enum lab_op op, u64 addr, u64 len, int pasid, u32 pattern)
{
	lab_init(t, op);
	lab_mb->addr = addr;
	lab_mb->len = len;
	lab_mb->has_pasid = pasid != LAB_NO_PASID;
	lab_mb->pasid = pasid != LAB_NO_PASID ? pasid : 0;
	if (op == LAB_WRITE)
		lab_fill(lab_data(), len, pattern);
	return lab_go();
}

int
lab_write(struct lab_dev *t, u64 addr, u64 len, u32 pattern)
{
	return lab_dma(t, LAB_WRITE, addr, len, LAB_NO_PASID, pattern);
}

int
lab_read(struct lab_dev *t, u64 addr, u64 len)
{
	return lab_dma(t, LAB_READ, addr, len, LAB_NO_PASID, 0);
}

int
lab_burst(struct lab_dev *t, u64 addr, unsigned int count, bool write)
{
	lab_init(t, LAB_BURST);
	lab_mb->addr = addr;
	lab_mb->stride = 0x1000;
	lab_mb->count = count;
	lab_mb->write = write;
	return lab_go();
}

void
lab_stream_on(struct lab_dev *t, u64 addr, bool write, unsigned int pause_us)
{
	lab_init(t, LAB_STREAM_ON);
	lab_mb->addr = addr;
	lab_mb->write = write;
	lab_mb->pause_us = pause_us;
	LAB_CHECK(lab_go() == 0, "stream starts", "");
}

void
lab_stream_off(struct lab_dev *t)
{
	lab_init(t, LAB_STREAM_OFF);
	LAB_CHECK(lab_go() == 0, "stream ends", "");
	pr_info("lab: stream: %u DMAs succeeded, %u failed\n", lab_mb->nb_ok, lab_mb->nb_bad);
}
