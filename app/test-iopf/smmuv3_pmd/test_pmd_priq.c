/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The page request queue, against an SMMU played by the test, which says what was lost and
 * where. priq.c is compiled in here once more, so that each access to a register is seen.
 */

#include <stdlib.h>
#include <string.h>

#define SMMUV3_ACCESS_LOG
#include "pmd_rig.h"
#include "test.h"

#define smmuv3_priq_poll	seen_poll
#define smmuv3_priq_lost	seen_lost
#define smmuv3_priq_losing	seen_losing
#define smmuv3_priq_alloc	seen_alloc
#define smmuv3_priq_setup	seen_setup
#include "../../drivers/smmuv3_pmd/priq.c"

/* What the driver has to say, in this order. */
enum item {
	REQUEST,
	UNWRITTEN,	/* PROD has passed it, and nothing is there */
	LOST,
};

struct fake {
	struct pmd p;
	unsigned int log2;
	uint32_t prod;			/* register */
	bool blocked;			/* PRIQ_ABT_ERR, or SMMUEN = 0 */
	unsigned int seed;
	unsigned int meanwhile;		/* one in so many accesses finds that something happened */
	/* the stream, from the oldest that was not polled */
	struct { enum item item; uint32_t serial; } stream[4096];
	unsigned int head, tail;
	uint32_t serial;
	bool told;			/* the last that was polled was LOST */
	unsigned int nb_overflows, nb_lost;
	/* what the driver did in one call */
	unsigned int cons_stores;
	uint32_t cons;
	uint32_t cons_before;
};

static struct fake *f;

static bool
chance(unsigned int one_in)
{
	return one_in > 0 && (unsigned int)rand_r(&f->seed) % one_in == 0;
}

static void
expect(enum item item, uint32_t serial)
{
	/* Two losses at one place are one. */
	if (item == LOST && (f->tail == f->head ? f->told :
			f->stream[(f->tail - 1) % RTE_DIM(f->stream)].item == LOST))
		return;
	f->stream[f->tail % RTE_DIM(f->stream)].item = item;
	f->stream[f->tail % RTE_DIM(f->stream)].serial = serial;
	f->tail++;
	assert_true(f->tail - f->head <= RTE_DIM(f->stream));
}

static uint32_t
reg(uint32_t offset)
{
	/* Not the driver's accesses. */
	return atomic_load(smmuv3_reg32(f->p.s->regs, offset));
}

static void
set_prod(uint32_t prod)
{
	f->prod = prod;
	atomic_store(smmuv3_reg32(f->p.s->regs, SMMUV3_PRIQ_PROD), prod);
}

/* A page request arrives [8.1, 8.2]. */
static void
arrive(enum item item, uint64_t dw0, uint64_t dw1)
{
	struct smmuv3_ppr *ring = f->p.s->priq.q.ring;
	uint32_t cons = reg(SMMUV3_PRIQ_CONS), prod = f->prod;
	bool over = (prod ^ cons) & SMMUV3_Q_OVFLG;

	if (f->blocked || over)
		return;
	assert_true(smmuv3_q_legal(f->log2, prod, cons));
	if (smmuv3_q_full(f->log2, prod, cons)) {
		set_prod(prod ^ SMMUV3_Q_OVFLG);
		f->nb_overflows++;
		expect(LOST, 0);
		return;
	}
	if (item == REQUEST)
		ring[smmuv3_q_slot(f->log2, prod)] = (struct smmuv3_ppr){ .dw = { dw0, dw1 } };
	expect(item, dw1 >> 12);
	set_prod(smmuv3_q_add(f->log2, prod, 1) | (prod & SMMUV3_Q_OVFLG));
	if (f->p.s->idr0 & SMMUV3_IDR0_MSI && smmuv3_q_empty(f->log2, prod, cons))
		atomic_store(&f->p.s->words->priq.v, 1);
}

#define SSV	SMMUV3_PPR0_SSV
#define LAST	SMMUV3_PPR0_LAST
#define W	SMMUV3_PPR0_W
#define R	SMMUV3_PPR0_R
#define SID	UINT64_C(0x1234)

static void
request(void)
{
	f->serial++;
	arrive(REQUEST, SID | W | (f->serial & 1 ? LAST : 0),
			(uint64_t)f->serial << 12 | (f->serial & 0x1ff));
}

