/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VMM_RELAY_RIG_H
#define VMM_RELAY_RIG_H

/*
 * Guests with a virtual SMMU of examples/vmm-relay. The test writes registers, queues and tables as
 * a guest's driver does. All guests have the same IPAs, VAs, StreamIDs and ASID, and share the
 * host's SMMU, whose TLB keeps each entry that no command removes. The devices of a guest share a
 * CD.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>

#include "arena.h"
#include "relay.h"
#include "smmuv3_cmd.h"
#include "smmuv3_model.h"
#include "smmuv3_model_page.h"
#include "smmuv3_spec.h"

#define VM_SID		3		/* of device 0; device n has VM_SID + n */
#define VM_DEVS		2
#define VM_ASID		7
#define VM_COUNT	2
#define VM_PAGE		4096u
#define VM_MEM_SIZE	(1u << 20)
#define VM_VA(page)	(UINT64_C(0x1234400000) + (uint64_t)(page) * VM_PAGE)
#define VM_ARENA_SIZE	((size_t)2 << 20)	/* of the host's tables */
#define VM_CMDQ_LOG2	6
#define VM_EVTQ_LOG2	5
#define VM_PRIQ_LOG2	5
#define VM_CREDITS	64u		/* page requests of a device */

/* Offsets in the guest's memory. */
#define VM_CMDQ		0x10000u
#define VM_EVTQ		0x11000u
#define VM_STRTAB	0x12000u
#define VM_CDS		0x13000u
#define VM_L1		0x14000u
#define VM_L2		0x15000u
#define VM_L3		0x16000u
#define VM_PRIQ		0x17000u
#define VM_DATA		0x20000u

/* nG, AF, ISH, unprivileged, RW */
#define VM_LEAF		(UINT64_C(3) | 1 << 11 | 1 << 10 | 3 << 8 | 1 << 6)

/* A device of a guest. */
struct vm_dev {
	struct vm *vm;
	uint32_t vsid, sid;		/* of the guest, of the host */
	struct iopf_dev *dev;
	struct smmuv3_model_dma *dma;
};

struct vm {
	struct smmuv3_model_page page;
	struct pgt *pgt;
	struct iopf_domain *stage2;
	struct vm_dev dev[VM_DEVS];
	struct relay *relay;
	uint8_t *regs, *mem;
	uint32_t evt_cons, ppr_cons;
};

struct vm_conf {
	bool pri;		/* the devices have ATS and PRI, and the guests use both */
	bool no_ats;		/* of the relay of each guest */
	uint32_t deadline_ms;	/* of the relay of guest 0 */
	uint32_t partial_ms;	/* of the host's SMMU */
	bool any_asids;		/* a guest may give two of its tables one ASID */
	unsigned int tlb_log2;	/* of the host's SMMU; a TLBI looks at each entry */
};

struct vm_host {
	struct vm_conf conf;
	struct smmuv3_model *m;
	struct iopf_iommu *smmu;
	struct iopf_poller *poller;
	struct arena arena;
	struct vm vm[VM_COUNT];
};

extern struct vm_host vm_host;

/* Of a test: the host's SMMU is started, and no guest has booted. */
void vm_open(const struct vm_conf *conf);
/* The same with the defaults. */
int vm_setup(void **state);
/* Fails the test if driver or SMMU of the host made a mistake. */
int vm_teardown(void **state);

/* Make the virtual SMMU of the guest, with its devices. relay_destroy() ends it. */
void vm_create_relay(struct vm *v);

/* Everything that the guests have written takes effect, and everything of their devices happens. */
void vm_run(void);
/* The same for a part of it, where a device never rests. */
void vm_run_some(unsigned int steps);

/* The guest's memory, by offset. */
uint64_t vm_get_ipa(const struct vm *v, uint32_t offset);
void vm_set_dw(struct vm *v, uint32_t offset, uint64_t value);

/* Switch the virtual SMMU on, with the devices' STEs, the CD and tables. No page is mapped. */
void vm_boot(struct vm *v);
/* The STE of device @p i as boot writes it, with this EATS, and its CFGI_STE. */
void vm_write_ste(struct vm *v, unsigned int i, unsigned int eats);
/* VA page @p page is at data page @p at. */
void vm_map(struct vm *v, unsigned int page, unsigned int at);
void vm_unmap(struct vm *v, unsigned int page);

/* Write a command into the guest's queue. */
void vm_put(struct vm *v, struct smmuv3_cmd cmd);
extern const struct smmuv3_cmd vm_sync_cmd;
/* Write a SYNC, which has to complete. */
void vm_sync(struct vm *v);

/* Start a write of a device. */
void vm_dev_write(struct vm_dev *d, unsigned int page, const void *data, size_t len);
/* A write of a device, and everything that happens then; and its end. */
void vm_dev_submit(struct vm_dev *d, unsigned int page, const uint64_t *value);
enum smmuv3_model_status vm_dev_take_done(struct vm_dev *d);
/* Go on until one ends, whatever time passes. Fails after a minute. */
enum smmuv3_model_status vm_dev_wait_done(struct vm_dev *d);
void vm_dev_expect_write(struct vm_dev *d, unsigned int page, unsigned int at);
/* The same of device 0. */
void vm_submit(struct vm *v, unsigned int page, const uint64_t *value);
enum smmuv3_model_status vm_take_done(struct vm *v);
/* The first bytes of a data page. */
uint64_t vm_read_data(const struct vm *v, unsigned int at);
/* A write of device 0 reaches this data page of its guest. */
void vm_expect_write(struct vm *v, unsigned int page, unsigned int at);
/* The next record of the guest's event queue is a stall of device 0 at @p page: its STAG. */
uint16_t vm_take_stall(struct vm *v, unsigned int page);
/* The same of device @p d. */
uint16_t vm_dev_take_stall(struct vm_dev *d, unsigned int page);
/* The next record of the guest's page request queue, which must have one. */
struct smmuv3_ppr vm_take_ppr(struct vm *v);
/* It is a group of one request of this device at @p page, to write: its PRG index. */
uint16_t vm_dev_take_request(struct vm_dev *d, unsigned int page);

#endif /* VMM_RELAY_RIG_H */
