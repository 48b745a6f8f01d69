/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_HOST_H
#define LAB_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smmuv3_model.h"

#include "../guest/mailbox.h"

struct lab_options {
	struct smmuv3_model_conf conf;
	unsigned int limit;	/* seconds until the row fails */
	uint32_t cpu;		/* of the SMMU's thread, alone there; UINT32_MAX: any */
	bool no_irqs;		/* the guest raises the SMMU's interrupts itself */
	bool trace;		/* log each DMA */
	bool preon;		/* SMMUEN is set before Linux starts */
	bool early;		/* a read of StreamID early_sid as soon as Linux sets SMMUEN */
	uint32_t early_sid;
};

struct lab_host {
	struct lab_options opt;
	struct smmuv3_model *model;
	uint8_t *ram;
	size_t ram_size;
	uint8_t *regs;		/* in ram */
	int qmp;
	atomic_bool stop;	/* QEMU has ended, or the limit is over */
	bool done;		/* LAB_END was received */
};

/* Log a line with the time since the start. */
__attribute__((format(printf, 1, 2))) void lab_say(const char *fmt, ...);
double lab_now(void);

/* Returns false after logging an error. */
bool lab_parse(struct lab_options *opt, int argc, char **argv);
void lab_usage(void);

/* smmu.c, or ../relay/smmu.c: the SMMU that the guest drives. Sets h->model: its endpoints'. */
bool lab_smmu_start(struct lab_host *h);
void lab_smmu_stop(struct lab_host *h);
/* The StreamID of an endpoint in h->model. */
uint32_t lab_smmu_get_sid(uint32_t sid);
void lab_smmu_set_irq(struct lab_host *h, enum smmuv3_model_irq irq, int fd);

/* qemu.c */
bool lab_qemu_connect(struct lab_host *h, const char *qtest, const char *qmp);
bool lab_qemu_run(struct lab_host *h);
bool lab_qemu_ended(struct lab_host *h);
void lab_qemu_quit(struct lab_host *h);
void lab_irqs_start(struct lab_host *h);
void lab_irqs_stop(struct lab_host *h);
void lab_irqs_print(void);

/* bench.c: LAB_BENCH */
void lab_bench_run(struct lab_host *h, struct lab_mailbox *mb);

/* mailbox.c */
/* The engine of these options, made if there is none. For the thread of the mailbox, and before. */
struct smmuv3_model_dma *lab_find_engine(struct lab_host *h,
		const struct smmuv3_model_dma_conf *conf);
/* Answer a pending request. Returns false if there is none. */
bool lab_mailbox_serve(struct lab_host *h);

#endif /* LAB_HOST_H */
