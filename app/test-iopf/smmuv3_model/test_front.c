/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The front end for a VMM. The test is the guest, which writes registers and queues by hand, and
 * the VMM, whose operations write down what they got and do what the test says.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "smmuv3_cmd.h"
#include "smmuv3_front.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "test.h"

#define MEM		UINT64_C(0x80000000)	/* the guest's address of its memory */
#define MEM_LEN		(1u << 20)
#define CMDQ		0u			/* offsets in it */
#define EVTQ		0x10000u
#define PRIQ		0x20000u
#define LOG2		4			/* of queues */

struct vmm {
	struct smmuv3_front *f;
	uint8_t *regs, *mem;
	/* Seen by the operations. */
	struct smmuv3_front_cmd cmds[256];
	unsigned int nb_cmds, nb_arrays, nb_syncs, nb_on, nb_off;
	unsigned int array[16];			/* sizes of the arrays */
	uint64_t strtab;			/* at the last on */
	/* What the operations do. */
	uint64_t refuse;			/* dw[1] of a command; 0: none */
	enum smmuv3_front_error error;		/* NONE: leave it */
	enum smmuv3_front_sync sync;
};

static unsigned int
on_commands(void *ctx, const struct smmuv3_front_cmd *cmds, unsigned int n,
		enum smmuv3_front_error *error)
{
	struct vmm *v = ctx;

	assert_in_range(n, 1, SMMUV3_FRONT_MAX_CMDS);
	assert_int_equal(*error, SMMUV3_FRONT_ILL);
	if (v->nb_arrays < 16)
		v->array[v->nb_arrays] = n;
	v->nb_arrays++;
	for (unsigned int i = 0; i < n; i++) {
		if (v->refuse != 0 && cmds[i].dw[1] == v->refuse) {
			if (v->error != SMMUV3_FRONT_NONE)
				*error = v->error;
			return i;
		}
		assert_true(v->nb_cmds < 256);
		v->cmds[v->nb_cmds++] = cmds[i];
	}
	return n;
}

static enum smmuv3_front_sync
on_sync(void *ctx)
{
	struct vmm *v = ctx;

	v->nb_syncs++;
	return v->sync;
}

static void
on_on(void *ctx)
{
	struct vmm *v = ctx;

	v->nb_on++;
	smmuv3_front_strtab(v->f, &v->strtab, NULL);
}

static void
on_off(void *ctx)
{
	struct vmm *v = ctx;

	v->nb_off++;
}

static const struct smmuv3_front_ops ops = { .commands = on_commands, .sync = on_sync, .on = on_on,
	.off = on_off };

static const struct smmuv3_model_conf smmu = { .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI };

/* A guest that has enabled its queues, but not SMMUEN. */
static void
setup(struct vmm *v)
{
	memset(v, 0, sizeof(*v));
	v->mem = aligned_alloc(4096, MEM_LEN);
	assert_non_null(v->mem);
	memset(v->mem, 0, MEM_LEN);
	v->f = smmuv3_front_create(&(struct smmuv3_front_conf){ .ops = &ops, .ctx = v,
			.smmu = smmu });
	assert_non_null(v->f);
	v->regs = smmuv3_front_regs(v->f);
	assert_int_equal(smmuv3_front_mem_add(v->f, MEM, v->mem, MEM_LEN), 0);
	smmuv3_write64(v->regs, SMMUV3_CMDQ_BASE, (MEM + CMDQ) | LOG2);
	smmuv3_write64(v->regs, SMMUV3_EVENTQ_BASE, (MEM + EVTQ) | LOG2);
	smmuv3_write64(v->regs, SMMUV3_PRIQ_BASE, (MEM + PRIQ) | LOG2);
	smmuv3_front_step(v->f, 64);
	smmuv3_write32(v->regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_PRIQEN);
	smmuv3_front_step(v->f, 64);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CR0ACK), SMMUV3_CR0_CMDQEN |
			SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_PRIQEN);
}

static void
teardown(struct vmm *v, unsigned int errors)
{
	for (unsigned int i = errors; smmuv3_front_error(v->f, i) != NULL; i++)
		print_error("error of the guest: %s\n", smmuv3_front_error(v->f, i));
	assert_int_equal(smmuv3_front_errors(v->f), errors);
	smmuv3_front_destroy(v->f);
	free(v->mem);
}

