/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The trail of the driver's register accesses, barriers and structure words. */

#include "hitless_rig.h"
#include "iopf_handler.h"
#include "order_rig.h"
#include "test.h"

struct trail trail;

static void
add_event(struct trail_event event)
{
	if (!trail.on)
		return;
	assert_true(trail.n < TRAIL_EVENTS);
	trail.events[trail.n++] = event;
}

void
smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write, uint64_t value)
{
	(void)regs;
	(void)size;
	add_event((struct trail_event){ .kind = write ? WRITE : READ, .offset = offset,
			.value = value });
}

void
smmuv3_order_log(enum smmuv3_order_event event, const uint64_t *dw)
{
	static const enum trail_kind kinds[] = {
		[SMMUV3_ORDER_MB] = MB,
		[SMMUV3_ORDER_WMB] = WMB,
		[SMMUV3_ORDER_RMB] = RMB,
		[SMMUV3_ORDER_DW] = DW,
	};

	if (event == SMMUV3_ORDER_DW)
		hitless_look();
	add_event((struct trail_event){ .kind = kinds[event], .dw = dw });
}

void
trail_start(void)
{
	trail.n = 0;
	trail.on = true;
}

void
trail_stop(void)
{
	trail.on = false;
}

unsigned int
trail_find(unsigned int from, enum trail_kind kind, uint32_t offset)
{
	for (; from < trail.n; from++)
		if (trail.events[from].kind == kind &&
				(kind > WRITE || trail.events[from].offset == offset))
			break;
	return from;
}

unsigned int
trail_expect(unsigned int from, enum trail_kind kind, uint32_t offset)
{
	unsigned int at = trail_find(from, kind, offset);

	assert_true(at < trail.n);
	return at;
}

void
trail_expect_stores_before(unsigned int at)
{
	/* smmuv3_store_prod() logs the access, executes and logs its barrier, and then stores. */
	if (at + 1 < trail.n && trail.events[at + 1].kind == WMB)
		return;
	assert_true(at > 0);
	assert_true(trail.events[at - 1].kind == WMB || trail.events[at - 1].kind == MB);
}

void
order_open(struct pmd *p, enum iopf_recover recover)
{
	const struct smmuv3_model_conf conf = {
		.features = recover == IOPF_PRI ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
	};

	pmd_open(p, &conf);
	pmd_start(p, recover);
}

void
order_send_answer(struct pmd *p)
{
	const struct iopf_answer answer = { .sid = PMD_SID, .pasid = IOPF_NO_PASID, .token = 1 };

	assert_int_equal(p->ops->answer(p->s, &answer, 1), 1);
}
