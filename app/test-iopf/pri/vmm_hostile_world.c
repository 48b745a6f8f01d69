/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include <iopf_iommu.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "test.h"
#include "vmm_hostile.h"
#include "vmm_hostile_world.h"

#define DEPTH		256
#define MAX_LEN		(2 * VM_PAGE + 64)

/* The other guest has moved a page without a TLBI, and its TLB entry stays. */
#define MOVED		1		/* VA page */
#define OLD		1		/* data pages */
#define NEW		3
#define FAULTS		2		/* VA page */

struct hostile hostile;

static uint64_t written[MAX_LEN / 8], read_back[MAX_LEN / 8];
static struct {
	uint8_t *guest;			/* registers and memory of vm[1] */
	size_t guest_size;
	uint8_t *tables;		/* of the host */
} copy;

static void
give(void *mem, size_t size, uint32_t owner)
{
	assert_int_equal(smmuv3_model_frame_give(vm_host.m, (uintptr_t)mem, size, owner), 0);
}

static void
save_other(void)
{
	memcpy(copy.guest, vm_host.vm[1].regs, copy.guest_size);
}

/* Registers and memory are one mapping. assert_memory_equal() is slow, and says which byte. */
static void
check_other(void)
{
	if (memcmp(copy.guest, vm_host.vm[1].regs, copy.guest_size) != 0)
		assert_memory_equal(copy.guest, vm_host.vm[1].regs, copy.guest_size);
	if (memcmp(copy.tables, vm_host.arena.mem, vm_host.arena.used) != 0)
		assert_memory_equal(copy.tables, vm_host.arena.mem, vm_host.arena.used);
}

void
hostile_open(void)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];

	memset(&hostile, 0, sizeof(hostile));
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		hostile.dma[i] = v->dev[i].dma;
		smmuv3_model_dma_owner(other->dev[i].dma, 2);
	}
	hostile.dma[VM_DEVS] = smmuv3_model_dma_create(vm_host.m, &(struct smmuv3_model_dma_conf){
		.sid = v->dev[0].sid,
		.kind = vm_host.conf.pri ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN,
		.has_ssid = true, .ssid = 1, .depth = DEPTH });
	assert_non_null(hostile.dma[VM_DEVS]);
	for (unsigned int i = 0; i < HOSTILE_ENGINES; i++)
		smmuv3_model_dma_owner(hostile.dma[i], 1);
	for (unsigned int i = 0; i < VM_COUNT; i++)
		give(vm_host.vm[i].mem, VM_MEM_SIZE, i + 1);
	give(vm_host.arena.mem, VM_ARENA_SIZE, VM_COUNT + 1);
	/* A descriptor, in case that a device writes into its tables. */
	for (unsigned int i = 0; i < RTE_DIM(written); i++)
		written[i] = vm_get_ipa(&vm_host.vm[0], VM_DATA) | VM_LEAF;
	vm_boot(other);
	vm_map(other, MOVED, OLD);
	vm_expect_write(other, MOVED, OLD);
	vm_map(other, MOVED, NEW);
	copy.guest_size = other->page.regs_size + other->page.mem_size;
	copy.guest = malloc(copy.guest_size);
	copy.tables = malloc(vm_host.arena.used);
	assert_true(copy.guest != NULL && copy.tables != NULL);
	memcpy(copy.tables, vm_host.arena.mem, vm_host.arena.used);
	save_other();
}

void
hostile_close(void)
{
	smmuv3_model_dma_destroy(hostile.dma[VM_DEVS]);
	free(copy.guest);
	free(copy.tables);
}

/* Count the accesses that have ended. */
static void
take_ends(void)
{
	struct smmuv3_model_done done[DEPTH];

	for (unsigned int i = 0; i < HOSTILE_ENGINES; i++)
		hostile.submitted[i] -= smmuv3_model_dma_poll(hostile.dma[i], done, DEPTH);
}

void
hostile_submit(uint8_t how, uint64_t addr, uint8_t len)
{
	static const uint32_t lens[8] = { 8, 1, 3, 64, 4096, 4100, 8192, 16 };
	const unsigned int engine = (how & 3) % HOSTILE_ENGINES;
	struct smmuv3_model_op op = {
		.type = (enum smmuv3_model_op_type)((how >> 2 & 3) % 3),
		.privileged = how & 0x10,
		.addr = addr + (len >> 3) * 8u,
		.dst = VM_VA(len),
		.len = lens[len & 7],
		.cookie = hostile.submitted[engine],
	};

	op.buf = op.type == SMMUV3_MODEL_READ ? read_back : written;
	op.instruction = op.type == SMMUV3_MODEL_READ && how & 0x20;
	take_ends();
	/* Not if it ends beyond 2^64, or if the device has too many outstanding. */
	if (smmuv3_model_dma_submit(hostile.dma[engine], &op) == 0)
		hostile.submitted[engine]++;
}

/* Each access has ended, once. */
static void
expect_ends(void)
{
	take_ends();
	for (unsigned int i = 0; i < HOSTILE_ENGINES; i++) {
		assert_int_equal(hostile.submitted[i], 0);
		assert_int_equal(smmuv3_model_dma_outstanding(hostile.dma[i]), 0);
	}
}

void
hostile_replace_guest(void)
{
	struct vm *v = &vm_host.vm[0];

	assert_int_equal(relay_reset(v->relay), 0);
	vm_run();
	assert_int_equal(relay_count_stalls(v->relay), 0);
	assert_int_equal(relay_count_groups(v->relay), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(vm_host.m), 0);
	expect_ends();
	assert_int_equal(relay_destroy(v->relay), 0);
	memset(v->mem, 0, VM_MEM_SIZE);
	vm_create_relay(v);
}

/* Its stall, or its page request. */
static struct smmuv3_cmd
take_fault(struct vm *v)
{
	if (vm_host.conf.pri)
		return smmuv3_cmd_pri_resp(VM_SID, false, 0, vm_dev_take_request(&v->dev[0],
				FAULTS), SMMUV3_PRI_RESP_SUCCESS);
	return smmuv3_cmd_resume(VM_SID, vm_take_stall(v, FAULTS), true, false);
}

void
hostile_run_other(void)
{
	static const uint64_t value = 16;
	struct vm *other = &vm_host.vm[1];
	struct smmuv3_cmd answer;

	check_other();
	vm_expect_write(other, MOVED, OLD);
	vm_submit(other, FAULTS, &value);
	answer = take_fault(other);
	vm_map(other, FAULTS, FAULTS);
	vm_put(other, answer);
	vm_sync(other);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
	vm_unmap(other, FAULTS);
	if (vm_host.conf.pri) {
		vm_put(other, smmuv3_cmd_atc_inv(VM_SID, false, 0, false, VM_VA(FAULTS), 0));
		vm_sync(other);
	}
	save_other();
}

void
hostile_check(void)
{
	hostile_replace_guest();
	hostile_run_other();
	assert_int_equal(smmuv3_model_driver_errors(vm_host.m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(vm_host.m), 0);
	assert_int_equal(smmuv3_model_stat(vm_host.m, SMMUV3_MODEL_STAT_CERRORS), 0);
}