static uint32_t
read_prod(struct vmm *v)
{
	return smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD);
}

static uint32_t
read_cons(struct vmm *v)
{
	return smmuv3_q_pos(LOG2, smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS));
}

static unsigned int
read_error(struct vmm *v)
{
	return (unsigned int)SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR,
			smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS));
}

/* Is GERROR.CMDQ_ERR active? */
static bool
is_halted(struct vmm *v)
{
	return ((smmuv3_read32(v->regs, SMMUV3_GERROR) ^
		smmuv3_read32(v->regs, SMMUV3_GERRORN)) & SMMUV3_GERROR_CMDQ_ERR) != 0;
}

static void
acknowledge(struct vmm *v)
{
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
}

static void
put(struct vmm *v, struct smmuv3_cmd cmd)
{
	uint32_t prod = read_prod(v);

	memcpy(v->mem + CMDQ + sizeof(cmd) * smmuv3_q_slot(LOG2, prod), &cmd, sizeof(cmd));
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, smmuv3_q_add(LOG2, prod, 1));
}

/* A command with @p tag in dw[1]. */
static struct smmuv3_cmd
make_tagged(uint32_t tag)
{
	return (struct smmuv3_cmd){ .dw = { SMMUV3_OP_RESUME, tag } };
}

static const struct smmuv3_cmd sync_cmd = { .dw = { SMMUV3_OP_SYNC, 0 } };

static void
expect_tags(struct vmm *v, uint32_t first, unsigned int n)
{
	assert_int_equal(v->nb_cmds, n);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(v->cmds[i].dw[1], first + i);
}

static void
test_commands_come_as_arrays_between_syncs(void **state)
{
	struct vmm v;

	(void)state;
	setup(&v);
	for (unsigned int round = 0; round < 5; round++) {
		v.nb_cmds = v.nb_arrays = v.nb_syncs = 0;
		put(&v, make_tagged(1));
		put(&v, make_tagged(2));
		put(&v, make_tagged(3));
		put(&v, sync_cmd);
		put(&v, sync_cmd);
		put(&v, make_tagged(4));
		assert_int_equal(smmuv3_front_step(v.f, 64), 6);
		expect_tags(&v, 1, 4);
		assert_int_equal(v.nb_arrays, 2);
		assert_int_equal(v.array[0], 3);
		assert_int_equal(v.array[1], 1);
		assert_int_equal(v.nb_syncs, 2);
		assert_int_equal(read_cons(&v), read_prod(&v));
		assert_int_equal(smmuv3_front_step(v.f, 64), 0);
	}
	teardown(&v, 0);
}

static void
test_a_step_takes_no_more_commands_than_its_budget(void **state)
{
	struct vmm v;

	(void)state;
	setup(&v);
	for (uint32_t i = 0; i < 16; i++)
		put(&v, i == 7 ? sync_cmd : make_tagged(1 + i - (i > 7)));
	assert_int_equal(smmuv3_front_step(v.f, 0), 0);
	for (unsigned int left = 16; left != 0; left -= left < 3 ? left : 3)
		assert_int_equal(smmuv3_front_step(v.f, 3), left < 3 ? left : 3);
	expect_tags(&v, 1, 15);
	assert_int_equal(v.nb_syncs, 1);
	teardown(&v, 0);
}

/* For each place of the refused command in an array, and each error. */
static void
test_cons_and_gerror_show_the_command_that_failed(void **state)
{
	static const enum smmuv3_front_error errors[] = { SMMUV3_FRONT_NONE, SMMUV3_FRONT_ILL,
		SMMUV3_FRONT_ABT };
	struct vmm v;

	(void)state;
	for (unsigned int e = 0; e < 3; e++)
		for (uint32_t bad = 0; bad < 6; bad++) {
			setup(&v);
			v.error = errors[e];
			v.refuse = 1 + bad;
			for (uint32_t i = 0; i < 6; i++)
				put(&v, make_tagged(1 + i));
			put(&v, sync_cmd);
			smmuv3_front_step(v.f, 64);
			assert_int_equal(read_cons(&v), bad);
			assert_int_equal(read_error(&v), errors[e] == SMMUV3_FRONT_ABT ? 2 : 1);
			assert_true(is_halted(&v));
			expect_tags(&v, 1, bad);
			/* Nothing before the acknowledgement. */
			assert_int_equal(smmuv3_front_step(v.f, 64), 0);
			assert_int_equal(v.nb_syncs, 0);
			/* The guest corrects it, and all is executed once. */
			v.refuse = 0;
			acknowledge(&v);
			smmuv3_front_step(v.f, 64);
			assert_false(is_halted(&v));
			expect_tags(&v, 1, 6);
			assert_int_equal(v.nb_syncs, 1);
			assert_int_equal(read_cons(&v), 7);
			teardown(&v, 0);
		}
}

