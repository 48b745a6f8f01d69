/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU of examples/vmm-relay: page request groups of its devices. */

#include <rte_common.h>

#include <iopf_stats.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

#define NB_ENTRIES	(1u << VM_PRIQ_LOG2)

static int
setup_pri(void **state)
{
	(void)state;
	vm_open(&(struct vm_conf){ .pri = true });
	return 0;
}

static struct smmuv3_cmd
make_resp(uint16_t index, unsigned int resp)
{
	return smmuv3_cmd_pri_resp(VM_SID, false, 0, index, resp);
}

static bool
is_priq_empty(const struct vm *v)
{
	return smmuv3_q_pos(VM_PRIQ_LOG2, smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD)) ==
		v->ppr_cons;
}

static void
test_a_guest_has_ats_and_pri_as_the_host(void **state)
{
	const uint32_t both = SMMUV3_IDR0_ATS | SMMUV3_IDR0_PRI;
	const struct { struct vm_conf conf; uint32_t shown; } cases[] = {
		{ { .pri = true }, both },
		{ { .pri = true, .no_ats = true }, 0 },
		{ { .pri = false }, 0 },
	};

	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		struct vm *v = &vm_host.vm[0];

		vm_open(&cases[i].conf);
		assert_int_equal(smmuv3_read32(v->regs, SMMUV3_IDR0) & both, cases[i].shown);
		vm_boot(v);
		vm_map(v, 1, 1);
		vm_expect_write(v, 1, 1);
		vm_put(v, make_resp(0, SMMUV3_PRI_RESP_SUCCESS));
		vm_run();
		assert_int_equal(smmuv3_read32(v->regs, SMMUV3_GERROR) != 0, cases[i].shown == 0);
		vm_teardown(state);
	}
}

static void
test_a_page_request_is_answered_by_its_own_guest(void **state)
{
	static const uint64_t values[VM_COUNT] = { 21, 22 };
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	const struct relay_stats *stats = relay_get_stats(v->relay);
	uint16_t index;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_submit(v, 1, &values[0]);
	vm_submit(other, 1, &values[1]);
	index = vm_dev_take_request(&v->dev[0], 1);
	assert_int_equal(vm_dev_take_request(&other->dev[0], 1), index);
	assert_int_equal(relay_count_groups(v->relay), 1);
	/* Of another device, of no device, of no group, of a PASID. */
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID + 1, false, 0, index, SMMUV3_PRI_RESP_INVALID));
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID + VM_DEVS, false, 0, index, SMMUV3_PRI_RESP_INVALID));
	vm_put(v, make_resp(index + 1, SMMUV3_PRI_RESP_INVALID));
	vm_put(v, make_resp(511, SMMUV3_PRI_RESP_INVALID));
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID, true, 0, index, SMMUV3_PRI_RESP_INVALID));
	vm_sync(v);
	assert_int_equal(stats->refused, 5);
	/* Of the other guest. */
	vm_map(other, 1, 1);
	vm_put(other, make_resp(index, SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(other);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(other, 1), values[1]);
	assert_int_equal(smmuv3_model_dma_outstanding(v->dev[0].dma), 1);
	assert_int_equal(relay_count_groups(v->relay), 1);
	vm_map(v, 1, 3);
	vm_put(v, make_resp(index, SMMUV3_PRI_RESP_SUCCESS));
	/* Twice. */
	vm_put(v, make_resp(index, SMMUV3_PRI_RESP_INVALID));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 3), values[0]);
	assert_int_equal(relay_count_groups(v->relay), 0);
	assert_int_equal(stats->groups, 1);
	assert_int_equal(stats->responses, 1);
	assert_int_equal(stats->refused, 6);
	assert_true(is_priq_empty(v) && is_priq_empty(other));
}

