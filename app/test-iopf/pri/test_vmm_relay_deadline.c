/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The virtual SMMU of examples/vmm-relay: what a guest never answers. Guest 0 has a deadline, guest
 * 1 has none.
 */

#include <rte_common.h>

#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

#define STALLS		64u		/* STALL_MAX of the virtual SMMU */
#define GROUPS		512u		/* PRG indices of a device */
#define BURST		(1u << VM_PRIQ_LOG2)

static const uint64_t value = 51;

static int
setup_stalls(void **state)
{
	(void)state;
	vm_open(&(struct vm_conf){ .deadline_ms = 1 });
	return 0;
}

static int
setup_pri(void **state)
{
	(void)state;
	vm_open(&(struct vm_conf){ .pri = true, .deadline_ms = 1 });
	return 0;
}

static void
resume(struct vm *v, uint16_t stag, bool retry)
{
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, retry, !retry));
	vm_sync(v);
}

static void
respond(struct vm *v, uint16_t index, unsigned int resp)
{
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID, false, 0, index, resp));
	vm_sync(v);
}

/* A fault of device 0 that its guest does not answer. */
static void
expect_expired(struct vm *v)
{
	vm_dev_write(&v->dev[0], 1, &value, sizeof(value));
	assert_int_equal(vm_dev_wait_done(&v->dev[0]), SMMUV3_MODEL_ABORTED);
	vm_run();
}

/* Neither the guest's other device nor the other guest waits for it. */
static void
expect_others_go_on(struct vm *v, struct vm *other)
{
	vm_map(v, 2, 2);
	vm_dev_expect_write(&v->dev[1], 2, 2);
	vm_map(other, 2, 2);
	vm_expect_write(other, 2, 2);
}

static void
test_a_stall_ends_at_the_deadline_and_its_stag_when_it_is_answered(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint16_t stag, next, others;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_submit(other, 1, &value);
	expect_expired(v);
	stag = vm_take_stall(v, 1);
	assert_int_equal(relay_count_stalls(v->relay), 1);
	expect_others_go_on(v, other);
	expect_expired(v);
	next = vm_take_stall(v, 1);
	assert_int_not_equal(next, stag);
	assert_int_equal(relay_count_stalls(v->relay), 2);
	/* No further event tells the guest that they have ended. */
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
	/* That of the other guest waits all the time. */
	others = vm_take_stall(other, 1);
	vm_map(other, 1, 1);
	resume(other, others, true);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
	/* Late answers. */
	resume(v, stag, true);
	assert_int_equal(relay_count_stalls(v->relay), 1);
	expect_expired(v);
	assert_int_equal(vm_take_stall(v, 1), stag);
	resume(v, stag, true);
	resume(v, next, false);
	assert_int_equal(relay_count_stalls(v->relay), 0);
	assert_int_equal(relay_get_stats(v->relay)->refused, 0);
}

static void
test_a_group_ends_at_the_deadline_and_its_index_when_it_is_answered(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint16_t index, next, others;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_submit(other, 1, &value);
	expect_expired(v);
	index = vm_dev_take_request(&v->dev[0], 1);
	assert_int_equal(relay_count_groups(v->relay), 1);
	assert_false(smmuv3_model_dma_pri_failed(v->dev[0].dma));
	expect_others_go_on(v, other);
	expect_expired(v);
	next = vm_dev_take_request(&v->dev[0], 1);
	assert_int_not_equal(next, index);
	assert_int_equal(relay_count_groups(v->relay), 2);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), 0);
	others = vm_dev_take_request(&other->dev[0], 1);
	vm_map(other, 1, 1);
	respond(other, others, SMMUV3_PRI_RESP_SUCCESS);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
	/* Late answers; a Response Failure has no effect any more. */
	respond(v, index, SMMUV3_PRI_RESP_FAILURE);
	assert_int_equal(relay_count_groups(v->relay), 1);
	assert_false(smmuv3_model_dma_pri_failed(v->dev[0].dma));
	expect_expired(v);
	assert_int_equal(vm_dev_take_request(&v->dev[0], 1), index);
	respond(v, index, SMMUV3_PRI_RESP_SUCCESS);
	respond(v, next, SMMUV3_PRI_RESP_INVALID);
	assert_int_equal(relay_count_groups(v->relay), 0);
	assert_int_equal(relay_get_stats(v->relay)->refused, 0);
}