/* GERROR.PRIQ_ABT_ERR, or SMMUEN = 0 ... */
static void
block(void)
{
	if (f->blocked)
		return;
	/* ... perhaps with an entry that was not written. */
	if (chance(2))
		arrive(UNWRITTEN, 0, 0);
	f->blocked = true;
	expect(LOST, 0);
}

/* ... and what check() does about it. */
static void
unblock(void)
{
	if (!f->blocked || seen_losing(f->p.s))
		return;
	seen_lost(f->p.s);
	f->nb_lost++;
	f->blocked = false;
}

static void
something(void)
{
	if (chance(20))
		block();
	if (chance(4))
		unblock();
	for (unsigned int i = (unsigned int)rand_r(&f->seed) % 4; i > 0; i--)
		request();
}

void
smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write, uint64_t value)
{
	if (f == NULL || regs != f->p.s->regs)
		return;
	if (offset == SMMUV3_PRIQ_PROD || offset == SMMUV3_PRIQ_CONS)
		assert_int_equal(size, 4);
	/* After a load, before a store. */
	if (chance(f->meanwhile))
		something();
	if (write) {
		assert_int_equal(offset, SMMUV3_PRIQ_CONS);
		f->cons_stores++;
		f->cons = value;
	}
}

static void
fake_open_sids(struct fake *fake, unsigned int log2, bool msi, unsigned int sid_bits)
{
	memset(fake, 0, sizeof(*fake));
	fake->log2 = log2;
	fake->seed = 1 + log2;
	pmd_open(&fake->p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.no_features = msi ? 0 : SMMUV3_MODEL_NO_MSI,
		.sid_bits = sid_bits,
		.priq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2 });
	assert_int_equal(fake->p.ops->start(fake->p.s), 0);
	assert_int_equal(fake->p.s->priq.q.log2, log2);
	/* The model never steps from here on. */
	fake->p.untidy = true;
	f = fake;
}

static void
fake_open(struct fake *fake, unsigned int log2, bool msi)
{
	fake_open_sids(fake, log2, msi, 16);
}

static void
fake_close(void)
{
	struct pmd *p = &f->p;

	set_prod(reg(SMMUV3_PRIQ_CONS));
	f = NULL;
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

static uint16_t
poll(struct iopf_event *events, uint16_t n)
{
	uint16_t got;

	memset(events, 0xa5, n * sizeof(*events));
	f->cons_stores = 0;
	f->cons_before = reg(SMMUV3_PRIQ_CONS);
	got = seen_poll(f->p.s, events, n);
	assert_true(got <= n);
	/* One store for a burst, none for nothing. */
	assert_int_equal(f->cons_stores, got > 0);
	if (got > 0)
		assert_int_equal(reg(SMMUV3_PRIQ_CONS), f->cons);
	return got;
}

/* All in order, and the acknowledgement with the marker. */
static uint16_t
poll_stream(uint16_t n)
{
	struct iopf_event events[64];
	uint16_t got = poll(events, n), records = got;

	for (unsigned int i = 0; i < got; i++) {
		if (events[i].flags == IOPF_EVENT_LOST && f->told)
			continue;
		assert_true(f->head != f->tail);
		switch (f->stream[f->head % RTE_DIM(f->stream)].item) {
		case REQUEST:
			assert_int_equal(events[i].flags & ~IOPF_EVENT_LAST,
					IOPF_EVENT_PAGE_REQUEST);
			assert_int_equal(events[i].addr >> 12,
					f->stream[f->head % RTE_DIM(f->stream)].serial);
			break;
		case UNWRITTEN:
			assert_int_equal(events[i].flags, IOPF_EVENT_BAD);
			break;
		case LOST:
			assert_int_equal(events[i].flags, IOPF_EVENT_LOST);
			/* The last of its burst. */
			assert_int_equal(i, got - 1);
			break;
		}
		f->told = events[i].flags == IOPF_EVENT_LOST;
		f->head++;
	}
	if (got > 0 && events[got - 1].flags == IOPF_EVENT_LOST)
		records--;
	if (got > 0)
		assert_int_equal(smmuv3_q_count(f->log2, f->cons, f->cons_before), records);
	/* Acknowledged with a marker, and then only. */
	if (got > 0 && (f->cons ^ f->cons_before) & SMMUV3_Q_OVFLG)
		assert_int_equal(events[got - 1].flags, IOPF_EVENT_LOST);
	return got;
}

static void
test_requests_are_decoded(void **state)
{
	struct iopf_event e;
	struct fake fake;

	(void)state;
	fake_open(&fake, 3, false);

	/* SSV, Last, W; SSID 5; SID 8; index 0x1ff. */
	arrive(REQUEST, UINT64_C(0xe000000500000008), UINT64_C(0xfedcba98765431ff));
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.sid, 8);
	assert_int_equal(e.pasid, 5);
	assert_int_equal(e.token, 0x1ff);
	assert_int_equal(e.addr, UINT64_C(0xfedcba9876543000));
	assert_int_equal(e.ipa, 0);
	assert_int_equal(e.perm, IOPF_PERM_WRITE);
	assert_int_equal(e.reason, IOPF_REASON_TRANSLATION);
	assert_int_equal(e.raw_id, 0);

	/* SSV, R, X, privileged; the largest SSID and SID. */
	arrive(REQUEST, UINT64_C(0x9c0fffff0000ffff), 0);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST);
	assert_int_equal(e.sid, 0xffff);
	assert_int_equal(e.pasid, 0xfffff);
	assert_int_equal(e.token, 0);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_EXEC | IOPF_PERM_PRIV);

	/* Without SSV there is no SSID, and neither X nor Priv. */
	arrive(REQUEST, UINT64_C(0x7c00012300000008), 0x1000);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_WRITE);
	fake_close();
}