/* The VMM gets commands that are legal, and those before an illegal one. */
static void
test_illegal_commands_do_not_reach_the_vmm(void **state)
{
	static const struct smmuv3_cmd illegal[] = {
		{ .dw = { 0xff, 0 } },
		{ .dw = { SMMUV3_OP_RESUME | SMMUV3_BIT(9), 2 } },
		{ .dw = { SMMUV3_OP_RESUME, SMMUV3_BIT(40) } },
		{ .dw = { SMMUV3_OP_TLBI_S12_VMALL, 0 } },	/* no stage 2 */
		{ .dw = { SMMUV3_OP_SYNC | SMMUV3_PUT(SMMUV3_SYNC0_CS, 3), 0 } },
	};
	struct vmm v;

	(void)state;
	for (size_t i = 0; i < sizeof(illegal) / sizeof(illegal[0]); i++) {
		setup(&v);
		put(&v, make_tagged(1));
		put(&v, illegal[i]);
		put(&v, make_tagged(2));
		smmuv3_front_step(v.f, 64);
		expect_tags(&v, 1, 1);
		assert_int_equal(read_cons(&v), 1);
		assert_int_equal(read_error(&v), SMMUV3_CERROR_ILL);
		assert_int_equal(v.nb_syncs, 0);
		/* The guest puts another command in its place. */
		memcpy(v.mem + CMDQ + sizeof(sync_cmd), &sync_cmd, sizeof(sync_cmd));
		acknowledge(&v);
		smmuv3_front_step(v.f, 64);
		expect_tags(&v, 1, 2);
		assert_int_equal(v.nb_syncs, 1);
		teardown(&v, 0);
	}
}