/* The endpoint of the other device has the same PRG index. */
static void
test_groups_of_two_devices_are_told_apart(void **state)
{
	static const uint64_t values[VM_DEVS] = { 23, 24 };
	struct vm *v = &vm_host.vm[0];
	uint16_t index[VM_DEVS];

	(void)state;
	vm_boot(v);
	for (unsigned int i = 0; i < VM_DEVS; i++)
		vm_dev_submit(&v->dev[i], 1 + i, &values[i]);
	for (unsigned int i = 0; i < VM_DEVS; i++)
		index[i] = vm_dev_take_request(&v->dev[i], 1 + i);
	vm_map(v, 2, 2);
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID + 1, false, 0, index[1], SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(vm_dev_take_done(&v->dev[1]), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 2), values[1]);
	assert_int_equal(smmuv3_model_dma_outstanding(v->dev[0].dma), 1);
	vm_put(v, make_resp(index[0], SMMUV3_PRI_RESP_INVALID));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
}

static void
test_the_requests_of_a_group_have_one_index_and_one_last(void **state)
{
	static const uint8_t bytes[3 * VM_PAGE] = { 25 };
	struct vm *v = &vm_host.vm[0];
	struct smmuv3_ppr ppr;
	uint64_t index = 0;

	(void)state;
	vm_boot(v);
	vm_dev_write(&v->dev[0], 4, bytes, sizeof(bytes));
	vm_run();
	for (unsigned int i = 0; i < 3; i++) {
		ppr = vm_take_ppr(v);
		if (i == 0)
			index = SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]);
		assert_int_equal(ppr.dw[1], VM_VA(4 + i) | index);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 2);
		vm_map(v, 4 + i, 4 + i);
	}
	assert_true(is_priq_empty(v));
	assert_int_equal(relay_count_groups(v->relay), 1);
	vm_put(v, make_resp((uint16_t)index, SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(v->mem[VM_DATA + 4 * VM_PAGE], 25);
}

static void
test_each_code_reaches_the_endpoint(void **state)
{
	static const uint64_t value = 26;
	struct vm *v = &vm_host.vm[0];

	(void)state;
	vm_boot(v);
	vm_submit(v, 1, &value);
	vm_put(v, make_resp(vm_dev_take_request(&v->dev[0], 1), SMMUV3_PRI_RESP_INVALID));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_false(smmuv3_model_dma_pri_failed(v->dev[0].dma));
	vm_submit(v, 1, &value);
	vm_put(v, make_resp(vm_dev_take_request(&v->dev[0], 1), SMMUV3_PRI_RESP_FAILURE));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(v->dev[0].dma));
	/* PRI is off and on again with a new STE. */
	vm_write_ste(v, 0, SMMUV3_EATS_OFF);
	vm_sync(v);
	vm_write_ste(v, 0, SMMUV3_EATS_FULL);
	vm_sync(v);
	vm_submit(v, 1, &value);
	vm_map(v, 1, 1);
	vm_put(v, make_resp(vm_dev_take_request(&v->dev[0], 1), SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
}

/* As the SMMU does: the endpoint asks again until the guest has acknowledged the overflow [8.2]. */
static void
test_a_full_page_request_queue_costs_its_own_guest(void **state)
{
	static const uint64_t value = 27;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint32_t prod;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	for (unsigned int i = 0; i < NB_ENTRIES; i++)
		vm_submit(v, i, &value);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD) & SMMUV3_Q_OVFLG, 0);
	assert_int_equal(relay_count_groups(v->relay), NB_ENTRIES);
	/* One more, which never rests. */
	vm_dev_write(&v->dev[0], NB_ENTRIES, &value, sizeof(value));
	vm_map(other, 1, 1);
	for (unsigned int i = 0; i < 3; i++) {
		vm_run_some(100);
		vm_dev_write(&other->dev[0], 1, &value, sizeof(value));
		assert_int_equal(vm_dev_wait_done(&other->dev[0]), SMMUV3_MODEL_OK);
	}
	prod = smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD);
	assert_int_equal(prod & SMMUV3_Q_OVFLG, SMMUV3_Q_OVFLG);
	assert_int_equal(relay_count_groups(v->relay), NB_ENTRIES);
	assert_int_equal(relay_get_stats(v->relay)->groups, NB_ENTRIES);
	for (unsigned int i = 0; i < NB_ENTRIES; i++) {
		const struct smmuv3_ppr ppr = vm_take_ppr(v);

		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, VM_VA(i));
		vm_put(v, make_resp((uint16_t)SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]),
				SMMUV3_PRI_RESP_INVALID));
	}
	/* There is room, and no request until the guest has acknowledged the overflow. */
	vm_run_some(100);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD), prod);
	smmuv3_write32(v->regs, SMMUV3_PRIQ_CONS, v->ppr_cons | SMMUV3_Q_OVFLG);
	vm_run();
	vm_map(v, NB_ENTRIES, 9);
	vm_put(v, make_resp(vm_dev_take_request(&v->dev[0], NB_ENTRIES), SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	for (unsigned int i = 0; i < NB_ENTRIES; i++)
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 9), value);
	assert_int_equal(relay_count_groups(v->relay), 0);
}