/* [8.1]: without SSV the same bits are a request for nothing, and want an answer. */
static void
test_a_stop_marker_has_a_pasid(void **state)
{
	struct iopf_event e;
	struct fake fake;

	(void)state;
	fake_open(&fake, 3, false);
	/* X, Priv, index and address mean nothing in it. */
	arrive(REQUEST, SSV | LAST | SMMUV3_PPR0_X | SMMUV3_PPR0_PRIV | UINT64_C(7) << 32 | SID,
			0xabcd1ff);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_STOP_MARKER);
	assert_int_equal(e.sid, SID);
	assert_int_equal(e.pasid, 7);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.token, 0);
	assert_int_equal(pmd_stat(&fake.p, "priq_stop_markers"), 1);

	arrive(REQUEST, LAST | SID, 0x1003);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.token, 3);
	assert_int_equal(e.addr, 0x1000);

	/* Read or write, and it is a request. */
	arrive(REQUEST, SSV | LAST | R | SID, 0);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	arrive(REQUEST, SSV | LAST | W | SID, 0);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(pmd_stat(&fake.p, "priq_stop_markers"), 1);
	fake_close();
}

static void
test_entries_that_cannot_be_are_bad(void **state)
{
	static const uint64_t bad[] = {
		0,				/* was never written */
		SID,				/* asks for nothing, and closes nothing */
		SSV | SID,
		SSV | SMMUV3_PPR0_X | SID,
		LAST | W | UINT64_C(0x10000),	/* a StreamID that the SMMU does not have */
		SSV | LAST | UINT64_C(0xffffffff),
		UINT64_C(0x03f0000000000000) | SID,	/* nothing but RES0 bits */
	};
	struct iopf_event e;
	struct fake fake;
	unsigned int i;

	(void)state;
	fake_open(&fake, 3, false);
	for (i = 0; i < RTE_DIM(bad); i++) {
		arrive(REQUEST, bad[i], 0x1007);
		assert_int_equal(poll(&e, 1), 1);
		assert_int_equal(e.flags, IOPF_EVENT_BAD);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		assert_int_equal(pmd_stat(&fake.p, "bad_requests"), i + 1);
	}
	/* RES0 bits say nothing. */
	arrive(REQUEST, UINT64_C(0x03f0000000000000) | W | SID, 0xe00);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST);
	assert_int_equal(e.token, 0);
	assert_int_equal(pmd_stat(&fake.p, "bad_requests"), i);
	assert_int_equal(pmd_stat(&fake.p, "requests"), i + 1);
	fake_close();
}