static void
test_a_queue_outside_of_the_guests_memory_aborts(void **state)
{
	struct vmm v;

	(void)state;
	setup(&v);
	smmuv3_write32(v.regs, SMMUV3_CR0, 0);
	smmuv3_front_step(v.f, 64);
	/* The end of the queue is behind that of the memory. */
	smmuv3_write64(v.regs, SMMUV3_CMDQ_BASE, (MEM + MEM_LEN) | LOG2);
	smmuv3_write32(v.regs, SMMUV3_CMDQ_PROD, 3);
	smmuv3_write32(v.regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_front_step(v.f, 64);
	smmuv3_write32(v.regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN);
	smmuv3_front_step(v.f, 64);
	smmuv3_front_step(v.f, 64);
	assert_int_equal(read_error(&v), SMMUV3_CERROR_ABT);
	assert_true(is_halted(&v));
	assert_int_equal(v.nb_cmds, 0);
	teardown(&v, 0);
}

static void
test_a_sync_waits_and_tells_of_an_atc(void **state)
{
	struct vmm v;

	(void)state;
	setup(&v);
	v.sync = SMMUV3_FRONT_WAIT;
	put(&v, make_tagged(1));
	put(&v, sync_cmd);
	put(&v, make_tagged(2));
	for (unsigned int i = 1; i < 4; i++) {
		smmuv3_front_step(v.f, 64);
		assert_int_equal(v.nb_syncs, i);
		assert_int_equal(read_cons(&v), 1);
		expect_tags(&v, 1, 1);
	}
	v.sync = SMMUV3_FRONT_ATC;
	smmuv3_front_step(v.f, 64);
	assert_int_equal(read_cons(&v), 1);
	assert_int_equal(read_error(&v), SMMUV3_CERROR_ATC_INV_SYNC);
	assert_true(is_halted(&v));
	v.sync = SMMUV3_FRONT_DONE;
	acknowledge(&v);
	smmuv3_front_step(v.f, 64);
	assert_int_equal(read_cons(&v), 3);
	expect_tags(&v, 1, 2);
	teardown(&v, 0);
}

static void
test_a_sync_writes_its_msi_after_it_is_done(void **state)
{
	struct vmm v;
	uint32_t word;

	(void)state;
	setup(&v);
	v.sync = SMMUV3_FRONT_WAIT;
	put(&v, (struct smmuv3_cmd){ .dw = { SMMUV3_OP_SYNC |
			SMMUV3_PUT(SMMUV3_SYNC0_CS, SMMUV3_SYNC_CS_IRQ) |
			SMMUV3_PUT(SMMUV3_SYNC0_MSIDATA, 0x1234), MEM + 0x30000 } });
	smmuv3_front_step(v.f, 64);
	memcpy(&word, v.mem + 0x30000, 4);
	assert_int_equal(word, 0);
	v.sync = SMMUV3_FRONT_DONE;
	smmuv3_front_step(v.f, 64);
	memcpy(&word, v.mem + 0x30000, 4);
	assert_int_equal(word, 0x1234);
	teardown(&v, 0);
}

static void
test_stall_records_wait_for_room_and_others_overflow(void **state)
{
	uint64_t record[4] = { 0x10, 0, 0, 0 }, found[4];
	struct vmm v;

	(void)state;
	setup(&v);
	for (uint64_t i = 0; i < 16; i++) {
		record[2] = i << 12;
		record[1] = i % 2 != 0 ? SMMUV3_EVT1_STALL : 0;
		assert_int_equal(smmuv3_front_event(v.f, record), 0);
		assert_int_equal(smmuv3_read32(v.regs, SMMUV3_EVENTQ_PROD), i + 1);
		memcpy(found, v.mem + EVTQ + i * 32, 32);
		assert_memory_equal(found, record, 32);
	}
	record[1] = SMMUV3_EVT1_STALL;
	assert_int_equal(smmuv3_front_event(v.f, record), -EAGAIN);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_EVENTQ_PROD), 16);
	record[1] = 0;
	assert_int_equal(smmuv3_front_event(v.f, record), -ENOSPC);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_EVENTQ_PROD), 16 | SMMUV3_Q_OVFLG);
	smmuv3_write32(v.regs, SMMUV3_EVENTQ_CONS, 1 | SMMUV3_Q_OVFLG);
	record[1] = SMMUV3_EVT1_STALL;
	assert_int_equal(smmuv3_front_event(v.f, record), 0);
	assert_int_equal(smmuv3_front_event(v.f, record), -EAGAIN);
	/* Disabled: a stall's record waits, another is lost without an overflow. */
	smmuv3_write32(v.regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_PRIQEN);
	smmuv3_front_step(v.f, 64);
	assert_int_equal(smmuv3_front_event(v.f, record), -EAGAIN);
	record[1] = 0;
	assert_int_equal(smmuv3_front_event(v.f, record), -ENOSPC);
	teardown(&v, 0);
}

static void
test_a_record_outside_of_the_guests_memory_aborts(void **state)
{
	const uint64_t record[4] = { 0x10, 0, 0, 0 };
	struct vmm v;

	(void)state;
	setup(&v);
	smmuv3_write32(v.regs, SMMUV3_CR0, 0);
	smmuv3_front_step(v.f, 64);
	smmuv3_write64(v.regs, SMMUV3_EVENTQ_BASE, (MEM - 0x1000) | LOG2);
	smmuv3_front_step(v.f, 64);
	smmuv3_write32(v.regs, SMMUV3_CR0, SMMUV3_CR0_EVENTQEN);
	smmuv3_front_step(v.f, 64);
	assert_int_equal(smmuv3_front_event(v.f, record), -EIO);
	assert_true(smmuv3_read32(v.regs, SMMUV3_GERROR) & SMMUV3_GERROR_EVENTQ_ABT);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_EVENTQ_PROD), 0);
	teardown(&v, 0);
}

