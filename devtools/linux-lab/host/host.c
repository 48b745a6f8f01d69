/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The host's side of the Linux lab: an SMMUv3 with its registers in the memory of QEMU's guest, and
 * endpoints that do DMA on request of the guest's test driver. The SMMU is the software one
 * (smmu.c), or the virtual one of examples/vmm-relay (../relay/smmu.c): two programs.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "smmuv3_spec.h"

#include "host.h"

static double
clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double start;

double
lab_now(void)
{
	return clock_now() - start;
}

void
lab_say(const char *fmt, ...)
{
	va_list ap;

	printf("[%8.3f] ", lab_now());
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
}

static _Atomic uint32_t *
reg(struct lab_host *h, uint32_t offset)
{
	return (_Atomic uint32_t *)(h->regs + offset);
}

/* Aligned, so that a stage 2 of the memory can have blocks. */
static bool
map_ram(struct lab_host *h, const char *path)
{
	const size_t align = 2 << 20;
	int fd = open(path, O_RDWR);
	struct stat st;
	uint8_t *room;

	if (fd < 0 || fstat(fd, &st) < 0) {
		fprintf(stderr, "host: %s: %s\n", path, strerror(errno));
		return false;
	}
	h->ram_size = (size_t)st.st_size;
	if (h->ram_size < LAB_REGS + LAB_REGS_SIZE - LAB_RAM) {
		fprintf(stderr, "host: %s is not the memory of a 1 GiB guest\n", path);
		return false;
	}
	room = mmap(NULL, h->ram_size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return false;
	room += -(uintptr_t)room & (align - 1);
	h->ram = mmap(room, h->ram_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	if (h->ram == MAP_FAILED) {
		fprintf(stderr, "host: cannot map %s: %s\n", path, strerror(errno));
		return false;
	}
	memset(h->ram + (LAB_MAILBOX - LAB_RAM), 0, LAB_MAILBOX_SIZE);
	h->regs = h->ram + (LAB_REGS - LAB_RAM);
	return true;
}

/* The SMMU is on before Linux starts, as firmware or a crashed kernel may leave it. */
static void
switch_on(struct lab_host *h)
{
	const uint32_t cr0 = SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN;
	const uint64_t base = LAB_MAILBOX + 0xa000;

	atomic_store((_Atomic uint64_t *)(h->regs + SMMUV3_CMDQ_BASE), base | 4);
	atomic_store(reg(h, SMMUV3_CR0), cr0);
	while (atomic_load(reg(h, SMMUV3_CR0ACK)) != cr0)
		usleep(10);
	lab_say("the SMMU is on before Linux\n");
}

/* Read through a stream that Linux has not set up yet. */
static void
read_early(struct lab_host *h)
{
	struct smmuv3_model_dma_conf conf = { .sid = lab_smmu_get_sid(h->opt.early_sid) };
	struct smmuv3_model_dma *dma;
	uint32_t word;
	int ret;

	if (!h->opt.early || !(atomic_load(reg(h, SMMUV3_CR0ACK)) & SMMUV3_CR0_SMMUEN))
		return;
	h->opt.early = false;
	dma = smmuv3_model_dma_create(h->model, &conf);
	ret = smmuv3_model_dma_read(dma, &word, 0, sizeof(word));
	lab_say("early read of StreamID %u: %s\n", h->opt.early_sid,
		ret == 0 ? "done" : strerror(-ret));
	smmuv3_model_dma_destroy(dma);
}

static void
print_errors(struct lab_host *h)
{
	static unsigned int nb_driver, nb_oracle;
	const char *text;

	for (; nb_driver < smmuv3_model_driver_errors(h->model); nb_driver++) {
		text = smmuv3_model_driver_error(h->model, nb_driver);
		lab_say("driver error: %s\n", text != NULL ? text : "(no text)");
	}
	for (; nb_oracle < smmuv3_model_oracle_errors(h->model); nb_oracle++) {
		text = smmuv3_model_oracle_error(h->model, nb_oracle);
		lab_say("oracle error: %s\n", text != NULL ? text : "(no text)");
	}
}

static void
serve_guest(struct lab_host *h)
{
	while (!atomic_load(&h->stop)) {
		print_errors(h);
		read_early(h);
		if (lab_qemu_ended(h))
			break;
		if (lab_now() > h->opt.limit) {
			lab_say("the time limit is over\n");
			break;
		}
		if (!lab_mailbox_serve(h))
			usleep(50);
	}
}

static void
print_end(struct lab_host *h)
{
	unsigned int i;

	print_errors(h);
	lab_say("end: %s, CR0 0x%x, driver errors %u, oracle errors %u, stalls outstanding %u\n",
		h->done ? "the guest is done" : "the guest is not done",
		atomic_load(reg(h, SMMUV3_CR0)), smmuv3_model_driver_errors(h->model),
		smmuv3_model_oracle_errors(h->model), smmuv3_model_stalls_outstanding(h->model));
	for (i = 0; i < SMMUV3_MODEL_NB_STATS; i++)
		if (smmuv3_model_stat(h->model, i) != 0)
			printf("  %s %llu\n", smmuv3_model_stat_name(i),
				(unsigned long long)smmuv3_model_stat(h->model, i));
	lab_irqs_print();
}

int
main(int argc, char **argv)
{
	struct lab_host h = { 0 };

	start = clock_now();
	signal(SIGPIPE, SIG_IGN);
	if (argc < 4) {
		lab_usage();
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	if (!lab_parse(&h.opt, argc - 4, argv + 4))
		return 2;
	if (!map_ram(&h, argv[1]) || !lab_smmu_start(&h) ||
			!lab_qemu_connect(&h, argv[2], argv[3]))
		return 1;
	if (!h.opt.no_irqs)
		lab_irqs_start(&h);
	if (h.opt.preon)
		switch_on(&h);
	if (!lab_qemu_run(&h))
		return 1;
	serve_guest(&h);
	lab_smmu_stop(&h);
	if (!h.opt.no_irqs)
		lab_irqs_stop(&h);
	print_end(&h);
	lab_qemu_quit(&h);
	/* Engines may have a DMA that never ends, so exit the process. */
	return h.done ? 0 : 1;
}
