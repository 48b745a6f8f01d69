/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef GUEST_H
#define GUEST_H

/*
 * The guest: a program that serves the faults of two devices, here in a process of its own. It
 * knows nothing of the VMM: its SMMU is "smmuv3,page=PATH". Accesses of the device GUEST_VSID
 * stall, and GUEST_VSID_PRI is a PCIe function with ATS and PRI.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_VSID	3
#define GUEST_VSID_PRI	4
#define GUEST_VA	UINT64_C(0x1234560000)	/* its handler maps each page from here on */
#define GUEST_PAGE	4096

/* The guest's memory, as the VMM lays it out: 16 MiB of it are the driver's. */
#define GUEST_MEM_ADDR	(UINT64_C(1) << 30)
#define GUEST_MEM_SIZE	((size_t)64 << 20)
#define GUEST_MEM_DRIVER ((size_t)16 << 20)

/* In the last page of the memory: how the example follows what the guest does. */
struct guest_mailbox {
	_Atomic uint32_t ready;		/* the devices are attached */
	_Atomic uint32_t nb_faults;
	_Atomic uint32_t slow;		/* set by the VMM: take faults and never answer */
	_Atomic uint32_t stop;		/* set by the VMM */
	_Atomic uint32_t rest;		/* set by the VMM: do not poll */
	_Atomic uint32_t has_cpu;	/* set by the VMM: the guest's CPU is its own */
	_Atomic uint64_t last_page;	/* IPA of the page mapped last */
	/* In place of the function's PRI capability: its page requests outstanding. */
	_Atomic uint32_t nb_requests;
};

static inline struct guest_mailbox *
guest_find_mailbox(void *mem)
{
	return (struct guest_mailbox *)(void *)((uint8_t *)mem + GUEST_MEM_SIZE - GUEST_PAGE);
}

/* Returns the exit code. */
int guest_main(const char *path);

#endif /* GUEST_H */
