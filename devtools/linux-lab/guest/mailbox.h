/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_MAILBOX_H
#define LAB_MAILBOX_H

/*
 * The mailbox between the guest's test driver and the host program, in the guest's memory: one
 * request at a time. The guest fills in the fields, then stores seq (release); the host answers in
 * the same fields, then stores done = seq (release).
 */

#define LAB_RAM		0x40000000ull	/* start of memory in QEMU's virt */
#define LAB_REGS	0x7f000000ull	/* the SMMU's registers */
#define LAB_REGS_SIZE	0x20000
#define LAB_MAILBOX	0x7e000000ull
#define LAB_MAILBOX_SIZE 0x10000
#define LAB_DATA	0x1000		/* in the mailbox: the contents of a DMA */
#define LAB_DATA_SIZE	0x8000
#define LAB_NB_STREAMS	4

enum lab_op {
	LAB_NOP,
	LAB_READ,		/* read len bytes at addr into LAB_DATA */
	LAB_WRITE,
	LAB_BURST,		/* count DMAs of 64 bytes, stride apart, all pending together */
	LAB_STREAM_ON,		/* repeat DMAs of 64 bytes at addr until LAB_STREAM_OFF */
	LAB_STREAM_OFF,
	LAB_ATS,		/* call: enum lab_ats, with arg */
	LAB_KNOB,		/* set the model's knob call to arg */
	LAB_MARK,		/* write text into the host's log */
	LAB_REPORT,		/* get the model's error counts */
	LAB_END,		/* the guest is about to power off */
	/*
	 * A measurement for versus.sh: count writes of 8 bytes, stride apart, arg of them pending at
	 * once, and pause_us before the next arg. The host prints the time stamps of each.
	 */
	LAB_BENCH,
};

/* Actions of the driver of a PCIe function, and errors of the function. */
enum lab_ats {
	LAB_ATS_OFF,
	LAB_ATS_ON,
	LAB_PRI_OFF,
	LAB_PRI_ON,		/* arg: number of page requests outstanding */
	LAB_ATC_DEAD,		/* arg: 1 invalidations are not answered, 0 they are */
	LAB_RESET,
};

struct lab_mailbox {
	unsigned int seq;
	unsigned int done;
	unsigned int op;
	/*
	 * 0 or enum smmuv3_model_status, 1000 + errno for a wrong request; of a burst, the DMAs
	 * that failed.
	 */
	unsigned int status;
	unsigned long long addr;
	unsigned long long len;
	unsigned long long stride;
	unsigned int count;
	unsigned int sid;
	unsigned int pasid;
	unsigned char has_pasid;
	unsigned char ats;		/* use the PCIe function of the StreamID */
	unsigned char privileged;
	unsigned char instruction;
	unsigned char write;		/* burst, stream */
	unsigned char stream;		/* 0 to LAB_NB_STREAMS - 1 */
	unsigned int pause_us;		/* stream: between two DMAs */
	unsigned int call;
	unsigned int arg;
	/* Answers */
	unsigned int nb_stalls;
	unsigned int nb_groups;		/* page request groups */
	unsigned int nb_ok;		/* stream */
	unsigned int nb_bad;
	unsigned int driver_errors;
	unsigned int oracle_errors;
	unsigned int stalls_outstanding;
	char text[128];
};

#endif /* LAB_MAILBOX_H */