/* Those of smmuv3_model_test.h that concern commands and records. */
static void
test_injected_errors_reach_the_guest(void **state)
{
	const uint64_t event[4] = { 0x02 };
	struct vmm v;

	(void)state;
	setup(&v);
	smmuv3_front_knob(v.f, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	put(&v, make_tagged(1));
	smmuv3_front_step(v.f, 64);
	assert_int_equal(v.nb_cmds, 0);
	assert_int_equal(smmuv3_front_stat(v.f, SMMUV3_MODEL_STAT_CERRORS), 1);
	smmuv3_write32(v.regs, SMMUV3_GERRORN, smmuv3_read32(v.regs, SMMUV3_GERROR));
	smmuv3_front_step(v.f, 64);
	assert_int_equal(v.nb_cmds, 1);
	assert_int_equal(smmuv3_front_stat(v.f, SMMUV3_MODEL_STAT_COMMANDS), 1);
	/* PROD passes the entry at once, and GERROR follows. */
	smmuv3_front_knob(v.f, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	assert_int_equal(smmuv3_front_event(v.f, event), -EIO);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_EVENTQ_PROD), 1);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_GERROR),
			smmuv3_read32(v.regs, SMMUV3_GERRORN));
	for (unsigned int i = 0; i < 4; i++)
		smmuv3_front_step(v.f, 64);
	assert_true((smmuv3_read32(v.regs, SMMUV3_GERROR) ^ smmuv3_read32(v.regs,
			SMMUV3_GERRORN)) & SMMUV3_GERROR_EVENTQ_ABT);
	assert_int_equal(smmuv3_front_stat(v.f, SMMUV3_MODEL_STAT_EVENTS_LOST), 1);
	teardown(&v, 0);
}

static void
test_page_requests_overflow_until_it_is_acknowledged(void **state)
{
	uint64_t record[2] = { 8, 0 }, found[2];
	struct vmm v;

	(void)state;
	setup(&v);
	/* Without SMMUEN the SMMU has no requests. */
	assert_int_equal(smmuv3_front_request(v.f, record), -EAGAIN);
	smmuv3_write32(v.regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_PRIQEN | SMMUV3_CR0_SMMUEN);
	smmuv3_front_step(v.f, 64);
	for (uint64_t i = 0; i < 16; i++) {
		record[1] = i << 12 | i;
		assert_int_equal(smmuv3_front_request(v.f, record), 0);
		assert_int_equal(smmuv3_read32(v.regs, SMMUV3_PRIQ_PROD), i + 1);
		memcpy(found, v.mem + PRIQ + i * 16, 16);
		assert_memory_equal(found, record, 16);
	}
	assert_int_equal(smmuv3_front_request(v.f, record), -ENOSPC);
	assert_int_equal(smmuv3_read32(v.regs, SMMUV3_PRIQ_PROD), 16 | SMMUV3_Q_OVFLG);
	smmuv3_write32(v.regs, SMMUV3_PRIQ_CONS, 16);
	assert_int_equal(smmuv3_front_request(v.f, record), -ENOSPC);
	smmuv3_write32(v.regs, SMMUV3_PRIQ_CONS, 16 | SMMUV3_Q_OVFLG);
	assert_int_equal(smmuv3_front_request(v.f, record), 0);
	teardown(&v, 0);
}

/* The edges of a wire since the last call. */
static uint64_t
take_edges(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void
enable_irqs(struct vmm *v)
{
	smmuv3_write32(v->regs, SMMUV3_IRQ_CTRL, (uint32_t)(SMMUV3_IRQ_CTRL_GERROR |
			SMMUV3_IRQ_CTRL_PRIQ | SMMUV3_IRQ_CTRL_EVENTQ));
	smmuv3_write32(v->regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_PRIQEN | SMMUV3_CR0_SMMUEN);
	smmuv3_front_step(v->f, 64);
}

static void
test_wired_interrupts_reach_the_vmm(void **state)
{
	const uint64_t event[4] = { 0x10 }, request[2] = { 8 };
	int fd[SMMUV3_MODEL_NB_IRQS];
	struct vmm v;

	(void)state;
	setup(&v);
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_IRQS; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		smmuv3_front_irq_fd(v.f, i, fd[i]);
	}
	/* Not enabled. */
	assert_int_equal(smmuv3_front_event(v.f, event), 0);
	assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_EVTQ]), 0);
	smmuv3_write32(v.regs, SMMUV3_EVENTQ_CONS, 1);
	enable_irqs(&v);
	/* When a queue is not empty any more. */
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(smmuv3_front_event(v.f, event), 0);
		assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_EVTQ]), i == 0);
		assert_int_equal(smmuv3_front_request(v.f, request), 0);
		assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_PRIQ]), i == 0);
	}
	put(&v, (struct smmuv3_cmd){ .dw = { SMMUV3_OP_SYNC |
			SMMUV3_PUT(SMMUV3_SYNC0_CS, SMMUV3_SYNC_CS_IRQ), 0 } });
	smmuv3_front_step(v.f, 64);
	assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_CMD_SYNC]), 1);
	assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_GERROR]), 0);
	v.refuse = 1;
	put(&v, make_tagged(1));
	smmuv3_front_step(v.f, 64);
	assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_GERROR]), 1);
	/* Removed. */
	smmuv3_front_irq_fd(v.f, SMMUV3_MODEL_IRQ_EVTQ, -1);
	smmuv3_write32(v.regs, SMMUV3_EVENTQ_CONS, 3);
	assert_int_equal(smmuv3_front_event(v.f, event), 0);
	assert_int_equal(take_edges(fd[SMMUV3_MODEL_IRQ_EVTQ]), 0);
	teardown(&v, 0);
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_IRQS; i++)
		close(fd[i]);
}

