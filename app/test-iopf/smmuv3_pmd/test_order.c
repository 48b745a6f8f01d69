/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 4: each barrier of the driver stands where its argument says. x86 orders most accesses
 * without barriers, and a model in the same process is coherent, so no other test notices a missing
 * barrier. This driver is built with SMMUV3_ORDER_LOG, and the tests check the order of its
 * register accesses, barriers and structure words.
 */

#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "cr0.h"
#include "hitless_rig.h"
#include "iopf_handler.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define MAX_EVENTS	65536

enum kind {
	READ,
	WRITE,
	MB,
	WMB,
	RMB,
	DW,
};

static struct {
	bool on;
	unsigned int n;
	struct event {
		enum kind kind;
		uint32_t offset;	/* READ and WRITE: the register */
		uint64_t value;
		const uint64_t *dw;	/* DW: the word */
	} events[MAX_EVENTS];
} trail;

static void
add_event(struct event event)
{
	if (!trail.on)
		return;
	assert_true(trail.n < MAX_EVENTS);
	trail.events[trail.n++] = event;
}

void
smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write, uint64_t value)
{
	(void)regs;
	(void)size;
	add_event((struct event){ .kind = write ? WRITE : READ, .offset = offset, .value = value });
}

void
smmuv3_order_log(enum smmuv3_order_event event, const uint64_t *dw)
{
	static const enum kind kinds[] = {
		[SMMUV3_ORDER_MB] = MB,
		[SMMUV3_ORDER_WMB] = WMB,
		[SMMUV3_ORDER_RMB] = RMB,
		[SMMUV3_ORDER_DW] = DW,
	};

	if (event == SMMUV3_ORDER_DW)
		hitless_look();
	add_event((struct event){ .kind = kinds[event], .dw = dw });
}

static void
start_trail(void)
{
	trail.n = 0;
	trail.on = true;
}

static void
stop_trail(void)
{
	trail.on = false;
}

/* The first such event from @p from on, or the number of events if there is none. */
static unsigned int
find_event(unsigned int from, enum kind kind, uint32_t offset)
{
	for (; from < trail.n; from++)
		if (trail.events[from].kind == kind &&
				(kind > WRITE || trail.events[from].offset == offset))
			break;
	return from;
}

static unsigned int
expect_event(unsigned int from, enum kind kind, uint32_t offset)
{
	unsigned int at = find_event(from, kind, offset);

	assert_true(at < trail.n);
	return at;
}

/* Memory written earlier is visible before the register store at @p at. */
static void
assert_stores_come_before(unsigned int at)
{
	/* smmuv3_store_prod() logs the access, executes and logs its barrier, and then stores. */
	if (at + 1 < trail.n && trail.events[at + 1].kind == WMB)
		return;
	assert_true(at > 0);
	assert_true(trail.events[at - 1].kind == WMB || trail.events[at - 1].kind == MB);
}

static void
open_smmu(struct pmd *p, enum iopf_recover recover)
{
	const struct smmuv3_model_conf conf = {
		.features = recover == IOPF_PRI ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
	};

	pmd_open(p, &conf);
	pmd_start(p, recover);
}

static void
send_answer(struct pmd *p)
{
	const struct iopf_answer answer = { .sid = PMD_SID, .pasid = IOPF_NO_PASID, .token = 1 };

	assert_int_equal(p->ops->answer(p->s, &answer, 1), 1);
}

/* Words that the SMMU may fetch are in memory before the command that makes it fetch them. */
static void
test_stores_come_before_each_doorbell(void **state)
{
	static const uint32_t doorbells[] = {
		SMMUV3_CMDQ_PROD, SMMUV3_CR0, SMMUV3_GERRORN, SMMUV3_IRQ_CTRL,
	};
	unsigned int i, at, seen;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	start_trail();
	pmd_start(&p, IOPF_STALL);
	/* The driver acknowledges a fetch that aborted, and the SMMU fetches again. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	send_answer(&p);
	pmd_step(&p);
	for (i = 0; i < 32; i++)
		p.ops->check(p.s);
	stop_trail();
	for (i = 0; i < RTE_DIM(doorbells); i++) {
		seen = 0;
		for (at = find_event(0, WRITE, doorbells[i]); at < trail.n;
				at = find_event(at + 1, WRITE, doorbells[i])) {
			/* The store of 0 to PROD of a disabled queue enables nothing. */
			if (trail.events[at].value == 0 && doorbells[i] == SMMUV3_CMDQ_PROD)
				continue;
			assert_stores_come_before(at);
			seen++;
		}
		assert_true(seen > 0);
	}
	pmd_finish(&p, IOPF_NO_PASID);
}

