/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The virtual SMMU of examples/vmm-relay: a guest that is reset with unread commands, a VMM without
 * memory, and a pass over the host's queues on another thread than the relay's.
 */

#include <pthread.h>

#include "interpose.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

static const uint64_t value = 77;

/* What a guest wrote last does not bring its devices back. */
static void
test_a_reset_forgets_the_registers_and_the_commands_of_a_guest(void **state)
{
	struct vm *v = &vm_host.vm[0];

	(void)state;
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	assert_int_equal(relay_reset(v->relay), 0);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CR0), 0);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD), 0);
	vm_run();
	vm_submit(v, 1, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	vm_submit(v, 2, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(relay_count_stalls(v->relay), 0);
	/* The next guest has an SMMU as at power-on. */
	v->evt_cons = 0;
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_expect_write(v, 1, 1);
}

/* The device is cut off, and the guest's next CFGI_STE brings it back. */
static void
test_an_ste_without_memory_for_its_domain_is_tried_again(void **state)
{
#ifdef INTERPOSE_OFF
	(void)state;
	skip();
#else
	struct vm *v = &vm_host.vm[0];
	unsigned int n = 0;

	(void)state;
	vm_boot(v);
	vm_map(v, 1, 1);
	do {
		vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
		vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
		vm_sync(v);
		vm_write_ste(v, 0, 0);
		interpose_fail(++n);
		vm_run();
		interpose_fail(0);
		vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
		vm_sync(v);
		vm_expect_write(v, 1, 1);
		assert_in_range(n, 1, 50);
	} while (interpose_failed());
	assert_true(n > 1);
#endif
}

/* As a thread does that waits for the queue in a detach or at the end of a quarantine. */
static void *
pass_once(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < 64; i++) {
		smmuv3_model_step(vm_host.m, 64);
		iopf_poll(vm_host.poller);
	}
	return NULL;
}

static void
test_a_pass_on_another_thread_leaves_faults_to_the_thread_of_the_relay(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const struct relay_stats *stats = relay_get_stats(v->relay);
	pthread_t thread;
	uint16_t stag;

	(void)state;
	vm_boot(v);
	vm_dev_write(&v->dev[0], 1, &value, sizeof(value));
	assert_int_equal(pthread_create(&thread, NULL, pass_once, NULL), 0);
	pthread_join(thread, NULL);
	/* It has been repeated, and faults again. */
	assert_int_equal(stats->stalls, 0);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
	vm_run();
	stag = vm_take_stall(v, 1);
	vm_map(v, 1, 1);
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, true, false));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	/* Nor does an event of it reach the guest's queue. */
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_sync(v);
	vm_dev_write(&v->dev[0], 1, &value, sizeof(value));
	assert_int_equal(pthread_create(&thread, NULL, pass_once, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vm_setup, vm_teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_a_reset_forgets_the_registers_and_the_commands_of_a_guest),
	CASE(test_an_ste_without_memory_for_its_domain_is_tried_again),
	CASE(test_a_pass_on_another_thread_leaves_faults_to_the_thread_of_the_relay),
};

TEST_SUITE(vmm_relay_reset, tests, NULL, NULL);