/* The guest drops requests without Last, and its index is free. */
static void
test_a_group_that_does_not_fit_is_asked_for_again(void **state)
{
	static const uint8_t bytes[3 * VM_PAGE] = { 28 };
	static const uint64_t value = 28;
	struct vm *v = &vm_host.vm[0];
	struct smmuv3_ppr ppr;

	(void)state;
	vm_boot(v);
	for (unsigned int i = 0; i < NB_ENTRIES - 1; i++)
		vm_submit(v, i, &value);
	vm_dev_write(&v->dev[0], 40, bytes, sizeof(bytes));
	vm_run_some(100);
	assert_int_equal(relay_count_groups(v->relay), NB_ENTRIES - 1);
	for (unsigned int i = 0; i < NB_ENTRIES; i++) {
		ppr = vm_take_ppr(v);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i < NB_ENTRIES - 1);
		if (i < NB_ENTRIES - 1)
			vm_put(v, make_resp((uint16_t)SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]),
					SMMUV3_PRI_RESP_INVALID));
	}
	smmuv3_write32(v->regs, SMMUV3_PRIQ_CONS, v->ppr_cons | SMMUV3_Q_OVFLG);
	vm_run();
	for (unsigned int i = 0; i < 3; i++) {
		ppr = vm_take_ppr(v);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, VM_VA(40 + i));
		vm_map(v, 40 + i, 40 + i);
	}
	vm_put(v, make_resp((uint16_t)SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]),
			SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	for (unsigned int i = 0; i < NB_ENTRIES - 1; i++)
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
}

static void
test_a_page_request_queue_that_is_off_ends_the_pri_of_its_devices(void **state)
{
	static const uint64_t value = 29;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];

	(void)state;
	vm_boot(v);
	vm_boot(other);
	smmuv3_write32(v->regs, SMMUV3_CR0, smmuv3_read32(v->regs, SMMUV3_CR0) &
			~SMMUV3_CR0_PRIQEN);
	vm_run();
	vm_submit(v, 1, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(v->dev[0].dma));
	assert_int_equal(relay_count_groups(v->relay), 0);
	assert_false(smmuv3_model_dma_pri_failed(other->dev[0].dma));
	vm_submit(other, 1, &value);
	vm_put(other, make_resp(vm_dev_take_request(&other->dev[0], 1), SMMUV3_PRI_RESP_INVALID));
	vm_sync(other);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_ABORTED);
}