/* An entry of the command queue is written after the read of the CONS that frees it. */
static void
test_entries_are_written_after_the_cons_that_frees_them(void **state)
{
	unsigned int at, seen = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	start_trail();
	for (unsigned int i = 0; i < 16; i++) {
		send_answer(&p);
		pmd_step(&p);
	}
	stop_trail();
	for (at = find_event(0, READ, SMMUV3_CMDQ_CONS); at < trail.n;
			at = find_event(at + 1, READ, SMMUV3_CMDQ_CONS)) {
		/* smmuv3_load_status() logs its barrier, and then the access. */
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		seen++;
	}
	assert_true(seen > 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The SMMU may have no power after a stop. */
static void
test_a_mark_reads_no_register_after_a_stop(void **state)
{
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_PRI);
	assert_int_equal(p.ops->stop(p.s), 0);
	start_trail();
	for (uint16_t queue = 0; queue < 2; queue++)
		assert_true(p.ops->queue_passed(p.s, queue, p.ops->queue_mark(p.s, queue)));
	stop_trail();
	assert_int_equal(trail.n, 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Data that a status word covers are read after it. Entries are read before CONS frees them. */
static void
test_loads_come_after_each_status_and_before_cons(void **state)
{
	static const uint32_t status[] = {
		SMMUV3_CMDQ_CONS, SMMUV3_CR0ACK, SMMUV3_EVENTQ_PROD, SMMUV3_GERROR,
		SMMUV3_IRQ_CTRLACK,
	};
	struct iopf_event event;
	unsigned int i, at, seen;
	struct pmd p;
	uint8_t byte;

	(void)state;
	pmd_open(&p, NULL);
	start_trail();
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, &byte, 1);
	pmd_wait_event(&p, &event);
	pmd_answer(&p, &event, IOPF_INVALID);
	pmd_wait_done(&p);
	assert_int_equal(smmuv3_cmdq_load_cons(&p.s->cmdq), p.s->cmdq.tail);
	p.ops->queue_mark(p.s, IOPF_QUEUE_EVENTS);
	assert_true(smmuv3_uses_memory(p.s));
	assert_int_equal(p.ops->stop(p.s), 0);
	/* As after a stop that failed: the registers decide. */
	p.s->stopped = false;
	assert_false(smmuv3_uses_memory(p.s));
	stop_trail();
	assert_int_equal(p.ops->start(p.s), 0);
	for (i = 0; i < RTE_DIM(status); i++) {
		seen = 0;
		/*
		 * smmuv3_load_status() loads, executes and logs its barrier, and then logs the
		 * access.
		 */
		for (at = find_event(0, READ, status[i]); at < trail.n;
				at = find_event(at + 1, READ, status[i])) {
			assert_true(at > 0);
			assert_int_equal(trail.events[at - 1].kind, RMB);
			seen++;
		}
		assert_true(seen > 0);
	}
	/* The first store of CONS sets the queue up, the second one frees the entry. */
	at = expect_event(0, WRITE, SMMUV3_EVENTQ_CONS);
	at = expect_event(at + 1, WRITE, SMMUV3_EVENTQ_CONS);
	assert_int_equal(trail.events[at + 1].kind, RMB);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_recovery_reads_gerror_as_a_status(void **state)
{
	unsigned int i, at, told = 0, seen = 0;
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	atomic_store(&p.s->recovery.wanted, true);
	start_trail();
	for (i = 0; i < 1000 && (told == 0 || p.s->recovery.step != SMMUV3_RECOVERY_NONE); i++) {
		told |= p.ops->check(p.s);
		pmd_step(&p);
	}
	stop_trail();
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	for (at = find_event(0, READ, SMMUV3_GERROR); at < trail.n;
			at = find_event(at + 1, READ, SMMUV3_GERROR)) {
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		seen++;
	}
	assert_true(seen > 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Also the last look of a wait that has timed out. */
static void
test_each_look_of_a_wait_is_behind_a_barrier(void **state)
{
	unsigned int at, last = 0, seen = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	p.s->timeout = 1;
	start_trail();
	assert_int_equal(smmuv3_cr0_write(p.s, p.s->cr0 & ~SMMUV3_CR0_SMMUEN), -ETIMEDOUT);
	stop_trail();
	for (at = find_event(0, READ, SMMUV3_CR0ACK); at < trail.n;
			at = find_event(at + 1, READ, SMMUV3_CR0ACK)) {
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		last = at;
		seen++;
	}
	assert_true(seen >= 2);
	/* The other one is that of the MSI word of GERROR, which each wait reads. */
	assert_int_equal(trail.events[last - 2].kind, RMB);
	p.s->timeout = rte_get_tsc_hz();
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

/*
 * inq.h: store CONS, clear the word, full barrier, read PROD. Only then the poll trusts the word.
 */
static void
check_idle_poll(struct pmd *p, uint16_t queue, uint32_t prod)
{
	struct iopf_event events[4];
	unsigned int first, mb;

	start_trail();
	assert_int_equal(p->ops->poll(p->s, queue, events, 4), 0);
	stop_trail();
	first = expect_event(0, READ, prod);
	mb = expect_event(first, MB, 0);
	expect_event(mb, READ, prod);
	/* The poll trusts the word now, and does not read PROD. */
	start_trail();
	assert_int_equal(p->ops->poll(p->s, queue, events, 4), 0);
	stop_trail();
	assert_int_equal(find_event(0, READ, prod), trail.n);
}

static void
test_prod_is_read_behind_a_full_barrier_before_the_word_is_trusted(void **state)
{
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_PRI);
	check_idle_poll(&p, IOPF_QUEUE_EVENTS, SMMUV3_EVENTQ_PROD);
	check_idle_poll(&p, IOPF_QUEUE_REQUESTS, SMMUV3_PRIQ_PROD);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_gerror_is_read_behind_a_full_barrier(void **state)
{
	unsigned int gerror, i;
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	for (i = 0; i < 16; i++) {
		start_trail();
		assert_int_equal(p.ops->check(p.s), 0);
		stop_trail();
		gerror = find_event(0, READ, SMMUV3_GERROR);
		if (gerror < trail.n)
			break;
	}
	/* One check() in 16 reads the register whatever the word says. */
	assert_in_range(i, 0, 15);
	assert_true(find_event(0, MB, 0) < gerror);
	assert_int_equal(trail.events[gerror - 1].kind, RMB);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* cmdq_post.c, O2 and P2. */
static void
test_owner_and_poster_read_behind_a_full_barrier(void **state)
{
	unsigned int prod;
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	start_trail();
	send_answer(&p);
	stop_trail();
	prod = expect_event(0, WRITE, SMMUV3_CMDQ_PROD);
	expect_event(prod, MB, 0);

	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	start_trail();
	send_answer(&p);
	stop_trail();
	assert_int_equal(find_event(0, WRITE, SMMUV3_CMDQ_PROD), trail.n);
	expect_event(0, MB, 0);
	smmuv3_cmdq_disown(&p.s->cmdq);
	assert_false(smmuv3_backlog_has_cmd(&p.s->cmdq.backlog));
	pmd_finish(&p, IOPF_NO_PASID);
}

/* After an asynchronous abort an entry that was not written again must be empty. */
static void
test_entries_are_cleared_before_they_are_freed(void **state)
{
	struct iopf_event event;
	struct pmd p;
	uint8_t byte;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, &byte, 1);
	pmd_step(&p);
	start_trail();
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
	stop_trail();
	assert_int_equal(trail.events[expect_event(1, WRITE, SMMUV3_EVENTQ_CONS) - 1].kind, WMB);
	pmd_answer(&p, &event, IOPF_INVALID);
	pmd_wait_done(&p);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_page_requests_are_cleared_before_they_are_freed(void **state)
{
	struct smmuv3_model_dma *fn;
	struct iopf_answer answer;
	struct iopf_event event;
	struct pmd p;
	uint8_t byte;

	(void)state;
	open_smmu(&p, IOPF_PRI);
	fn = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
		.sid = PMD_SID, .kind = SMMUV3_MODEL_DMA_ATS });
	assert_non_null(fn);
	assert_int_equal(smmuv3_model_dma_ats_enable(fn, 12), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(fn, 8), 0);
	assert_int_equal(smmuv3_model_dma_submit(fn, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = &byte, .len = 1 }), 0);
	pmd_step(&p);
	start_trail();
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1), 1);
	stop_trail();
	assert_int_equal(trail.events[expect_event(1, WRITE, SMMUV3_PRIQ_CONS) - 1].kind, WMB);
	answer = (struct iopf_answer){ .sid = PMD_SID, .pasid = IOPF_NO_PASID,
		.token = event.token, .code = IOPF_INVALID, .page_request = true };
	assert_int_equal(p.ops->answer(p.s, &answer, 1), 1);
	pmd_step(&p);
	assert_int_equal(smmuv3_model_dma_pri_disable(fn), 0);
	assert_true(smmuv3_model_dma_pri_drained(fn));
	assert_int_equal(smmuv3_model_dma_ats_disable(fn), 0);
	smmuv3_model_dma_destroy(fn);
	pmd_finish(&p, IOPF_NO_PASID);
}

static bool
is_within(const uint64_t *dw, const struct smmuv3_mem *mem)
{
	return (const uint8_t *)dw >= (const uint8_t *)mem->va &&
		(const uint8_t *)dw < (const uint8_t *)mem->va + mem->size;
}

/* A second-level table is empty in memory before its first-level entry points to it. */
static void
assert_leaf_comes_first(const struct smmuv3_mem *first_level)
{
	unsigned int at;

	for (at = find_event(0, DW, 0); at < trail.n; at = find_event(at + 1, DW, 0)) {
		if (!is_within(trail.events[at].dw, first_level))
			continue;
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, WMB);
		return;
	}
	fail_msg("no first-level entry was written");
}

static void
test_leaf_tables_are_written_before_they_are_linked(void **state)
{
	const uint32_t sid = 0x4321;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 1024 };
	struct smmuv3_dev *dev;
	struct pmd p;
	void *handle;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	assert_true(p.s->strtab.two_level);
	start_trail();
	assert_int_equal(p.ops->dev_add(p.s, &conf, &handle), 0);
	stop_trail();
	assert_leaf_comes_first(&p.s->strtab.mem);
	dev = handle;
	assert_int_not_equal(dev->cds.fmt, SMMUV3_S1FMT_LINEAR);
	start_trail();
	assert_int_equal(rig_attach(p.ops, p.s, handle, 700, p.domain), 0);
	stop_trail();
	assert_leaf_comes_first(&dev->cds.mem);
	/* A replace links a second leaf. */
	start_trail();
	assert_int_equal(rig_replace(p.ops, p.s, handle, 700, p.domain), 0);
	stop_trail();
	assert_leaf_comes_first(&dev->cds.mem);
	assert_int_equal(rig_detach(p.ops, p.s, handle, 700), 0);
	assert_int_equal(p.ops->dev_del(p.s, handle), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* atc.c, B2: the table is changed before the list of ATCs is read. */
static void
test_the_list_of_atcs_is_read_behind_a_full_barrier(void **state)
{
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096, .leaf_log2 = 12,
		.leaf_only = true };
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_PRI);
	start_trail();
	p.ops->answer_after(p.s, p.domain, &inv, 1, NULL, 0);
	stop_trail();
	assert_true(find_event(0, MB, 0) < expect_event(0, WRITE, SMMUV3_CMDQ_PROD));
	pmd_step(&p);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* state.h, C2: the caller changes its table before it reads the state. */
static void
test_an_invalidation_reads_the_state_behind_a_full_barrier(void **state)
{
	const struct iopf_inv inv = { .all = true };
	unsigned int done;
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	assert_int_equal(p.ops->stop(p.s), 0);
	start_trail();
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &done), 0);
	stop_trail();
	assert_int_equal(done, 1);
	assert_int_equal(find_event(0, WRITE, SMMUV3_CMDQ_PROD), trail.n);
	expect_event(0, MB, 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* state.h, S2: STARTING is stored before the commands that empty the caches. */
static void
test_a_start_is_published_behind_a_full_barrier(void **state)
{
	unsigned int at, last_cr0;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	start_trail();
	assert_int_equal(p.ops->start(p.s), 0);
	stop_trail();
	at = expect_event(0, WRITE, SMMUV3_CMDQ_PROD);
	while (trail.events[at].value == 0)
		at = expect_event(at + 1, WRITE, SMMUV3_CMDQ_PROD);
	/* The barrier is between the stores of the queue's registers and the first commands. */
	last_cr0 = expect_event(0, WRITE, SMMUV3_CMDQ_BASE);
	assert_in_range(find_event(last_cr0, MB, 0), last_cr0, at - 1);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

/* irq.c: CONS and the sleeper's flag are stored before PROD, GERROR and the backlog are read. */
static void
test_a_sleeper_reads_behind_a_full_barrier(void **state)
{
	unsigned int irqs, mb;
	struct pmd p;
	int fd;

	(void)state;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(fd >= 0);
	open_smmu(&p, IOPF_STALL);
	start_trail();
	assert_int_equal(p.ops->idle(p.s, fd), 0);
	stop_trail();
	for (irqs = 0; find_event(irqs + 1, WRITE, SMMUV3_IRQ_CTRL) < trail.n;)
		irqs = find_event(irqs + 1, WRITE, SMMUV3_IRQ_CTRL);
	mb = expect_event(irqs, MB, 0);
	assert_int_equal(trail.events[expect_event(mb, READ, SMMUV3_GERROR) - 1].kind, RMB);
	assert_int_equal(trail.events[expect_event(mb, READ, SMMUV3_EVENTQ_PROD) - 1].kind, RMB);
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	close(fd);
	pmd_finish(&p, IOPF_NO_PASID);
}

/*
 * A stop completes while no other thread owns the command queue, and then the SMMU may have no
 * power: a call that does not own the queue reads no register, whatever its result is.
 */
static void
test_a_wait_reads_registers_as_the_owner_of_the_queue_only(void **state)
{
	const struct iopf_inv inv = { .all = true };
	unsigned int done;
	struct pmd p;

	(void)state;
	open_smmu(&p, IOPF_STALL);
	p.s->timeout = 1;
	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	start_trail();
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &done), -ETIMEDOUT);
	/* No command is executed any more. */
	assert_true(smmuv3_state_set_failed(&p.s->state));
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &done), -ETIMEDOUT);
	stop_trail();
	for (unsigned int i = 0; i < trail.n; i++)
		assert_int_not_equal(trail.events[i].kind, READ);
	smmuv3_cmdq_disown(&p.s->cmdq);
	p.s->timeout = rte_get_tsc_hz();
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_stores_come_before_each_doorbell),
	cmocka_unit_test(test_a_recovery_reads_gerror_as_a_status),
	cmocka_unit_test(test_each_look_of_a_wait_is_behind_a_barrier),
	cmocka_unit_test(test_entries_are_written_after_the_cons_that_frees_them),
	cmocka_unit_test(test_a_mark_reads_no_register_after_a_stop),
	cmocka_unit_test(test_loads_come_after_each_status_and_before_cons),
	cmocka_unit_test(test_prod_is_read_behind_a_full_barrier_before_the_word_is_trusted),
	cmocka_unit_test(test_gerror_is_read_behind_a_full_barrier),
	cmocka_unit_test(test_owner_and_poster_read_behind_a_full_barrier),
	cmocka_unit_test(test_entries_are_cleared_before_they_are_freed),
	cmocka_unit_test(test_page_requests_are_cleared_before_they_are_freed),
	cmocka_unit_test(test_leaf_tables_are_written_before_they_are_linked),
	cmocka_unit_test(test_the_list_of_atcs_is_read_behind_a_full_barrier),
	cmocka_unit_test(test_an_invalidation_reads_the_state_behind_a_full_barrier),
	cmocka_unit_test(test_a_start_is_published_behind_a_full_barrier),
	cmocka_unit_test(test_a_sleeper_reads_behind_a_full_barrier),
	cmocka_unit_test(test_a_wait_reads_registers_as_the_owner_of_the_queue_only),
};

TEST_SUITE(order, tests, NULL, NULL);