/* In guest 1, whose stalls have no deadline. */
static void
test_without_a_free_stag_an_access_aborts(void **state)
{
	struct vm *v = &vm_host.vm[1], *other = &vm_host.vm[0];
	uint16_t stag[STALLS];

	(void)state;
	vm_boot(v);
	vm_boot(other);
	for (unsigned int i = 0; i < STALLS; i++) {
		vm_submit(v, i, &value);
		stag[i] = vm_take_stall(v, i);
	}
	assert_int_equal(relay_count_stalls(v->relay), STALLS);
	/* Of both devices: STALL_MAX is of the virtual SMMU. */
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		vm_dev_submit(&v->dev[i], STALLS, &value);
		assert_int_equal(vm_dev_take_done(&v->dev[i]), SMMUV3_MODEL_ABORTED);
	}
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
	expect_others_go_on(v, other);
	/* An answer, and the next fault stalls. */
	vm_map(v, 7, 7);
	resume(v, stag[7], true);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	vm_submit(v, STALLS, &value);
	assert_int_equal(vm_take_stall(v, STALLS), stag[7]);
	vm_put(v, (struct smmuv3_cmd){ .dw = { SMMUV3_OP_STALL_TERM |
			(uint64_t)VM_SID << 32, 0 } });
	vm_sync(v);
	for (unsigned int i = 0; i < STALLS; i++)
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(relay_count_stalls(v->relay), 0);
}

static void
test_without_a_free_prg_index_an_access_aborts(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	bool used[GROUPS] = { false };
	uint16_t index = 0;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	/* An endpoint has as many: the deadline frees those, and not the guest's. */
	for (unsigned int n = 0; n < GROUPS; n += BURST) {
		for (unsigned int i = 0; i < BURST; i++)
			vm_dev_write(&v->dev[0], 1, &value, sizeof(value));
		for (unsigned int i = 0; i < BURST; i++)
			assert_int_equal(vm_dev_wait_done(&v->dev[0]), SMMUV3_MODEL_ABORTED);
		vm_run();
		for (unsigned int i = 0; i < BURST; i++) {
			index = vm_dev_take_request(&v->dev[0], 1);
			assert_false(used[index]);
			used[index] = true;
		}
	}
	assert_int_equal(relay_count_groups(v->relay), GROUPS);
	vm_submit(v, 1, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(relay_count_groups(v->relay), GROUPS);
	expect_others_go_on(v, other);
	/* The guest's other device has its own indices. */
	vm_dev_write(&v->dev[1], 1, &value, sizeof(value));
	assert_int_equal(vm_dev_wait_done(&v->dev[1]), SMMUV3_MODEL_ABORTED);
	vm_run();
	vm_dev_take_request(&v->dev[1], 1);
	/* An answer, and the next request reaches the guest. */
	respond(v, index, SMMUV3_PRI_RESP_INVALID);
	expect_expired(v);
	assert_int_equal(vm_dev_take_request(&v->dev[0], 1), index);
}

#define STALL(f) cmocka_unit_test_setup_teardown(f, setup_stalls, vm_teardown)
#define PRI(f) cmocka_unit_test_setup_teardown(f, setup_pri, vm_teardown)
static const struct CMUnitTest tests[] = {
	STALL(test_a_stall_ends_at_the_deadline_and_its_stag_when_it_is_answered),
	STALL(test_without_a_free_stag_an_access_aborts),
	PRI(test_a_group_ends_at_the_deadline_and_its_index_when_it_is_answered),
	PRI(test_without_a_free_prg_index_an_access_aborts),
};

TEST_SUITE(vmm_relay_deadline, tests, NULL, NULL);