static void
test_an_msi_address_replaces_the_wire(void **state)
{
	const uint64_t event[4] = { 0x10 };
	int fd = eventfd(0, EFD_NONBLOCK);
	struct vmm v;
	uint32_t word;

	(void)state;
	setup(&v);
	smmuv3_front_irq_fd(v.f, SMMUV3_MODEL_IRQ_EVTQ, fd);
	smmuv3_write64(v.regs, SMMUV3_EVENTQ_IRQ_CFG0, MEM + 0x30000);
	smmuv3_write32(v.regs, SMMUV3_EVENTQ_IRQ_CFG1, 0x77);
	smmuv3_front_step(v.f, 64);
	enable_irqs(&v);
	assert_int_equal(smmuv3_front_event(v.f, event), 0);
	memcpy(&word, v.mem + 0x30000, sizeof(word));
	assert_int_equal(word, 0x77);
	assert_int_equal(take_edges(fd), 0);
	teardown(&v, 0);
	close(fd);
}

static void
test_on_and_off_are_told_before_they_are_acknowledged(void **state)
{
	struct vmm v;
	uint64_t base;
	uint32_t cfg;

	(void)state;
	setup(&v);
	assert_false(smmuv3_front_is_on(v.f));
	assert_true(smmuv3_front_bypasses(v.f));
	smmuv3_write32(v.regs, SMMUV3_GBPA, SMMUV3_GBPA_ABORT | SMMUV3_GBPA_UPDATE);
	smmuv3_write64(v.regs, SMMUV3_STRTAB_BASE, MEM + 0x40000);
	smmuv3_write32(v.regs, SMMUV3_STRTAB_BASE_CFG, 5);
	assert_false(smmuv3_front_records_sids(v.f));
	smmuv3_write32(v.regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID);
	smmuv3_write32(v.regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_SMMUEN);
	smmuv3_front_step(v.f, 64);
	assert_true(smmuv3_front_is_on(v.f));
	assert_false(smmuv3_front_bypasses(v.f));
	assert_int_equal(v.nb_on, 1);
	assert_int_equal(v.strtab, MEM + 0x40000);
	assert_true(smmuv3_front_records_sids(v.f));
	/* The guest may not change them now: the VMM does not see that it tries. */
	smmuv3_write64(v.regs, SMMUV3_STRTAB_BASE, MEM);
	smmuv3_front_step(v.f, 64);
	smmuv3_front_strtab(v.f, &base, &cfg);
	assert_int_equal(base, MEM + 0x40000);
	assert_int_equal(cfg, 5);
	assert_string_equal(smmuv3_front_error(v.f, 0), "STRTAB_BASE written while SMMUEN is set");
	assert_int_equal(v.nb_off, 0);
	smmuv3_write32(v.regs, SMMUV3_CR0, 0);
	smmuv3_front_step(v.f, 64);
	assert_int_equal(v.nb_off, 1);
	assert_int_equal(v.nb_on, 1);
	assert_false(smmuv3_front_is_on(v.f));
	assert_false(smmuv3_front_bypasses(v.f));
	teardown(&v, 1);
}