/* Its stream table has fewer [6.3.24], but a request asks for no STE, and wants an answer. */
static void
test_all_streams_of_the_smmu_may_ask(void **state)
{
	struct iopf_event e;
	struct fake fake;

	(void)state;
	fake_open_sids(&fake, 3, false, 32);
	assert_true(fake.p.info.sid_bits < 32);
	arrive(REQUEST, LAST | W | UINT64_C(0xffffffff), 0x1000);
	assert_int_equal(poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.sid, UINT32_MAX);
	fake_close();
}

static void
test_whatever_is_written_is_decoded_within_bounds(void **state)
{
	struct iopf_event e;
	struct fake fake;
	unsigned int seen[256] = { 0 };

	(void)state;
	fake_open(&fake, 3, false);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t dw[2] = { 0, 0 };

		for (unsigned int k = 0; k < 8; k++)
			dw[k / 4] = dw[k / 4] << 16 ^ (uint64_t)(rand_r(&f->seed) & 0xffff);
		/* Half of the StreamIDs exist. */
		if (i & 1)
			dw[0] &= ~UINT64_C(0xffff0000);
		f->head = f->tail;
		arrive(REQUEST, dw[0], dw[1]);
		assert_int_equal(poll(&e, 1), 1);
		assert_true(e.flags == IOPF_EVENT_PAGE_REQUEST || e.flags == IOPF_EVENT_BAD ||
				e.flags == (IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST) ||
				e.flags == IOPF_EVENT_STOP_MARKER);
		assert_true(e.pasid == IOPF_NO_PASID || e.pasid < 1 << 20);
		assert_true(e.token < 512);
		assert_int_equal(e.addr & 0xfff, 0);
		assert_int_equal(e.perm & ~(IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_EXEC |
				IOPF_PERM_PRIV), 0);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		if (e.flags != IOPF_EVENT_BAD)
			assert_true(e.sid < 1 << 16);
		seen[e.flags]++;
	}
	assert_true(seen[IOPF_EVENT_BAD] > 0 && seen[IOPF_EVENT_STOP_MARKER] > 0 &&
			seen[IOPF_EVENT_PAGE_REQUEST] > 0 &&
			seen[IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST] > 0);
	fake_close();
}

static void
test_a_burst_has_one_consumer_store(void **state)
{
	struct iopf_event e[8];
	struct fake fake;
	unsigned int i, n, left;

	(void)state;
	for (unsigned int log2 = 0; log2 < 4; log2++) {
		fake_open(&fake, log2, false);
		for (unsigned int round = 0; round < 100; round++) {
			left = 1 + round % (1u << log2);
			for (i = 0; i < left; i++)
				request();
			while (left > 0) {
				/* poll() counts the stores. */
				n = poll_stream(1 + round % 5);
				assert_int_equal(n, RTE_MIN(1 + round % 5, left));
				left -= n;
			}
			assert_int_equal(poll(e, 8), 0);
		}
		assert_int_equal(pmd_stat(&fake.p, "priq_losses"), 0);
		fake_close();
	}
}

/*
 * The request that finds the queue full at each position, every size of a burst: the marker
 * comes last, and its burst frees what is before it and acknowledges in one store.
 */
static void
test_an_overflow_is_acknowledged_where_it_is_told(void **state)
{
	struct iopf_event e[16];
	struct fake fake;
	unsigned int log2, n, at, i, got, left;

	(void)state;
	for (log2 = 0; log2 < 4; log2++)
		for (n = 1; n <= 10; n++)
			for (at = 0; at < 2u << log2; at++) {
				fake_open(&fake, log2, at & 1);
				for (i = 0; i < at; i++) {
					request();
					assert_int_equal(poll_stream(8), 1);
				}
				for (i = 0; i < (2u << log2) + 1; i++)
					request();
				assert_int_equal(f->nb_overflows, 1);
				for (left = 1u << log2; left > 0; left -= got) {
					uint32_t ack = reg(SMMUV3_PRIQ_CONS) & SMMUV3_Q_OVFLG;

					got = poll(e, n);
					assert_true(got > 0);
					/* Not before: nothing may be accepted yet. */
					if (got < left + 1)
						assert_int_equal(f->cons & SMMUV3_Q_OVFLG, ack);
					for (i = 0; i < RTE_MIN(got, left); i++)
						assert_int_equal(e[i].flags & ~IOPF_EVENT_LAST,
								IOPF_EVENT_PAGE_REQUEST);
					if (got == left + 1)
						break;
				}
				if (n == 1) {
					assert_int_equal(left, 0);
					got = poll(e, 1);
					assert_int_equal(got, 1);
				} else {
					assert_int_equal(got, left + 1);
				}
				assert_int_equal(e[got - 1].flags, IOPF_EVENT_LOST);
				assert_int_equal(f->cons, f->prod);
				/* Once, and the next is an ordinary one. */
				assert_int_equal(poll(e, n), 0);
				f->head = f->tail;
				request();
				assert_int_equal(poll_stream(n), 1);
				assert_int_equal(pmd_stat(&fake.p, "priq_overflows"), 1);
				assert_int_equal(pmd_stat(&fake.p, "priq_losses"), 1);
				fake_close();
			}
}