static void
test_a_guest_that_stops_leaves_no_group_outstanding(void **state)
{
	static const uint64_t value = 30;
	struct vm *v = &vm_host.vm[0];
	uint16_t index;

	(void)state;
	for (unsigned int how = 0; how < 3; how++) {
		vm_boot(v);
		vm_submit(v, 1, &value);
		index = vm_dev_take_request(&v->dev[0], 1);
		switch (how) {
		case 0:
			smmuv3_write32(v->regs, SMMUV3_CR0, 0);
			break;
		case 1:
			assert_int_equal(relay_reset(v->relay), 0);
			break;
		default:
			vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
			vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
			break;
		}
		vm_run();
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
		assert_true(smmuv3_model_dma_pri_drained(v->dev[0].dma));
		assert_int_equal(smmuv3_model_dma_pri_outstanding(v->dev[0].dma), 0);
		/* With the SMMU on the guest still answers. */
		assert_int_equal(relay_count_groups(v->relay), how == 2);
	}
	vm_put(v, make_resp(index, SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(relay_count_groups(v->relay), 0);
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_expect_write(v, 1, 1);
}

/* After a detach the endpoint's index is free, and the guest may still answer the old group. */
static void
test_a_late_answer_is_none_to_the_next_group(void **state)
{
	static const uint64_t value = 32;
	struct vm *v = &vm_host.vm[0];
	uint16_t late, index;

	(void)state;
	vm_boot(v);
	vm_submit(v, 1, &value);
	late = vm_dev_take_request(&v->dev[0], 1);
	vm_write_ste(v, 0, SMMUV3_EATS_OFF);
	vm_sync(v);
	vm_write_ste(v, 0, SMMUV3_EATS_FULL);
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	vm_submit(v, 1, &value);
	index = vm_dev_take_request(&v->dev[0], 1);
	assert_int_not_equal(index, late);
	vm_put(v, make_resp(late, SMMUV3_PRI_RESP_INVALID));
	vm_sync(v);
	assert_int_equal(smmuv3_model_dma_outstanding(v->dev[0].dma), 1);
	assert_int_equal(relay_count_groups(v->relay), 1);
	vm_map(v, 1, 1);
	vm_put(v, make_resp(index, SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(relay_count_groups(v->relay), 0);
}

/* The host reports it. An event of the guest would be a fault that it never had. */
static void
test_a_group_whose_last_is_lost_is_no_event_of_the_guest(void **state)
{
	static const uint8_t bytes[2 * VM_PAGE];
	struct vm *v = &vm_host.vm[0];

	vm_open(&(struct vm_conf){ .pri = true, .partial_ms = 1 });
	vm_boot(v);
	smmuv3_model_dma_quirks(v->dev[0].dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 1);
	vm_dev_write(&v->dev[0], 1, bytes, sizeof(bytes));
	for (unsigned int i = 0; iopf_iommu_stat(vm_host.smmu, IOPF_IOMMU_STAT_AGED) == 0; i++) {
		assert_in_range(i, 0, 100000000);
		vm_run_some(1);
	}
	vm_run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), 0);
	assert_true(is_priq_empty(v));
	smmuv3_model_dma_quirks(v->dev[0].dma, 0, 0);
	smmuv3_model_dma_reset(v->dev[0].dma);
	vm_run();
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	vm_teardown(state);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup_pri, vm_teardown)
static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_guest_has_ats_and_pri_as_the_host),
	CASE(test_a_page_request_is_answered_by_its_own_guest),
	CASE(test_groups_of_two_devices_are_told_apart),
	CASE(test_the_requests_of_a_group_have_one_index_and_one_last),
	CASE(test_each_code_reaches_the_endpoint),
	CASE(test_a_full_page_request_queue_costs_its_own_guest),
	CASE(test_a_group_that_does_not_fit_is_asked_for_again),
	CASE(test_a_page_request_queue_that_is_off_ends_the_pri_of_its_devices),
	CASE(test_a_guest_that_stops_leaves_no_group_outstanding),
	CASE(test_a_late_answer_is_none_to_the_next_group),
	cmocka_unit_test(test_a_group_whose_last_is_lost_is_no_event_of_the_guest),
};

TEST_SUITE(vmm_relay_pri, tests, NULL, NULL);