static void
test_the_vmm_reads_the_guests_memory_and_no_other(void **state)
{
	uint64_t ste[8] = { 0 };
	struct vmm v;

	(void)state;
	setup(&v);
	memset(v.mem + MEM_LEN - 64, 0x77, 64);
	assert_int_equal(smmuv3_front_read(v.f, MEM + MEM_LEN - 64, ste, 64), 0);
	assert_memory_equal(ste, v.mem + MEM_LEN - 64, 64);
	assert_int_equal(smmuv3_front_read(v.f, MEM + MEM_LEN - 56, ste, 64), -EFAULT);
	assert_int_equal(smmuv3_front_read(v.f, MEM - 64, ste, 64), -EFAULT);
	assert_int_equal(smmuv3_front_read(v.f, UINT64_MAX - 63, ste, 64), -EFAULT);
	assert_int_equal(smmuv3_front_read(v.f, MEM, ste, SIZE_MAX - 7), -EFAULT);
	assert_int_equal(smmuv3_front_read(v.f, MEM + 4, ste, 64), -EINVAL);
	assert_int_equal(smmuv3_front_read(v.f, MEM, ste, 4), -EINVAL);
	teardown(&v, 0);
}

static void
test_a_wrong_configuration_makes_no_front_end(void **state)
{
	struct smmuv3_front_ops some = ops;
	struct smmuv3_front_conf conf = { .ops = &some };
	uint8_t *mem = aligned_alloc(4096, 8192);
	struct smmuv3_front *f;

	(void)state;
#define REFUSES_WITH(assignment)						\
	do {									\
		struct smmuv3_front_conf bad = conf;				\
		bad.assignment;							\
		errno = 0;							\
		assert_null(smmuv3_front_create(&bad));				\
		assert_int_equal(errno, EINVAL);				\
	} while (0)
	REFUSES_WITH(ops = NULL);
	REFUSES_WITH(smmu.name = "a");
	REFUSES_WITH(smmu.harsh = SMMUV3_MODEL_HARSH_LATE);
	REFUSES_WITH(smmu.choices = SMMUV3_MODEL_MERGE_EVENTS);
	REFUSES_WITH(smmu.features = SMMUV3_MODEL_ECMDQ);
	REFUSES_WITH(smmu.features = SMMUV3_MODEL_PRI);
	REFUSES_WITH(smmu.sid_bits = 33);
	REFUSES_WITH(smmu.regs = mem + 8);
	REFUSES_WITH(smmu.regs = mem);
	some.sync = NULL;
	assert_null(smmuv3_front_create(&conf));
	some = ops;
	f = smmuv3_front_create(&conf);
	assert_non_null(f);
	assert_int_equal(smmuv3_front_mem_add(f, MEM, mem + 8, 4096), -EINVAL);
	assert_int_equal(smmuv3_front_mem_add(f, MEM + 8, mem, 4096), -EINVAL);
	assert_int_equal(smmuv3_front_mem_add(f, MEM, mem, 8), -EINVAL);
	assert_int_equal(smmuv3_front_mem_add(f, UINT64_C(1) << 48, mem, 4096), -EINVAL);
	assert_int_equal(smmuv3_front_mem_add(f, MEM, mem, 4096), 0);
	assert_int_equal(smmuv3_front_mem_add(f, MEM, mem, 4096), -EEXIST);
	smmuv3_front_destroy(f);
	free(mem);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_commands_come_as_arrays_between_syncs),
	cmocka_unit_test(test_a_step_takes_no_more_commands_than_its_budget),
	cmocka_unit_test(test_cons_and_gerror_show_the_command_that_failed),
	cmocka_unit_test(test_illegal_commands_do_not_reach_the_vmm),
	cmocka_unit_test(test_a_queue_outside_of_the_guests_memory_aborts),
	cmocka_unit_test(test_a_sync_waits_and_tells_of_an_atc),
	cmocka_unit_test(test_a_sync_writes_its_msi_after_it_is_done),
	cmocka_unit_test(test_stall_records_wait_for_room_and_others_overflow),
	cmocka_unit_test(test_a_record_outside_of_the_guests_memory_aborts),
	cmocka_unit_test(test_injected_errors_reach_the_guest),
	cmocka_unit_test(test_page_requests_overflow_until_it_is_acknowledged),
	cmocka_unit_test(test_wired_interrupts_reach_the_vmm),
	cmocka_unit_test(test_an_msi_address_replaces_the_wire),
	cmocka_unit_test(test_on_and_off_are_told_before_they_are_acknowledged),
	cmocka_unit_test(test_the_vmm_reads_the_guests_memory_and_no_other),
	cmocka_unit_test(test_a_wrong_configuration_makes_no_front_end),
};

TEST_SUITE(front, tests, NULL, NULL);
