/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Copyright(c) 2026 The iopf authors */

#ifndef LAB_IOCTL_H
#define LAB_IOCTL_H

/* /dev/smmulab: the requests of init to the test driver. */

struct lab_run {
	char test[32];
	unsigned int dev;
};

struct lab_dma {
	unsigned int dev;
	unsigned int op;		/* LAB_READ, LAB_WRITE, LAB_STREAM_ON, LAB_STREAM_OFF */
	unsigned int pasid;
	unsigned int instruction;
	unsigned int write;
	unsigned int stream;
	unsigned long long addr;
	unsigned long long len;
	unsigned long long buf;		/* contents of the DMA, in the caller's memory */
	/* Answers */
	unsigned int status;
	unsigned int nb_stalls;
	unsigned int nb_bad;
};

struct lab_report {
	unsigned int driver_errors;
	unsigned int oracle_errors;
	unsigned int stalls_outstanding;
};

/* versus.sh: see LAB_BENCH. */
struct lab_bench {
	unsigned int pasid;
	unsigned int count;
	unsigned int batch;
	unsigned int pause_us;
	unsigned long long addr;
	unsigned long long stride;
	/* Answers */
	unsigned int nb_failed;
	unsigned int nb_stalls;
};

/* versus.sh: see watch.c. */
struct lab_watch {
	unsigned long long ticks;	/* an array of unsigned int, in the caller's memory */
	unsigned int max;
	unsigned int nb;		/* answer: passes of the event queue's interrupt */
};

#define LAB_IOC_RUN	_IOW('s', 1, struct lab_run)
#define LAB_IOC_DMA	_IOWR('s', 2, struct lab_dma)
#define LAB_IOC_BIND	_IOWR('s', 3, unsigned int)	/* in: device; out: PASID */
#define LAB_IOC_UNBIND	_IOW('s', 4, unsigned int)
#define LAB_IOC_REPORT	_IOR('s', 5, struct lab_report)
#define LAB_IOC_MARK	_IOW('s', 6, char[128])
#define LAB_IOC_END	_IO('s', 7)
#define LAB_IOC_BENCH	_IOWR('s', 8, struct lab_bench)
#define LAB_IOC_WATCH	_IOWR('s', 9, struct lab_watch)

#endif /* LAB_IOCTL_H */