/* Entered after PROD was read, so that no entry is left to be freed with it. */
static void
test_an_overflow_behind_an_empty_queue_is_told(void **state)
{
	struct iopf_event e[4];
	struct fake fake;

	(void)state;
	for (unsigned int msi = 0; msi < 2; msi++) {
		fake_open(&fake, 1, msi);
		request();
		request();
		/* Two are known, one is read. */
		assert_int_equal(poll(e, 1), 1);
		/* A request that came in between found the queue full. */
		set_prod(f->prod ^ SMMUV3_Q_OVFLG);
		assert_int_equal(poll(e, 4), 1);
		assert_int_equal(e[0].flags & IOPF_EVENT_LOST, 0);
		assert_int_equal(f->cons & SMMUV3_Q_OVFLG, 0);
		for (unsigned int i = 0; i < 64 && poll(e, 4) == 0; i++)
			;
		assert_int_equal(e[0].flags, IOPF_EVENT_LOST);
		assert_int_equal(f->cons, f->prod);
		assert_int_equal(poll(e, 4), 0);
		assert_int_equal(pmd_stat(&fake.p, "priq_overflows"), 1);
		f->head = f->tail;
		request();
		assert_int_equal(poll_stream(4), 1);
		fake_close();
	}
}

static void
test_a_producer_index_that_cannot_be_drops_all(void **state)
{
	struct iopf_event e[4];
	struct fake fake;
	unsigned int i, k;

	(void)state;
	for (unsigned int msi = 0; msi < 2; msi++) {
		fake_open(&fake, 3, msi);
		for (i = 9; i < 16; i++)
			for (k = 0; k < 2; k++) {
				uint64_t was = pmd_stat(&fake.p, "bad_priq_prod");
				uint32_t prod;

				/* What was left behind is not seen again. */
				f->head = f->tail;
				f->told = false;
				request();
				assert_int_equal(poll_stream(4), 1);
				request();
				prod = smmuv3_q_add(3, reg(SMMUV3_PRIQ_CONS), i) |
					(f->prod & SMMUV3_Q_OVFLG);
				set_prod(prod ^ (k == 1 ? SMMUV3_Q_OVFLG : 0));
				assert_int_equal(poll(e, 4), 1);
				assert_int_equal(e[0].flags, IOPF_EVENT_LOST);
				assert_int_equal(f->cons, f->prod);
				assert_int_equal(pmd_stat(&fake.p, "bad_priq_prod"), was + 1);
				assert_int_equal(poll(e, 4), 0);
				f->head = f->tail;
				f->told = false;
				for (unsigned int u = 0; u < 8; u++)
					arrive(UNWRITTEN, 0, 0);
				for (unsigned int u = 0; u < 8; u++)
					assert_int_equal(poll_stream(1), 1);
			}
		fake_close();
	}
}

/* PROD passed entries that an abort kept from being written. */
static void
test_an_entry_that_was_never_written_is_no_old_request(void **state)
{
	struct fake fake;

	(void)state;
	fake_open(&fake, 2, false);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 4; i++)
			request();
		while (f->head != f->tail)
			assert_true(poll_stream(3) > 0);
		arrive(UNWRITTEN, 0, 0);
		request();
		arrive(UNWRITTEN, 0, 0);
		assert_int_equal(poll_stream(8), 3);
	}
	assert_int_equal(pmd_stat(&fake.p, "bad_requests"), 10);
	fake_close();
}

