/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_MAILBOX_H
#define LAB_MAILBOX_H

/*
 * Between the guest's test driver and the host program, in the guest's memory: a request
 * at a time. The guest fills in the fields, then stores seq (release); the host answers
 * in the same fields, then stores done = seq (release).
 */

#define LAB_RAM		0x40000000ull	/* where QEMU's virt has its memory */
#define LAB_REGS	0x7f000000ull	/* the SMMU's registers */
#define LAB_REGS_SIZE	0x20000
#define LAB_MAILBOX	0x7e000000ull
#define LAB_MAILBOX_SIZE 0x10000
#define LAB_DATA	0x1000		/* in the mailbox: the endpoint's side of a DMA */
#define LAB_DATA_SIZE	0x8000
#define LAB_NB_STREAMS	4

enum lab_op {
	LAB_NOP,
	LAB_READ,		/* len bytes at addr, to LAB_DATA */
	LAB_WRITE,
	LAB_BURST,		/* count DMAs of 64 bytes, stride apart, outstanding together */
	LAB_STREAM_ON,		/* DMAs of 64 bytes at addr, again and again, until off */
	LAB_STREAM_OFF,
	LAB_ATS,		/* call: enum lab_ats, with arg */
	LAB_KNOB,		/* of the model: call is the knob, arg its value */
	LAB_MARK,		/* a line for the host's log: text */
	LAB_REPORT,		/* the model's counts of errors */
	LAB_END,		/* the guest is about to switch off */
};

/* What the driver of a PCIe function does, or what its function does wrong. */
enum lab_ats {
	LAB_ATS_OFF,
	LAB_ATS_ON,
	LAB_PRI_OFF,
	LAB_PRI_ON,		/* arg: page requests outstanding */
	LAB_ATC_DEAD,		/* arg: 1 invalidations are not answered, 0 they are */
	LAB_RESET,
};

struct lab_mailbox {
	unsigned int seq;
	unsigned int done;
	unsigned int op;
	/* 0 or enum smmuv3_model_status, 1000 + errno if the request is wrong; of a burst, the
	 * DMAs that did not end well. */
	unsigned int status;
	unsigned long long addr;
	unsigned long long len;
	unsigned long long stride;
	unsigned int count;
	unsigned int sid;
	unsigned int pasid;
	unsigned char has_pasid;
	unsigned char ats;		/* the PCIe function of the StreamID */
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