/* A loss that check() found, at each place among the entries. */
static void
test_a_loss_is_told_at_its_place(void **state)
{
	struct iopf_event e[16];
	struct fake fake;
	unsigned int n, before, read, i, at;

	(void)state;
	for (n = 1; n <= 9; n++)
		for (before = 0; before <= 4; before++)
			for (read = 0; read <= before; read++) {
				fake_open(&fake, 3, n & 1);
				for (i = 0; i < before; i++)
					request();
				for (i = 0; i < read; i++)
					assert_int_equal(poll_stream(1), 1);
				block();
				if (f->head == f->tail)
					assert_int_equal(before, read);
				unblock();
				assert_true(seen_losing(f->p.s));
				for (i = 0; i < 4; i++)
					request();
				while (f->head != f->tail)
					assert_true(poll_stream(n) > 0);
				assert_false(seen_losing(f->p.s));
				assert_int_equal(poll(e, 8), 0);
				assert_int_equal(pmd_stat(&fake.p, "priq_losses"), 1);
				fake_close();
			}
	/* Two while nobody polls: the later place, and everything is told. */
	fake_open(&fake, 3, false);
	request();
	seen_lost(f->p.s);
	request();
	seen_lost(f->p.s);
	request();
	for (at = 0, i = 0; i < 4; i++) {
		assert_int_equal(poll(e, 1), 1);
		if (e[0].flags == IOPF_EVENT_LOST)
			at = i;
	}
	assert_int_equal(at, 2);
	assert_int_equal(poll(e, 1), 0);
	fake_close();
}

/*
 * Anything at any moment, between two accesses of the driver too: what it says is what
 * happened, in that order.
 */
static void
test_the_stream_is_what_happened(void **state)
{
	struct fake fake;
	unsigned int overflows = 0, lost = 0;

	(void)state;
	for (unsigned int k = 0; k < 2 * 5 * 3; k++) {
		fake_open(&fake, k / 2 % 5, k & 1);
		f->meanwhile = k / 10 == 0 ? 0 : 1 + k / 10;
		f->seed = k;
		for (unsigned int i = 0; i < 4000; i++) {
			if (chance(3))
				something();
			poll_stream(1 + (unsigned int)rand_r(&f->seed) % (i & 256 ? 3 : 40));
		}
		f->meanwhile = 0;
		for (unsigned int i = 0; i < 500; i++) {
			unblock();
			poll_stream(5);
		}
		assert_false(f->blocked);
		assert_int_equal(f->head, f->tail);
		assert_int_equal((f->prod ^ reg(SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG, 0);
		assert_int_equal(pmd_stat(&fake.p, "priq_overflows"), f->nb_overflows);
		assert_int_equal(pmd_stat(&fake.p, "missed_priq_msis"), 0);
		assert_int_equal(pmd_stat(&fake.p, "bad_priq_prod"), 0);
		overflows += f->nb_overflows;
		lost += f->nb_lost;
		fake_close();
	}
	/* It was worth it. */
	assert_true(overflows > 1000);
	assert_true(lost > 1000);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_requests_are_decoded),
	cmocka_unit_test(test_a_stop_marker_has_a_pasid),
	cmocka_unit_test(test_entries_that_cannot_be_are_bad),
	cmocka_unit_test(test_all_streams_of_the_smmu_may_ask),
	cmocka_unit_test(test_whatever_is_written_is_decoded_within_bounds),
	cmocka_unit_test(test_a_burst_has_one_consumer_store),
	cmocka_unit_test(test_an_overflow_is_acknowledged_where_it_is_told),
	cmocka_unit_test(test_an_overflow_behind_an_empty_queue_is_told),
	cmocka_unit_test(test_a_producer_index_that_cannot_be_drops_all),
	cmocka_unit_test(test_an_entry_that_was_never_written_is_no_old_request),
	cmocka_unit_test(test_a_loss_is_told_at_its_place),
	cmocka_unit_test(test_the_stream_is_what_happened),
};

TEST_SUITE(pmd_priq, tests, NULL, NULL);
